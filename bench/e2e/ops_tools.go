package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tool runs a MooseFS program as the current user.
func (k *worker) tool(name string, args ...string) error {
	out, err := k.cluster.CommandAs(k.user, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}

// recursively says -r in a third of the cases.
func (k *worker) recursively() []string {
	if k.chance(33) {
		return []string{"-r"}
	}
	return nil
}

// target picks what a tool works on: more often a directory than elsewhere.
func (k *worker) target() (string, error) {
	if k.chance(60) {
		return k.on(k.dir()), nil
	}
	path, err := k.file()
	return k.on(path), err
}

// change runs a tool with options, maybe -r, a value and a target.
func (k *worker) change(name string, args ...string) error {
	path, err := k.target()
	if err != nil {
		return err
	}
	return k.tool(name, append(append(k.recursively(), args...), path)...)
}

func (k *worker) toolTrashTime() error {
	seconds := oneOf(k, []string{"0", "0", "0", "1", "3600", "7200", "100000", "3600+", "3600-"})
	return k.change("mfssettrashtime", seconds)
}

func (k *worker) toolClass() error {
	switch k.rng.IntN(4) {
	case 0:
		return k.change("mfssetgoal", oneOf(k, []string{"1", "2", "3", "2+", "2-"}))
	case 1:
		return k.change("mfsxchgsclass", oneOf(k, []string{"1", "2", "3"}), k.class())
	}
	return k.change("mfssetsclass", k.class())
}

// class names a predefined class or one that mfsscadmin may have made.
func (k *worker) class() string {
	if n := k.classes.Load(); n > 0 && k.chance(50) {
		return fmt.Sprintf("class%d", k.rng.Int64N(n))
	}
	return oneOf(k, []string{"1", "2", "3"})
}

var eattrs = []string{"noowner", "noattrcache", "noentrycache", "nodatacache", "snapshot"}

func (k *worker) toolSetEattr() error {
	attr := oneOf(k, eattrs)
	if k.chance(20) {
		attr = oneOf(k, []string{"undeletable", "appendonly", "immutable"})
		path, err := k.file()
		if err != nil {
			return err
		}
		return k.tool("mfsseteattr", "-f", attr, k.on(path)) // on directories they would stop the others
	}
	return k.change("mfsseteattr", "-f", attr)
}

func (k *worker) toolDelEattr() error {
	attr := oneOf(k, append([]string{"undeletable", "appendonly", "immutable", "immutable"}, eattrs...))
	return k.change("mfsdeleattr", "-f", attr)
}

func (k *worker) toolQuota() error {
	var args []string
	for _, limit := range []struct {
		soft, hard string
		most       int
	}{{"-i", "-I", 500}, {"-l", "-L", 4 << 20}, {"-s", "-S", 8 << 20}, {"-r", "-R", 16 << 20}} {
		if k.chance(30) {
			args = append(args, limit.soft, fmt.Sprint(k.rng.IntN(limit.most)))
		}
		// A writer that meets a hard limit leaves its chunk locked for two
		// minutes, and others wait: seldom for sizes.
		if k.chance(4) || limit.hard == "-I" && k.chance(15) {
			args = append(args, limit.hard, fmt.Sprint(limit.most/2+k.rng.IntN(limit.most)))
		}
	}
	if k.exact { // or it would depend on the time what is over a soft limit
		args = append(args, "-p", fmt.Sprint(100_000+k.rng.IntN(60)))
	} else if k.chance(40) {
		args = append(args, "-p", fmt.Sprint(1+k.rng.IntN(60)))
	}
	if len(args) == 0 || k.replay || k.exact { // 4.x keeps a quota without limits, and its replay does not
		args = append(args, "-i", "10")
	}
	dir := k.dir()
	if err := k.tool("mfssetquota", append(args, k.on(dir))...); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limited = append(k.limited, dir)
	return nil
}

// toolDelQuota takes limits away, all of a directory more often than not: writers
// that meet one wait and retry, and the workload with them.
func (k *worker) toolDelQuota() error {
	k.mu.Lock()
	if len(k.limited) == 0 {
		k.mu.Unlock()
		return errNothing
	}
	i := k.rng.IntN(len(k.limited))
	dir := k.limited[i]
	which := oneOf(k, []string{"-aA", "-aA", "-aA", "-a", "-A", "-i", "-L"})
	if which == "-aA" {
		k.limited = slices.Delete(k.limited, i, i+1)
	}
	k.mu.Unlock()
	return k.tool("mfsdelquota", which, k.on(dir))
}

// snapshot is what mfsmakesnapshot was asked for, below the mounts.
type snapshot struct {
	source, target string
}

func (k *worker) toolSnapshot() error {
	var args []string
	for _, option := range []string{"-o", "-c", "-p"} {
		if k.chance(35) {
			args = append(args, option)
		}
	}
	s, again := k.oldSnapshot()
	if again {
		args = append(args, "-o")
	} else {
		var err error
		if s, err = k.newSnapshot(); err != nil {
			return err
		}
	}
	root := k.root()
	if k.tooLarge(filepath.Join(root, s.source)) {
		return errNothing
	}
	if err := k.tool("mfsmakesnapshot", append(args, filepath.Join(root, s.source), filepath.Join(root, s.target))...); err != nil {
		return err
	}
	if !again {
		k.remember(s)
	}
	k.learn(s.target)
	return nil
}

// oldSnapshot returns one to be made again, over the old copy.
func (k *worker) oldSnapshot() (snapshot, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.snapshots) == 0 || !k.chance(60) {
		return snapshot{}, false
	}
	return oneOf(k, k.snapshots), true
}

