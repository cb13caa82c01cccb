package standby

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestHeapPrefersHugePages looks for what the kernel notes of the mapping that
// later allocations get; whether it has huge pages to give is another matter.
func TestHeapPrefersHugePages(t *testing.T) {
	if mayReserve() < 256<<20 {
		t.Fatal("no address space to reserve: run the tests without limits on it (ulimit -v, ulimit -d, vm.overcommit_memory)")
	}
	preferHugePages(256 << 20)
	block := make([]byte, 64<<20)
	if flags := flagsOf(t, uintptr(unsafe.Pointer(&block[len(block)/2]))); !strings.Contains(flags+" ", " hg ") {
		t.Errorf("mapping of the heap has the flags%s, want hg among them", flags)
	}
}

// flagsOf returns the flags of the mapping of an address, see proc(5).
func flagsOf(t *testing.T, address uintptr) string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var start, end uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &start, &end); n == 2 {
			inside = start <= address && address < end
		} else if flags, found := strings.CutPrefix(lines.Text(), "VmFlags:"); found && inside {
			return flags
		}
	}
	t.Fatalf("no mapping of %#x", address)
	return ""
}
