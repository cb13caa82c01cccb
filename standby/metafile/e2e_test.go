//go:build e2e

package metafile

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/stock"
)

// These tests need MooseFS 3.0.117's mfsmaster and mfsmetadump.

func TestRealMfsmetadump(t *testing.T) {
	for name, dump := range map[string]string{"before.mfs": "before.dump.gz", "after.mfs.gz": "after.dump.gz"} {
		st, h := mustRead(t, fixture(t, name))
		path := filepath.Join(t.TempDir(), "metadata.mfs")
		if err := File(path, "", st, h, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("mfsmetadump", path).Output()
		if err != nil {
			t.Fatalf("mfsmetadump of our %s: %v", name, err)
		}
		wantSameLines(t, sortedLines(out), sortedLines(fixture(t, dump)))
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantSameLines(t, lines(mustDump(t, file, DumpOptions{Misread: true})), lines(out))
	}
}

// TestRealMaster starts a master on our file and stops it. What it stored must
// be what we gave it, but for what its timers did meanwhile, and its checksums
// those that we compute for what it stored.
func TestRealMaster(t *testing.T) {
	for _, name := range []string{"before.mfs", "after.mfs.gz", "sample"} {
		t.Run(name, func(t *testing.T) {
			var st *meta.State
			var h Header
			if name == "sample" {
				st, h = mustRead(t, sample().bytes())
			} else {
				st, h = mustRead(t, fixture(t, name))
			}
			dir := withinAnHour(t, func(dir string) error {
				return File(filepath.Join(dir, "metadata.mfs"), "", st, h, WriteOptions{})
			})
			stored, err := os.ReadFile(filepath.Join(dir, "metadata.mfs"))
			if err != nil {
				t.Fatal(err)
			}
			timers := changelogs(t, dir)
			for _, d := range differences(t, stored, st, CompareOptions{Version: h.Version, Counters: true, Disconnects: true, LockTypes: true, ChunkLocks: true}) {
				if !byTimer(d, timers) {
					t.Errorf("the master stored something else: %s; its timers: %s", d, timers)
				}
			}
			sums, err := os.ReadFile(filepath.Join(dir, "metadata.crc"))
			if err != nil {
				t.Fatal(err)
			}
			again, h2 := mustRead(t, stored)
			var crc bytes.Buffer
			mustWrite(t, again, h2, WriteOptions{CRC: &crc})
			if !bytes.Equal(crc.Bytes(), sums) {
				t.Errorf("checksums\n got %X\nwant %X", crc.Bytes(), sums)
			}
		})
	}
}

// TestRealMasterLoadsTheSame gives each odd file that we accept to a master:
// what it stores must be what we read. Where we refuse what a master loads, the
// master is left out: it may hang.
func TestRealMasterLoadsTheSame(t *testing.T) {
	for _, tc := range acceptance {
		if tc.wantErr != "" || tc.name == "version 0" { // that is never stored
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			r := sample()
			tc.change(r)
			file := r.bytes()
			st, _ := mustRead(t, file)
			dir := withinAnHour(t, func(dir string) error {
				return os.WriteFile(filepath.Join(dir, "metadata.mfs"), file, 0o644)
			})
			stored, err := os.ReadFile(filepath.Join(dir, "metadata.mfs"))
			if err != nil {
				t.Fatal(err)
			}
			timers := changelogs(t, dir)
			for _, d := range differences(t, stored, st, CompareOptions{Counters: true, Disconnects: true, LockTypes: true, ChunkLocks: true}) {
				if !byTimer(d, timers) {
					t.Errorf("%s; its timers: %s", d, timers)
				}
			}
		})
	}
}

// changelogs returns what the master wrote.
func changelogs(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// byTimer tells whether a difference can come from what a master's timers did.
func byTimer(d, timers string) bool {
	for _, cause := range []struct{ difference, entry string }{
		{"HEAD Version", ""}, {"NODE ", "EMPTY"}, {"EDGE detached", "EMPTY"}, {"FREE", "EMPTY"}, {"FREE", "FREEINODES"}, {"CHNK", "EMPTY"},
		{"QUOT", "QUOTA"}, {"CSDB", "CSDBOP"}, {"EDGE next edge id", "RENUMERATEEDGES"}, {"EDGE ", "RENUMERATEEDGES"},
	} {
		if strings.HasPrefix(d, cause.difference) && timers != "" && strings.Contains(timers, cause.entry) {
			return cause.entry != "RENUMERATEEDGES" || strings.Contains(d, " ID: ") || strings.Contains(d, "next edge id")
		}
	}
	return false
}

// withinAnHour runs a master on the file that store puts into a directory,
// and returns the directory. At the turn of an hour a master moves the sessions'
// counters, which no entry tells: if the run saw one, it is made once more.
func withinAnHour(t *testing.T, store func(dir string) error) string {
	t.Helper()
	for {
		dir, hour := t.TempDir(), time.Now().Unix()/3600
		if err := store(dir); err != nil {
			t.Fatal(err)
		}
		runMaster(t, dir)
		if time.Now().Unix()/3600 == hour {
			return dir
		}
	}
}

// runMaster runs a master in dir from its start to its clean end.
func runMaster(t *testing.T, dir string) {
	t.Helper()
	// With the default, 0, the last lines of a master that ends get lost.
	config := fmt.Sprintf("CHANGELOG_SAVE_MODE = 1\nWORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = %s\nEXPORTS_FILENAME = %s/exports\nTOPOLOGY_FILENAME = %s/topology\n", dir, dir, dir)
	listen, _, err := stock.FreeListeners()
	if err != nil {
		t.Fatal(err)
	}
	config += listen
	for file, text := range map[string]string{"config": config, "exports": "* / rw\n", "topology": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	master := exec.Command("mfsmaster", "-f", "-c", filepath.Join(dir, "config"), "start")
	output, err := master.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	master.Stdout = master.Stderr
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { master.Process.Kill() })
	defer watchdog.Stop()
	var log strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); {
		fmt.Fprintln(&log, lines.Text())
		if strings.Contains(lines.Text(), "daemon initialized properly") {
			if err := master.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := master.Wait(); err != nil {
		t.Fatalf("mfsmaster: %v\n%s", err, log.String())
	}
}
