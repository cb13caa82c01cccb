//go:build e2e

package replaytest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/history"
)

// restores is how many versions are restored; MFS_RESTORES says otherwise.
const restores = 3

// Random versions of a captured history are restored to what a real mfsmaster
// makes of the same metadata file and changelog up to there.
func TestRestoreLikeMaster(t *testing.T) {
	count := restores
	if text := os.Getenv("MFS_RESTORES"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	c := newCaptured(t, "../metafile/testdata/3.0.117-a/before.mfs", "../../changelog/testdata/3.0.117-a.changelog.mfs.gz")
	rnd := rand.New(rand.NewPCG(uint64(count), 1))
	for range count {
		v := c.base.Version + meta.Version(rnd.IntN(len(c.entries)+1))
		t.Run(strconv.FormatUint(uint64(v), 10), func(t *testing.T) { restoreLikeMaster(t, c, v) })
	}
}

func restoreLikeMaster(t *testing.T, c *captured, v meta.Version) {
	place, err := history.Locate(t.Context(), c, history.Point{Version: v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	img, err := history.Build(t.Context(), c, place, history.Options{Dir: dir, Cache: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	view, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	out := filepath.Join(dir, "restored.mfs")
	if err := standby.WriteView(view, out, "", nil); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t)
	var text bytes.Buffer
	for _, line := range c.forMaster[:v-c.base.Version] {
		text.WriteString(line)
	}
	for name, content := range map[string][]byte{"metadata.mfs": c.file, "changelog.0.mfs": text.Bytes()} {
		if err := os.WriteFile(filepath.Join(m.data, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.run(t)
	want, h := load(t, filepath.Join(m.data, "metadata.mfs"))
	got, _ := load(t, out)
	now := m.applyRest(t, got, v, h.Version)
	compare(t, dump(want, now), dump(got, now))
}

// captured is a history.Source of one base image and the entries behind it.
type captured struct {
	base      stream.Base
	file      []byte
	entries   []meta.RawEntry
	forMaster []string // the entries as lines that mfsmaster replays as it meant them
}

func newCaptured(t *testing.T, before, log string) *captured {
	t.Helper()
	_, h := load(t, before)
	c := &captured{base: stream.Base{MetaID: h.MetaID, Version: h.Version, Epoch: 1, Release: "3.0.117"}}
	var err error
	if c.file, err = io.ReadAll(open(t, before)); err != nil {
		t.Fatal(err)
	}
	batch := changelog.NewBatch()
	lines := bufio.NewScanner(open(t, log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		batch.Reset()
		e, err := batch.ParseLine(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Op.(*changelog.Repair); ok && r.ChunkVersion > 0 {
			e.Op = &changelog.Idle{} // mfsmaster counts it twice, and stops
		}
		c.forMaster = append(c.forMaster, string(append(changelog.Entry{Version: e.Version, Time: e.Time, Op: forReplay(e.Op)}.Append(nil), '\n')))
		_, text, _ := strings.Cut(string(e.Append(nil)), ": ")
		c.entries = append(c.entries, meta.RawEntry{Version: e.Version, Text: []byte(text)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *captured) Bases(context.Context) ([]stream.Base, error) { return []stream.Base{c.base}, nil }

func (c *captured) GetBase(_ context.Context, _ stream.Base, w io.Writer) error {
	_, err := w.Write(c.file)
	return err
}

func (c *captured) End(context.Context) (stream.Position, error) {
	return stream.Position{Version: c.base.Version + meta.Version(len(c.entries)), Epoch: 1}, nil
}

func (c *captured) Reader(pos stream.Position) history.Reader {
	return &capturedReader{c.entries[pos.Version-c.base.Version:]}
}

type capturedReader struct{ entries []meta.RawEntry }

func (r *capturedReader) Next(context.Context) (*stream.Batch, error) {
	n := min(len(r.entries), 1000)
	if n == 0 {
		return nil, io.EOF
	}
	b := &stream.Batch{Entries: r.entries[:n], Release: "3.0.117"}
	b.End = stream.Position{Version: b.Entries[n-1].Version + 1, Epoch: 1}
	r.entries = r.entries[n:]
	return b, nil
}

func (r *capturedReader) Close() error { return nil }
