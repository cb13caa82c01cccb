package tap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// text is the entry that the tests use for a version.
func text(v meta.Version) string {
	return fmt.Sprintf("17954%05d|CREATE(1,f%d,1,438,18,0,0,0):%d", v%100000, v, v+1)
}

// logOf is the file with entries from..to.
func logOf(from, to meta.Version) string {
	var b strings.Builder
	for v := from; v <= to; v++ {
		fmt.Fprintf(&b, "%d: %s\n", v, text(v))
	}
	return b.String()
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func appendTo(t testing.TB, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// take reads entries from..to from a source and checks their text.
func take(t testing.TB, s Source, from, to meta.Version) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for from <= to {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for entry %d (to %d): %v", from, to, err)
		}
		if len(b.Entries) == 0 || b.Received.IsZero() {
			t.Fatalf("batch %+v has no entries or time", b)
		}
		for _, e := range b.Entries {
			if e.Version != from || string(e.Text) != text(from) {
				t.Fatalf("got %d %q, want %d %q", e.Version, e.Text, from, text(from))
			}
			from++
		}
	}
	if from != to+1 {
		t.Fatalf("got entries to %d, want to %d", from-1, to)
	}
}

// takeError reads on until an error comes.
func takeError(t testing.TB, s Source) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, err := s.Next(ctx); errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("no error came")
		} else if err != nil {
			return err
		}
	}
}

// idle checks that a source has nothing to give.
func idle(t testing.TB, s Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if b, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %d entries and %v, want nothing", len(b.Entries), err)
	}
}

func wantText(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want %q", err, want)
	}
}

// appendLine appends an entry as a changelog file has it.
func appendLine(b []byte, e Entry) []byte {
	return fmt.Appendf(b, "%d: %s\n", e.Version, e.Text)
}

// metadataFile is a file with the frame of a metadata file.
func metadataFile(version meta.Version, metaid uint64, body string) string {
	b := []byte("MFSM 2.0")
	for i := 56; i >= 0; i -= 8 {
		b = append(b, byte(uint64(version)>>i))
	}
	for i := 56; i >= 0; i -= 8 {
		b = append(b, byte(metaid>>i))
	}
	return string(b) + body + endMarker
}

// oldMetadataFile is one of format 1.5.
func oldMetadataFile(version meta.Version) string {
	b := binary.BigEndian.AppendUint64([]byte("MFSM 1.5\x00\x00\x00\x01"), uint64(version))
	return string(append(b, "\x00\x00\x00\x03nodes, edges, free, chunks\x00"...)) + string(make([]byte, 16))
}
