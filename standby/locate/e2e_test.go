//go:build e2e

package locate

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/bench/e2e"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Where a real master says copies are, and what asking it leaves in its
// changelog: one session, whatever ends in between.
func TestRealPrimary(t *testing.T) {
	c, err := e2e.Start(e2e.Config{Dir: t.TempDir(), Chunkservers: 2, Mounts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	small, large := writeFile(t, c, "small", 0), writeFile(t, c, "large", 64<<20)
	dir := t.TempDir()
	cfg := Config{Address: e2e.ClientAddress, Dir: dir, Host: "here", Dial: c.Dial, Fresh: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	l, stop := runLocator(t, cfg)
	for _, f := range []realFile{small, large} {
		for index, ch := range f.chunks {
			copies, status := l.Locate(t.Context(), f.inode, uint32(index), ch.id, ch.version)
			if got := servers(copies); status != meta.OK || !slices.Equal(got, ch.servers) {
				t.Errorf("%s, chunk %d: got %v, %v, want %v", f.path, index, got, status, ch.servers)
			}
			if _, status := l.Locate(t.Context(), f.inode, uint32(index), ch.id, ch.version+1); status != meta.ELOCKED {
				t.Errorf("%s, chunk %d of a version that is not there: %v", f.path, index, status)
			}
			copies7, status := l.CheckChunk(t.Context(), f.inode, uint32(index))
			if status != meta.OK || len(copies7) != 7*len(ch.servers) {
				t.Errorf("%s, chunk %d: %d bytes of copies, %v", f.path, index, len(copies7), status)
			}
		}
		if counts, status := l.CheckFile(t.Context(), f.inode); status != meta.OK || int(counts[2]) != len(f.chunks) {
			t.Errorf("%s: got %v, %v, want %d chunks with 2 copies", f.path, counts, status, len(f.chunks))
		}
	}
	waitFor(t, "the primary's space", func() bool { return l.Space().Total > 0 })
	stop()
	l, stop = runLocator(t, cfg) // another process
	if err := c.StopMaster(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the connection", func() bool { return !l.Stats().Connected })
	ch := small.chunks[0]
	if copies, status := l.Locate(t.Context(), small.inode, 0, ch.id, ch.version); status != meta.OK || copies.Len() != 0 {
		t.Errorf("without primary: got %v, %v", servers(copies), status)
	}
	if err := c.StartMaster(false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the copies after a restart of the primary", func() bool {
		copies, status := l.Locate(t.Context(), small.inode, 0, ch.id, ch.version)
		return status == meta.OK && slices.Equal(servers(copies), ch.servers)
	})
	c.KillMaster()
	waitFor(t, "the end of the connection", func() bool { return !l.Stats().Connected })
	if copies, status := l.Locate(t.Context(), small.inode, 0, ch.id, ch.version); status != meta.OK || !slices.Equal(servers(copies), ch.servers) {
		t.Errorf("without primary: got %v, %v, want what is kept", servers(copies), status)
	}
	stop()
	if got := sessionEntries(t, c.DataDir()); len(got) != 1 {
		t.Errorf("sessions made for this host: %q, want one", got)
	}
}

func runLocator(t *testing.T, cfg Config) (*Locator, func()) {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	waitFor(t, "a connection to the primary", func() bool { return l.Stats().Connected })
	return l, func() { cancel(); <-done }
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// realFile is a file as mfsfileinfo shows it.
type realFile struct {
	path   string
	inode  meta.Inode
	chunks []realChunk
}

type realChunk struct {
	id      meta.ChunkID
	version uint32
	servers []string // sorted
}

// writeFile writes a byte at 0 and one at offset, and waits for both copies of
// all chunks.
func writeFile(t *testing.T, c *e2e.Cluster, name string, offset int64) realFile {
	t.Helper()
	f := realFile{path: filepath.Join(c.Mounts()[0], name)}
	file, err := os.Create(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, offset} {
		if _, err := file.WriteAt([]byte("x"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Command("mfssetgoal", "2", f.path).CombinedOutput(); err != nil {
		t.Fatalf("mfssetgoal: %v: %s", err, out)
	}
	info, err := os.Stat(f.path)
	if err != nil {
		t.Fatal(err)
	}
	f.inode = meta.Inode(info.Sys().(*syscall.Stat_t).Ino)
	want := int(offset>>26) + 1
	waitFor(t, "two copies of "+name, func() bool {
		f.chunks = fileInfo(t, c, f.path)
		return len(f.chunks) == want && !slices.ContainsFunc(f.chunks, func(ch realChunk) bool { return len(ch.servers) != 2 })
	})
	return f
}

var (
	chunkLine = regexp.MustCompile(`chunk \d+: ([0-9A-F]+)_([0-9A-F]+) `)
	copyLine  = regexp.MustCompile(`copy \d+: (\S+:\d+)`)
)

func fileInfo(t *testing.T, c *e2e.Cluster, path string) (chunks []realChunk) {
	t.Helper()
	out, err := c.Command("mfsfileinfo", path).CombinedOutput()
	if err != nil {
		t.Fatalf("mfsfileinfo: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if m := chunkLine.FindStringSubmatch(line); m != nil {
			id, _ := strconv.ParseUint(m[1], 16, 64)
			version, _ := strconv.ParseUint(m[2], 16, 32)
			chunks = append(chunks, realChunk{id: meta.ChunkID(id), version: uint32(version)})
		} else if m := copyLine.FindStringSubmatch(line); m != nil && len(chunks) > 0 {
			last := &chunks[len(chunks)-1]
			last.servers = append(last.servers, m[1])
			slices.Sort(last.servers)
		}
	}
	return chunks
}

func servers(l wire.Locations) (list []string) {
	for i := range l.Len() {
		at := l.At(i)
		list = append(list, fmt.Sprintf("%d.%d.%d.%d:%d", at.IP>>24, at.IP>>16&255, at.IP>>8&255, at.IP&255, at.Port))
	}
	slices.Sort(list)
	return list
}

// sessionEntries returns the changelog's lines that made a session for this host.
func sessionEntries(t *testing.T, dir string) (lines []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil || len(files) == 0 {
		t.Fatalf("changelogs in %s: %v, %v", dir, files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "SESADD") && strings.Contains(line, "mfsstandby on here") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}
