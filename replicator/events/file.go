package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// File keeps a Log on disk, one JSON object a line, so that a person sees
// after a restart what was before. It is not synced: what a loss of power
// takes from it is in no one's way.
type File struct {
	path  string
	log   *Log
	lines int    // in the file
	seen  uint64 // Seq of the last event in it
}

// maxSeq is what JavaScript counts to.
const maxSeq = 1 << 53

// maxLine is the longest line that is read; longer texts are cut.
const maxLine = 64 << 10

// Load returns a Log that begins with the events in the file at path, if there
// is one. Lines that are damaged are left out.
func Load(path string, keep int) (*Log, *File, error) {
	l := New(keep)
	f := &File{path: path, log: l}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range parse(text) {
		if e.Seq < l.next {
			continue
		}
		l.append(e)
		l.next, f.seen = e.Seq+1, e.Seq
	}
	f.lines = 2 * keep // so that it is written anew: its end may be half a line
	return l, f, nil
}

// parse reads lines of JSON.
func parse(text []byte) (events []Event) {
	for line := range bytes.Lines(text) {
		var e Event
		if len(line) <= maxLine && json.Unmarshal(line, &e) == nil && e.Seq != 0 && e.Seq < maxSeq {
			events = append(events, e)
		}
	}
	return events
}

// Run writes the events that are added until ctx ends, and those that were
// added before. An error of the disk ends it; the Log goes on without.
func (f *File) Run(ctx context.Context) error {
	for {
		events, more := f.log.After(f.seen)
		if err := f.write(events); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// write appends events, or writes the file anew when it has become long.
func (f *File) write(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	f.seen = events[len(events)-1].Seq
	if f.lines+len(events) > 2*f.log.keep {
		all, _ := f.log.After(0)
		all = slices.DeleteFunc(all, func(e Event) bool { return e.Seq > f.seen })
		f.lines = len(all)
		return f.put(f.path+".new", os.O_TRUNC, all, func() error { return os.Rename(f.path+".new", f.path) })
	}
	f.lines += len(events)
	return f.put(f.path, os.O_APPEND, events, func() error { return nil })
}

func (f *File) put(path string, how int, events []Event, then func() error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	for _, e := range events {
		e.Text = e.Text[:min(len(e.Text), maxLine/8)] // a byte may become six
		if err := enc.Encode(e); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	if err := errors.Join(w.Flush(), file.Close()); err != nil {
		return err
	}
	return then()
}
