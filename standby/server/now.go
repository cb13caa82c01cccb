//go:build !race

package server

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller's system calls that return at once, whatever happens: the runtime
// is not told of them, which otherwise costs about as much as answering a
// request. What might block must not be called like this.

// readNow reads from a socket that does not block.
func readNow(fd int, b []byte) (int, error) { return transferNow(unix.SYS_READ, fd, b) }

// writeNow writes to a socket that does not block.
func writeNow(fd int, b []byte) (int, error) { return transferNow(unix.SYS_WRITE, fd, b) }

func transferNow(call uintptr, fd int, b []byte) (int, error) {
	n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// eventsNow gives the events that are there; on an error, none.
func eventsNow(epoll int, events []unix.EpollEvent) int {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