// remember keeps few, so that the same ones are made over and over.
func (k *worker) remember(s snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.snapshots = append(k.snapshots, s); len(k.snapshots) > 8 {
		k.snapshots = k.snapshots[1:]
	}
}

func (k *worker) newSnapshot() (snapshot, error) {
	s := snapshot{k.dir(), k.newPath()}
	if k.chance(30) {
		var err error
		if s.source, err = k.file(); err != nil {
			return s, err
		}
	}
	switch {
	case k.user.UID != 0 || k.chance(30): // where everybody may
		s.target = fmt.Sprintf("base%d", k.rng.IntN(baseDirs))
	case k.chance(40):
		s.target = k.dir() // into it
	}
	return s, nil
}

// tooLarge keeps snapshots of snapshots from filling everything.
func (k *worker) tooLarge(path string) bool {
	count := 0
	filepath.WalkDir(path, func(string, os.DirEntry, error) error {
		if count++; count > 300 {
			return filepath.SkipAll
		}
		return nil
	})
	return count > 300
}

// learn adds what a tool made.
func (k *worker) learn(path string) {
	real := k.on(path)
	filepath.WalkDir(real, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // without the rights to read it, it stays unknown
		}
		if rel, err := filepath.Rel(real, p); err == nil && k.chance(50) {
			k.names.add(filepath.Join(path, rel), e.IsDir())
		}
		return nil
	})
}

func (k *worker) toolRemoveSnapshot() error {
	args := []string{k.on(k.dir())}
	if base := filepath.Base(args[0]); strings.HasPrefix(base, "base") {
		return errNothing
	}
	if k.chance(60) {
		args = append([]string{"-f"}, args...)
	}
	return k.tool("mfsrmsnapshot", args...)
}

func (k *worker) toolAppend() error {
	to, err := k.file()
	if err != nil {
		return err
	}
	if k.chance(30) {
		to = k.newPath() // the tool makes it
	}
	from, err := k.file()
	if err != nil {
		return err
	}
	if info, err := os.Lstat(k.on(to)); err == nil && info.Size() > 1<<30 {
		return errNothing
	}
	info, err := os.Lstat(k.on(from))
	if err != nil {
		return err
	}
	root := k.root()
	args := []string{filepath.Join(root, to), filepath.Join(root, from)}
	if k.chance(30) {
		chunks := 1 + int(info.Size()>>26)
		first := k.rng.IntN(chunks)
		args = append([]string{"-s", fmt.Sprintf("%d:%d", first, first+k.rng.IntN(chunks-first))}, args...)
	}
	if err := k.tool("mfsappendchunks", args...); err != nil {
		return err
	}
	k.names.add(to, false)
	return nil
}

func (k *worker) toolArchive() error {
	path, err := k.target()
	if err != nil {
		return err
	}
	return k.tool(oneOf(k, []string{"mfssetarchive", "mfssetarchive", "mfsclrarchive"}), path)
}

func (k *worker) toolRepair() error {
	var paths []string
	for range 40 {
		path, err := k.file()
		if err != nil {
			return err
		}
		paths = append(paths, k.on(path))
	}
	return k.tool("mfsfilerepair", paths...)
}

