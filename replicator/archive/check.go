package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Span is versions of which each can be restored: from First, that of a base
// image, to Last.
type Span struct {
	Epoch stream.Epoch `json:"epoch"` // in which it begins
	First meta.Version `json:"first"`
	Last  meta.Version `json:"last"`
	Bases int          `json:"base_images"` // within it
}

// Report is what Check found.
type Report struct {
	Dir      string    `json:"dir"`
	MetaID   string    `json:"metaid"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Entries  uint64    `json:"entries"`
	Spans    []Span    `json:"spans"`
	Problems []Problem `json:"problems,omitempty"`
}

// Check reads all files and compares them with their checksums and with one
// another. What is wrong is in the report; the error is that the directory cannot
// be read. tell is told how many bytes were read.
func Check(ctx context.Context, dir string, tell func(done, total int64)) (Report, error) {
	a, err := Open(dir)
	if err != nil {
		return Report{}, err
	}
	rep := Report{Dir: dir, MetaID: fmt.Sprintf("%016X", a.MetaID()), Files: len(a.files) + len(a.bad), Bytes: a.Size(), Problems: a.bad}
	var done int64
	good := &Archive{d: a.d}
	for i := range a.files {
		f := &a.files[i]
		if err := ctx.Err(); err != nil {
			return rep, err
		}
		if err := a.checkFile(ctx, f); err != nil {
			rep.Problems = append(rep.Problems, Problem{f.name(), err.Error()})
		} else {
			good.files = append(good.files, *f)
			rep.Entries += uint64(f.Next - f.First)
		}
		done += f.Stored
		if tell != nil {
			tell(done, rep.Bytes)
		}
	}
	good.spans(&rep)
	return rep, nil
}

func (a *Archive) checkFile(ctx context.Context, f *Info) error {
	if f.Kind == BaseImage {
		return a.d.get(f, io.Discard)
	}
	one := &Archive{d: a.d, files: []Info{*f}}
	r := one.Reader(stream.Position{Version: f.First, Epoch: f.Epoch, Chain: f.Before})
	for {
		if _, err := r.Next(ctx); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// spans follows the entries from each base image, and reports what does not
// follow from any.
func (a *Archive) spans(rep *Report) {
	reached := map[string]bool{}
	for i := range a.files {
		b := &a.files[i]
		if b.Kind != BaseImage {
			continue
		}
		pos := stream.Position{Version: b.First, Epoch: b.Epoch, Chain: b.After}
		if n := len(rep.Spans); n > 0 && slices.ContainsFunc(a.files, func(f Info) bool {
			return f.Kind == Entries && reached[f.name()] && f.Epoch == b.Epoch && (f.First <= b.First && b.First < f.Next || f.Next == b.First && f.After == b.After)
		}) {
			rep.Spans[n-1].Bases++
			continue
		}
		for f := a.find(pos); f != nil; f = a.find(pos) {
			reached[f.name()] = true
			pos = stream.Position{Version: f.Next, Epoch: f.Epoch, Chain: f.After}
		}
		rep.Spans = append(rep.Spans, Span{Epoch: b.Epoch, First: b.First, Last: pos.Version, Bases: 1})
	}
	for i := range a.files {
		if f := &a.files[i]; f.Kind == Entries && !reached[f.name()] {
			rep.Problems = append(rep.Problems, Problem{f.name(), "no base image leads to these entries without a gap: files before it are missing"})
		}
	}
}
