package standby

import (
	"math"
	"os"
	"runtime/debug"
)

// Beyond the cache, a process may use about 300 MiB. A part of that is not the
// garbage collector's: the logs and tables that Badger maps.
const heapBesideCache = 220 << 20

// gcPercent lets garbage grow large while the heap is small, which costs half
// as much processor time as the default; near the limit the collector runs as
// often as it must.
const gcPercent = 300

// LimitMemory sets the bounds of the garbage collector for a process that keeps
// an image with a cache of so many bytes. What the environment says in GOGC and
// GOMEMLIMIT wins.
func LimitMemory(cache int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(min(cache, math.MaxInt64-heapBesideCache) + heapBesideCache)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
