package e2e

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User is on whose behalf something is done.
type User struct {
	UID, GID int
	Groups   []int // supplementary
}

// Root may do everything.
var Root = User{}

func joinInts(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = strconv.Itoa(n)
	}
	return strings.Join(text, ",")
}

// become gives the calling thread the user's rights on file systems. The
// goroutine must be locked to its thread.
func (u User) become() error {
	groups := make([]uint32, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = uint32(g)
	}
	// The syscalls themselves: the library's calls change all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); errno != 0 {
		return fmt.Errorf("setgroups %v: %w", u.Groups, errno)
	}
	runtime.KeepAlive(groups)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETFSGID, uintptr(u.GID), 0, 0); errno != 0 {
		return fmt.Errorf("setfsgid %d: %w", u.GID, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(u.UID), 0, 0); errno != 0 {
		return fmt.Errorf("setfsuid %d: %w", u.UID, errno)
	}
	return nil
}
