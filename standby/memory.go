package standby

import (
	"math"
	"os"
	"runtime/debug"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Beyond the cache, a process may use about 300 MiB. A part of that is not the
// garbage collector's: the logs and tables that Badger maps.
const heapBesideCache = 220 << 20

// gcPercent lets garbage grow large while the heap is small, which costs half
// as much processor time as the default; near the limit the collector runs as
// often as it must.
const gcPercent = 300

// LimitMemory sets the bounds of the garbage collector for a process that keeps
// an image with a cache of so many bytes, and lets its memory be made of huge
// pages. To be called once, while the heap is small. What the environment says
// in GOGC, GOMEMLIMIT and GODEBUG (disablethp=1) wins.
func LimitMemory(cache int64) {
	limit := min(cache, math.MaxInt64-heapBesideCache) + heapBesideCache
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if !strings.Contains(os.Getenv("GODEBUG"), "disablethp=1") {
		preferHugePages(limit)
	}
}

// preferHugePages asks the kernel to make the heap, until it is so large, of
// pages of 2 MiB where it can. Each page of 4 KiB that a process gets costs it a
// fault, of which a virtual machine makes a long affair: they were a fourth of
// the time of a replay. Kernels give huge pages on request only, by default, and
// Go does not ask. So the heap is made to grow before it is needed, the request
// is put to its address space, and all of it is given back untouched.
func preferHugePages(limit int64) {
	size := min(limit, mayReserve())
	if size < hugePage {
		return
	}
	heap := make([]byte, size)
	ahead := -uintptr(unsafe.Pointer(unsafe.SliceData(heap))) % hugePage
	aligned := heap[ahead : size-(size-int64(ahead))%hugePage]
	_ = unix.Madvise(aligned, unix.MADV_HUGEPAGE) // a kernel without them works as well
	debug.FreeOSMemory()
}

const hugePage = 2 << 20

// mayReserve returns how much address space may be asked for without harm: Go
// ends a process that is refused any. That is half of the memory, and nothing
// where address space is limited or accounted for.
func mayReserve() int64 {
	for _, resource := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(resource, &limit); err != nil || limit.Cur != unix.RLIM_INFINITY {
			return 0
		}
	}
	policy, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || strings.TrimSpace(string(policy)) == "2" {
		return 0
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit) / 2
}
