// Package crash holds tests that end mfsstandby in every way there is and
// check that nothing which was acknowledged is lost and nothing is applied
// twice: kill -9, a loss of power, a full disk, and input that is not what it
// should be. They need root and FUSE: go test -tags e2e.
//
// A loss of power is simulated by a file system in the test's memory (disk)
// that knows what was synced. MFSSTANDBY_CRASH_ROUNDS makes the tests longer,
// MFSSTANDBY_CRASH_SEED repeats what failed.
package crash
