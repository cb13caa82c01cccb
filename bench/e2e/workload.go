package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Workload is a seeded mix of real operations by several clients and users.
type Workload struct {
	Seed    uint64
	Ops     int  // operations tried; some fail, as in life
	Workers int  // goroutines, default 6
	NoData  bool // leave out what needs chunkservers
	Damaged bool // chunks may be lost: tolerate EIO

	// Replayed leaves out what a replay by the master itself gets wrong: a
	// master that was killed is not what it was before.
	Replayed bool

	// Exact has one worker, and leaves out what depends on the time: with equal
	// seeds, on equal file systems, it does the same. Report.Trace tells what.
	Exact bool
}

// Report counts what a workload did.
type Report struct {
	Done   map[string]int // by operation
	Failed map[string]int // by operation and error, such as "rmdir: directory not empty"
	Took   time.Duration
	Trace  []string // of an exact workload: each operation, who did it, and what came of it
	Error  string   // what ended it early, "" if nothing did
}

// Ops is how many operations succeeded.
func (r Report) Ops() int {
	n := 0
	for _, k := range r.Done {
		n += k
	}
	return n
}

// run does the workload in this process. Errors that a file system may give to
// such operations are counted in the report; others, such as EIO, end it. Equal
// seeds try the same operations, but workers race as clients do, so two runs
// differ. The files that it returns are open and to be kept so.
func (w Workload) run(ctx context.Context, c *Cluster) (Report, []*os.File, error) {
	if w.Workers == 0 {
		w.Workers = 6
	}
	if w.Exact {
		w.Workers = 1
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	shared := &shared{cluster: c, names: newNames(), stop: cancel}
	shared.left.Store(int64(w.Ops))
	if err := shared.prepare(); err != nil {
		return Report{}, nil, err
	}
	workers := make([]*worker, w.Workers)
	var wait sync.WaitGroup
	for i := range workers {
		workers[i] = newWorker(shared, w, i)
		wait.Go(func() { workers[i].run(ctx) })
	}
	wait.Wait()
	report := Report{Done: map[string]int{}, Failed: map[string]int{}, Took: time.Since(began)}
	for _, k := range workers {
		add(report.Done, k.done)
		add(report.Failed, k.failed)
		report.Trace = append(report.Trace, k.trace...)
	}
	return report, shared.held, context.Cause(ctx)
}

func add(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

// shared is what the workers have in common.
type shared struct {
	cluster *Cluster
	names   *names
	left    atomic.Int64
	stop    context.CancelCauseFunc
	classes atomic.Int64
	mounts  atomic.Int64 // short-lived ones so far
	special sync.Mutex   // one disturbance of the cluster at a time

	mu        sync.Mutex
	held      []*os.File // open until the process ends
	snapshots []snapshot // latest ones
	limited   []string   // directories with quotas
}

func (s *shared) hold(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, f)
}

// baseDirs are the first directories, where everybody may do everything.
const baseDirs = 8

// prepare makes the directories that every operation may count on. A mount gives
// EIO for what it was asked before it was connected again to a master that
// restarted: such a request has the length of answers of another release in mind.
func (s *shared) prepare() error {
	root := s.cluster.mounts[0].Path
	for i := range baseDirs {
		dir := fmt.Sprintf("base%d", i)
		path := filepath.Join(root, dir)
		var err error
		if late := waitFor("the first directories", startLimit, func() bool {
			if err = os.Mkdir(path, 0o777); err == nil || errors.Is(err, fs.ErrExist) {
				err = os.Chmod(path, 0o777)
			}
			return !errors.Is(err, syscall.EIO)
		}); late != nil || err != nil {
			return fmt.Errorf("preparing the workload: %w", errors.Join(err, late))
		}
		s.names.add(dir, true)
	}
	return nil
}

// worker is one goroutine on its own thread, so that it can be any user.
type worker struct {
	*shared
	rng     *rand.Rand
	table   []operation
	weight  int
	user    User
	damaged bool
	replay  bool       // the master replays its own entries: Workload.Replayed
	exact   bool       // Workload.Exact
	trace   []string   // of an exact one
	open    []*os.File // kept open, some of them without a name by now
	done    map[string]int
	failed  map[string]int
	cancel  []func() // ends what the worker left running
}

func newWorker(s *shared, w Workload, i int) *worker {
	k := &worker{shared: s, rng: rand.New(rand.NewPCG(w.Seed, uint64(i))), done: map[string]int{}, failed: map[string]int{}, damaged: w.Damaged, replay: w.Replayed, exact: w.Exact}
	for _, o := range operations {
		if w.NoData && o.data && !(w.Exact && o.alone) || w.Exact && o.timed || w.Replayed && o.misread == always || o.modern && !s.cluster.modern {
			continue
		}
		if w.Replayed && o.misread == groups {
			o.root = true
		}
		k.table = append(k.table, o)
		k.weight += o.weight
	}
	return k
}

func (k *worker) run(ctx context.Context) {
	// Never unlocked: the thread has other rights than the rest of the process
	// and ends with the goroutine.
	runtime.LockOSThread()
	defer k.finish()
	for ctx.Err() == nil && k.left.Add(-1) >= 0 {
		o := k.choose()
		if err := k.step(o); err != nil {
			k.stop(fmt.Errorf("operation %s as user %d: %w", o.name, k.user.UID, err))
			return
		}
	}
}

func (k *worker) choose() operation {
	n := k.rng.IntN(k.weight)
	for _, o := range k.table {
		if n -= o.weight; n < 0 {
			return o
		}
	}
	panic("e2e: weights do not add up")
}

// step does one operation, and returns only errors that must not happen.
func (k *worker) step(o operation) error {
	if o.root {
		k.user = Root
	} else {
		k.user = users[k.rng.IntN(len(users))]
	}
	if err := k.user.become(); err != nil {
		return err
	}
	err := o.run(k)
	if err == nil {
		k.done[o.name]++
		k.note(o, "done")
		return nil
	}
	var tool *exec.ExitError
	var number syscall.Errno
	what := ""
	switch {
	case errors.As(err, &tool):
		what = "the tool says " + toolError.FindString(strings.TrimSpace(err.Error()))
	case errors.As(err, &number) && (expected[number] || number == syscall.EIO && k.damaged):
		what = number.Error()
	default:
		return err
	}
	k.failed[o.name+": "+what]++
	k.note(o, what)
	return nil
}

// note adds to the trace of an exact workload.
func (k *worker) note(o operation, what string) {
	if k.exact {
		k.trace = append(k.trace, fmt.Sprintf("%d: %s as user %d: %s", len(k.trace), o.name, k.user.UID, what))
	}
}

// toolError finds the reason in what a MooseFS program prints.
var toolError = regexp.MustCompile(`E[A-Z]{3,} \([^)]*\)|[A-Za-z ]+$`)

// expected are the errors that races between workers and rights lead to.
var expected = map[syscall.Errno]bool{
	syscall.ENOENT: true, syscall.EEXIST: true, syscall.ENOTEMPTY: true, syscall.EACCES: true, syscall.EPERM: true,
	syscall.ENOTDIR: true, syscall.EISDIR: true, syscall.EINVAL: true, syscall.EDQUOT: true, syscall.EAGAIN: true,
	syscall.ENODATA: true, syscall.ELOOP: true, syscall.ESTALE: true, syscall.ENXIO: true, syscall.EOPNOTSUPP: true,
	syscall.ENAMETOOLONG: true, syscall.ERANGE: true, syscall.EBUSY: true, syscall.EMLINK: true, syscall.ENOSPC: true,
	syscall.EROFS: true, syscall.ENODEV: true, syscall.EXDEV: true, syscall.E2BIG: true, syscall.ETXTBSY: true,
}

// finish leaves a third of the files open: a master may be stopped like that.
func (k *worker) finish() {
	for _, end := range k.cancel {
		end()
	}
	for i, f := range k.open {
		if i%3 != 0 {
			f.Close()
		} else {
			k.shared.hold(f)
		}
	}
}

// users work on the file system; some share groups.
var users = []User{
	Root, Root, Root, Root, Root,
	{UID: 1001, GID: 1001, Groups: []int{1002, 1003}},
	{UID: 1002, GID: 1002},
	{UID: 1003, GID: 1003, Groups: []int{1001, 25, 100000}},
	{UID: 70000, GID: 5, Groups: []int{1002}},
	{UID: 4294967294, GID: 4294967294},
}

// names is what workers believe to exist, by path below the mounts. Workers add
// and remove without asking each other, so some are wrong.
type names struct {
	mu   sync.Mutex
	sets [2]nameSet // files and others; directories
}

type nameSet struct {
	list []string
	at   map[string]int
}

func newNames() *names {
	n := &names{}
	for i := range n.sets {
		n.sets[i].at = map[string]int{}
	}
	return n
}

func kindOf(dir bool) int {
	if dir {
		return 1
	}
	return 0
}

func (n *names) add(path string, dir bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.sets[kindOf(dir)]
	if _, ok := s.at[path]; !ok {
		s.at[path] = len(s.list)
		s.list = append(s.list, path)
	}
}

func (n *names) remove(path string, dir bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.sets[kindOf(dir)]
	i, ok := s.at[path]
	if !ok {
		return
	}
	last := s.list[len(s.list)-1]
	s.list[i], s.at[last] = last, i
	s.list = s.list[:len(s.list)-1]
	delete(s.at, path)
}

// pick returns a random path, false if there is none.
func (n *names) pick(rng *rand.Rand, dir bool) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.sets[kindOf(dir)]
	if len(s.list) == 0 {
		return "", false
	}
	return s.list[rng.IntN(len(s.list))], true
}

func (n *names) count(dir bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sets[kindOf(dir)].list)
}

// Histogram counts the operations of changelog text by name.
func Histogram(changelog []byte) map[string]int {
	h := map[string]int{}
	for line := range lines(changelog) {
		h[opOf(line)]++
	}
	return h
}
