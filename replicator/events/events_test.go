package events

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func texts(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d:%s", e.Seq, e.Text))
	}
	return strings.Join(all, " ")
}

func TestLogIsBoundedAndInOrder(t *testing.T) {
	l := New(3)
	_, more := l.After(0)
	for i := range 20 {
		l.Add([]string{"tap", "standby"}[i%2], slog.LevelInfo, Gap, fmt.Sprint("e", i))
	}
	select {
	case <-more:
	default:
		t.Error("nobody was told of the events")
	}
	for _, tc := range []struct {
		name string
		got  []Event
		want string
	}{
		{"all", first(l.After(0)), "18:e17 19:e18 20:e19"},
		{"after one", first(l.After(19)), "20:e19"},
		{"after the last", first(l.After(20)), ""},
		{"of the tap", l.Of("tap", 5), "19:e18"},
		{"one of the standby", l.Of("standby", 1), "20:e19"},
	} {
		if got := texts(tc.got); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if n := l.Counts()[Kind{"tap", slog.LevelInfo, Gap}]; n != 10 {
		t.Errorf("%d events of the tap counted, want 10", n)
	}
	var none *Log
	none.Add("tap", slog.LevelInfo, Gap, "nothing happens")
	if e, _ := none.After(0); e != nil || none.Of("tap", 1) != nil || none.Counts() != nil {
		t.Error("no log holds events")
	}
}

func first(e []Event, _ <-chan struct{}) []Event { return e }

// store runs the file until all is written.
func store(t *testing.T, f *File) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestFileOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	for process := range 3 {
		l, f, err := Load(path, 4)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			l.Add("tap", slog.LevelWarn, Lost, fmt.Sprintf("p%d.%d", process, i))
			store(t, f)
		}
		// A crash in the middle of a line.
		damaged, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := damaged.WriteString(`{"seq":99,"te`); err != nil {
			t.Fatal(err)
		}
		damaged.Close()
	}
	l, _, err := Load(path, 4)
	if err != nil {
		t.Fatal(err)
	}
	all := first(l.After(0))
	if got, want := texts(all), "6:p1.2 7:p2.0 8:p2.1 9:p2.2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if e := all[0]; e.Level != slog.LevelWarn || e.Code != Lost || e.Part != "tap" || e.Time.IsZero() {
		t.Errorf("an event came back as %+v", e)
	}
	if len(l.Counts()) != 0 {
		t.Error("events of earlier processes are counted")
	}
}

func TestFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	l, f, err := Load(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		l.Add("tap", slog.LevelInfo, Connected, "again")
		store(t, f)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 20 || n < 10 {
		t.Errorf("the file has %d lines, want 10 to 20", n)
	}
}

func TestFileThatCannotBeWritten(t *testing.T) {
	l, f, err := Load(filepath.Join(t.TempDir(), "none", "events"), 10)
	if err != nil {
		t.Fatal(err)
	}
	l.Add("tap", slog.LevelInfo, Connected, "x")
	if err := f.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-01-02T03:04:05Z","level":"WARN","part":"tap","code":"gap","text":"x"}` + "\n{"))
	f.Add([]byte(`{"seq":18446744073709551615,"level":"INFO+3"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, file, err := Load(path, 5)
		if err != nil {
			t.Fatal(err)
		}
		l.Add("tap", slog.LevelInfo, Gap, "last")
		store(t, file)
		want := texts(first(l.After(0)))
		again, _, err := Load(path, 5)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(first(again.After(0))); got != want && !strings.Contains(want, "\ufffd") {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
