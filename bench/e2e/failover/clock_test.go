//go:build e2e

package failover

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A Go program asks the kernel for the time through a page that the kernel maps
// into it, not through the C library, so libfaketime does not reach it; and a time
// namespace moves the monotonic clock only. So the function in that page is
// replaced, in this one process: it asks the kernel and adds a number, which can
// be changed while the process runs. Timers and the monotonic clock stay as they are.

// clock moves the wall clock of one process.
type clock struct {
	mem *os.File // of the process
	at  int64    // where the number is that is added
}

// clockCode is for amd64: clock_gettime(2), and for CLOCK_REALTIME the seconds get
// the number behind the code added.
var clockCode = []byte{
	0xb8, 0xe4, 0, 0, 0, // mov eax, 228
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jne ret
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [rip+6]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, 0x90, 0x90, // ret
	0, 0, 0, 0, 0, 0, 0, 0,
}

// startWithClock starts a program on a host with a clock of its own. The program
// stands at its first instruction while the code is replaced.
func (h *host) startWithClock(cmd *exec.Cmd) (*clock, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := os.Open("/var/run/netns/" + h.ns)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	defer func() {
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread would run the rest of the test on that host
		}
	}()
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil {
		return nil, fmt.Errorf("waiting for the program to stand: %w", err)
	}
	c, err := newClock(cmd.Process.Pid)
	return c, errors.Join(err, unix.PtraceDetach(cmd.Process.Pid))
}

func newClock(pid int) (*clock, error) {
	aux, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return nil, err
	}
	const sysinfoHeader = 33
	base := int64(0)
	for ; len(aux) >= 16; aux = aux[16:] {
		if binary.LittleEndian.Uint64(aux) == sysinfoHeader {
			base = int64(binary.LittleEndian.Uint64(aux[8:]))
		}
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	page := make([]byte, 2*os.Getpagesize())
	if _, err := mem.ReadAt(page, base); err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	object, err := elf.NewFile(bytes.NewReader(page))
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(clockCode)) {
			at := base + int64(s.Value)
			_, err := mem.WriteAt(clockCode, at)
			return &clock{mem, at + int64(len(clockCode)) - 8}, err
		}
	}
	return nil, errors.Join(errors.New("the kernel's page has no clock that could be replaced"), mem.Close())
}

// set lets the wall clock differ from the machine's by so much from now on.
func (c *clock) set(d time.Duration) error {
	_, err := c.mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(int64(d/time.Second))), c.at)
	return err
}
