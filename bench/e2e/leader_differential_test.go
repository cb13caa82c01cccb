//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

// Stock mounts cannot tell a leader from a stock master: the same operations, by
// several users, tools and the mount of the trash, on a promoted leader and on a
// master that was started on the leader's metadata, have the same results, show
// the same tree, and leave the same metadata but for times. E2E_ALIKE_SEEDS and
// E2E_ALIKE_OPS say how much is tried, E2E_ALIKE_SEED where to begin.
func TestLeaderIsLikeAMaster(t *testing.T) {
	binary := buildStandby(t)
	first, ops := number(t, "E2E_ALIKE_SEED", 1), int(number(t, "E2E_ALIKE_OPS", 1500))
	for seed := first; seed < first+number(t, "E2E_ALIKE_SEEDS", 1); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), Mounts: 1, Meta: true, Master: map[string]string{
				// What happens after a while is to happen after the end of this.
				"INODE_REUSE_DELAY": "86400", "SESSION_SUSTAIN_TIME": "86400",
			}}
			led, base := leaderOn(t, binary, cfg, seed)
			cfg.Dir, cfg.Metadata = t.TempDir(), base
			stock := startLive(t, cfg, true)
			var running []*Running
			for _, c := range []*Cluster{led.c, stock} {
				w, err := Workload{Seed: seed, Ops: ops, NoData: true, Exact: true}.Start(c)
				if err != nil {
					t.Fatal(err)
				}
				running = append(running, w)
			}
			var traces [][]string
			for _, w := range running {
				report, err := w.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if report.Ops() < ops/3 {
					t.Errorf("only %d of %d operations succeeded: %v", report.Ops(), ops, report.Failed)
				}
				traces = append(traces, report.Trace)
			}
			t.Logf("%d operations", len(traces[0]))
			for i := range min(len(traces[0]), len(traces[1])) {
				if traces[0][i] != traces[1][i] {
					t.Fatalf("the leader: %s\nthe master: %s", traces[0][i], traces[1][i])
				}
			}
			compareLines(t, "the tree", tree(t, stock.mounts[0].Path), tree(t, led.c.mounts[0].Path))
			export := led.c.path("led.mfs")
			if out, err := led.command("export", "-o", export); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := stock.StopMaster(); err != nil {
				t.Fatal(err)
			}
			places := strings.NewReplacer(stock.path(), "", led.c.path(), "")
			compareLines(t, "the metadata", comparable(t, filepath.Join(stock.DataDir(), "metadata.mfs"), places), comparable(t, export, places))
		})
	}
}

// leaderOn gives a cluster of which the master is dead, a standby leads, and the
// mounts are fresh, and the path of the metadata that it leads with.
func leaderOn(t *testing.T, binary string, cfg Config, seed uint64) (*follower, string) {
	t.Helper()
	c := startLive(t, cfg, false)
	must := func(list ...error) {
		t.Helper()
		if err := errors.Join(list...); err != nil {
			t.Fatal(err)
		}
	}
	// A session of the standby's own at the master would not be a mount's.
	f := newFollower(c, binary, "standby", "run", "--primary", MasterIP, "--primary-clients", "127.0.0.1:1", "--listen-http", "",
		"--exports", c.path("cfg", "mfsexports.cfg"), "--master-config", c.path("cfg", "mfsmaster.cfg"))
	must(f.start())
	w, err := Workload{Seed: seed + 1<<32, Ops: 300, NoData: true}.Start(c)
	must(err)
	_, err = w.Wait(t.Context())
	must(err)
	// Killed, they leave sessions with open files, which are kept.
	for _, m := range []*Mount{c.mounts[0], c.meta} {
		m.Kill()
	}
	c.mounts, c.meta = nil, nil
	must(w.Release(), f.wait("being in sync", func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }))
	must(waitFor("the master to miss the mounts", patience, func() bool {
		out, err := f.command("dump")
		return err == nil && strings.Contains(out, "SESSION|") && !connected.MatchString(out)
	}))
	c.KillMaster()
	promoted(t, f, "promote", "--json", "--changelog-dir", c.DataDir())
	base := c.path("base.mfs")
	if out, err := f.command("export", "-o", base); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(c.startMounts())
	return f, base
}

// connected is part of a session that has a client.
var connected = regexp.MustCompile(`(?m)^SESSION\|.*\|d: +0\|`)

// tree is what a mount shows of everything, without times.
func tree(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%q inode %d mode %o links %d owner %d:%d device %d size %d blocks %d", name, st.Ino, st.Mode, st.Nlink, st.Uid, st.Gid, st.Rdev, st.Size, st.Blocks)
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" to %q", to)
		}
		names := make([]byte, 64<<10)
		n, err := unix.Llistxattr(path, names)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		var attrs []string
		for name := range strings.SplitSeq(strings.Trim(string(names[:n]), "\x00"), "\x00") {
			if name == "" {
				continue
			}
			value := make([]byte, 64<<10)
			n, err := unix.Lgetxattr(path, name, value)
			attrs = append(attrs, fmt.Sprintf("%q=%x (%v)", name, value[:max(n, 0)], err))
		}
		slices.Sort(attrs)
		list = append(list, line+" "+strings.Join(attrs, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 100 {
		t.Errorf("%s shows %d names only", root, len(list))
	}
	return list
}

// ofItsOwn is what lines of a dump have by the time or by chance: times of nodes,
// since when a node is free, since when a soft limit is exceeded, and owners and
// processes of locks, which are the kernel's.
var ofItsOwn = regexp.MustCompile(`\|a:[0-9 ]+,m:[0-9 ]+,c:[0-9 ]+|\|f:[0-9 ]+$|\|s:[0-9 ]+\|si:|^FLOCK.*$|\|o:0x[0-9A-F]+\|p: *[0-9]+`)

// comparable is the dump of a metadata file without that, without headers of
// sections, and with the places of mounts replaced.
func comparable(t *testing.T, file string, places *strings.Replacer) (list []string) {
	t.Helper()
	dump, err := DumpLines(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range dump {
		if strings.HasPrefix(line, "# section") || strings.HasPrefix(line, "# version") {
			continue
		}
		list = append(list, ofItsOwn.ReplaceAllStringFunc(places.Replace(line), func(part string) string {
			lock, _, _ := strings.Cut(part, "|s:")
			if strings.HasPrefix(lock, "FLOCK") { // what follows mfsmetadump misreads
				return lock
			}
			return ""
		}))
	}
	slices.Sort(list)
	return list
}

// compareLines shows how lists of lines differ.
func compareLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	found := Differences(want, got)
	if len(found) > 0 {
		t.Errorf("%s differs in %d lines (- the master, + the leader):\n%s", what, len(found), strings.Join(found[:min(len(found), 40)], "\n"))
	}
	t.Logf("%s: %d lines", what, len(want))
}
