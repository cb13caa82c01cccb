package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"
)

// Beside the cache the heap holds what Badger, NATS and batches in flight
// take. The limit makes the collector work harder instead of the heap grow;
// below it a garbage share of half the live heap is the price of its speed.
const (
	heapBesideCache = 192 << 20
	garbageShare    = 50 // percent
)

// limitMemory bounds the heap of a command that has a cache, unless GOMEMLIMIT
// or GOGC say otherwise.
func limitMemory(f *pflag.FlagSet) {
	cache := f.Lookup("cache")
	if cache == nil {
		return
	}
	n, ok := cache.Value.(*size)
	if !ok {
		return
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(min(int64(*n), math.MaxInt64-heapBesideCache) + heapBesideCache)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbageShare)
	}
}