// toolClassAdmin makes, copies, renames, changes and removes storage classes.
func (k *worker) toolClassAdmin() error {
	admin := func(args ...string) error { return k.adminTool("mfsscadmin", args...) }
	n := k.classes.Load()
	some := fmt.Sprintf("class%d", k.rng.Int64N(n+1))
	fresh := func() string { return fmt.Sprintf("class%d", k.classes.Add(1)-1) }
	switch k.rng.IntN(6) {
	case 0, 1:
		labels := oneOf(k, []string{"A", "A,B", "2*", "A+B,C", "[A+B],*", "2A"})
		args := []string{"create", "-K", labels, "-m", oneOf(k, []string{"l", "s", "d"})}
		if k.chance(40) {
			args = append(args, "-A", "2B", "-d", fmt.Sprint(1+k.rng.IntN(3)))
		}
		if k.chance(30) {
			args = append(args, "-C", "C", "-a", "1")
		}
		if k.cluster.modern {
			args = append(args, k.modernClass()...)
		}
		return admin(append(args, fresh())...)
	case 2:
		return admin("copy", some, fresh())
	case 3:
		return admin("rename", some, fmt.Sprintf("renamed %%,%d", k.rng.IntN(1000)))
	case 4:
		return admin("delete", some)
	}
	return admin("modify", "-K", oneOf(k, []string{"B", "A,A", "*"}), some)
}

// trashEntries are the files in trash, as the flat meta mount names them.
func (k *worker) trashEntry() (string, error) {
	if k.cluster.meta == nil {
		return "", errNothing
	}
	dir, err := os.Open(filepath.Join(k.cluster.meta.Path, "trash"))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	list, err := dir.Readdirnames(2000)
	if errors.Is(err, io.EOF) {
		return "", errNothing // of 4.x an empty trash has no name at all
	}
	if err != nil {
		return "", err
	}
	slices.Sort(list) // their order is that of the master's memory
	for range 10 {
		if name := oneOf(k, list); name != "undel" && name != "." && name != ".." {
			return filepath.Join(dir.Name(), name), nil
		}
	}
	return "", errNothing
}

func (k *worker) undelete() error {
	path, err := k.trashEntry()
	if err != nil {
		return err
	}
	return unix.Rename(path, filepath.Join(filepath.Dir(path), "undel", filepath.Base(path)))
}

func (k *worker) purge() error {
	path, err := k.trashEntry()
	if err != nil {
		return err
	}
	return unix.Unlink(path)
}

func (k *worker) setTrashPath() error {
	path, err := k.trashEntry()
	if err != nil {
		return err
	}
	to := filepath.Join(k.dir(), oneOf(k, []string{"back", "deep/er/path %,)", "x"}), k.name())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) // the entry may be gone: never create
	if err != nil {
		return err
	}
	_, err = f.WriteString(to)
	err = errors.Join(err, f.Close())
	if err == nil && k.exact {
		// The client sends the path when the kernel has let the file go, some time
		// after it was closed; the entry has another name then.
		err = waitFor("the path of a file in the trash", startLimit, func() bool {
			text, err := os.ReadFile(path)
			return err != nil || strings.TrimSuffix(string(text), "\n") == to
		})
	}
	return err
}

// shortSession mounts, leaves an open and locked file, and unmounts or dies.
func (k *worker) shortSession() error {
	k.special.Lock()
	defer k.special.Unlock()
	n := k.mounts.Add(1)
	args := oneOf(k, [][]string{nil, nil, {"-S", "/base1"}, {"-S", "/base2"}})
	m, err := k.cluster.Mount(fmt.Sprintf("short%d", n), mountIP(5+k.rng.IntN(2)), args...)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(m.Path, fmt.Sprintf("short%d", n)))
	if err == nil {
		unix.Flock(int(f.Fd()), oneOf(k, []int{unix.LOCK_SH, unix.LOCK_EX}))
		os.Remove(f.Name())
	}
	if k.chance(40) {
		m.Kill()
	}
	if f != nil {
		f.Close()
	}
	return errors.Join(err, m.Unmount())
}

// maintenance switches the maintenance mode of a chunkserver, if it has not moved.
func (k *worker) maintenance() error {
	if len(k.cluster.chunk) == 0 {
		return errNothing
	}
	server := fmt.Sprintf("/%s/9422", chunkIP(k.rng.IntN(len(k.cluster.chunk))))
	if _, err := k.cluster.CLI("-CM" + oneOf(k, []string{"0", "1"}) + server); err != nil {
		return errNothing
	}
	return nil
}
