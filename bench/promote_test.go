package bench

import (
	"bytes"
	"encoding/xml"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// A plain tree has the inodes that were asked for, and its changes fit it.
func TestPlainTree(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "metadata.mfs")
	made, err := savePlainTree(t.Context(), dir, path, 2500, image.MinCache)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "changelog.0.mfs")
	lines := made.lines(100) // more than there are directories: some names come back
	if err := create(log, func(w io.Writer) error { _, err := w.Write(lines); return err }); err != nil {
		t.Fatal(err)
	}
	in := input{Metadata: path, Changelog: log}
	if err := in.look(); err != nil {
		t.Fatal(err)
	}
	if in.entries() != 100 {
		t.Fatalf("%d entries follow the file, want 100", in.entries())
	}
	run := &stageRun{job: job{Stage: Apply, Input: in, Dir: dir, Cache: image.MinCache}}
	if err := stages[Apply](run, t.Context()); err != nil {
		t.Fatal(err)
	}
	if run.inodes != 2500 {
		t.Errorf("%d inodes, want 2500", run.inodes)
	}
}

func TestPromoteReport(t *testing.T) {
	r := PromoteReport{Rounds: 3, Results: []PromoteResult{
		{Way: Promotion, Inodes: 1000, Round: 1, Write: 60, Drain: 10, Steps: []PromoteStep{{"flip", 5}}},
		{Way: StockWay, Inodes: 1000, Round: 1, Write: 900},
		{Way: Promotion, Inodes: 1000, Round: 2, Write: 40, Drain: 10},
		{Way: Promotion, Inodes: 1000, Round: 3, Write: 50, Drain: 20},
		{Way: Promotion, Inodes: 2000, Round: 1, Write: 55},
	}}
	if m := r.Median(Promotion, 1000); m == nil || m.Write != 50 || m.Beyond() != 30 {
		t.Errorf("median %+v", m)
	}
	if m := r.Median(StockWay, 2000); m != nil {
		t.Errorf("there is no such run: %+v", m)
	}
	r.Results = append(r.Results, PromoteResult{Way: StockWay, Inodes: 2000, Round: 1, Write: 1900})
	var text, plot bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "mfsmaster -a") || !strings.Contains(text.String(), "40.0") {
		t.Errorf("report:\n%s", &text)
	}
	if err := r.WriteSVG(&plot); err != nil {
		t.Fatal(err)
	}
	circles := 0
	for dec := xml.NewDecoder(&plot); ; {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != len(r.Results) {
		t.Errorf("%d dots for %d results", circles, len(r.Results))
	}
}

func TestPromoteConfig(t *testing.T) {
	ok := PromoteConfig{Program: []string{"mfsstandby"}}
	if err := ok.Validate(); err != nil || len(ok.Inodes) != 3 || ok.Rounds != 1 {
		t.Errorf("defaults: %v, %+v", err, ok)
	}
	for _, c := range []PromoteConfig{
		{}, {Program: ok.Program, Inodes: []int{10}}, {Program: ok.Program, Rate: -1}, {Program: ok.Program, Rounds: -1}, {Program: ok.Program, Cache: 1},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if got := newPlainTree(DefaultBase, 1000).version; got != meta.Version(DefaultBase.Version) {
		t.Errorf("the first entry is %d", got)
	}
}
