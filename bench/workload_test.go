package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func generate(t *testing.T, o Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Generate(&out, o); err != nil {
		t.Fatalf("Generate(%+v): %v", o, err)
	}
	return out.String()
}

// The golden file is what a 3.0.117 master stored that was started on
// "MFSM NEW" and stopped at once.
func TestFreshMetadataIsWhatAMasterWrites(t *testing.T) {
	want, err := os.ReadFile("testdata/fresh-3.0.117.mfs")
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	at := bytes.Index(want, []byte("NODE 1.4")) + 16 + 8 + 18
	base := Base{Version: be.Uint64(want[8:]), MetaID: be.Uint64(want[16:]), Time: be.Uint32(want[at:])}
	var got bytes.Buffer
	if err := FreshMetadata(&got, base); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("image differs from the master's:\ngot  %x\nwant %x", got.Bytes(), want)
	}
}

func TestGenerateIsDeterministic(t *testing.T) {
	for _, mix := range Mixes() {
		o := Options{Seed: 7, Entries: 5000, Mix: mix}
		first := generate(t, o)
		if generate(t, o) != first {
			t.Errorf("mix %s: two runs with seed 7 differ", mix)
		}
		o.Seed = 8
		if generate(t, o) == first {
			t.Errorf("mix %s: seeds 7 and 8 give the same changelog", mix)
		}
	}
}

func TestGenerateNumbersEveryLine(t *testing.T) {
	for _, mix := range Mixes() {
		o := Options{Entries: 20_000, Mix: mix, Base: Base{Version: 41, MetaID: 1, Time: 1000}}
		text := generate(t, o)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != o.Entries {
			t.Fatalf("mix %s: %d lines, want %d", mix, len(lines), o.Entries)
		}
		last := uint32(0)
		for i, line := range lines {
			var version uint64
			var ts uint32
			if _, err := fmt.Sscanf(line, "%d: %d|", &version, &ts); err != nil {
				t.Fatalf("mix %s: line %q: %v", mix, line, err)
			}
			if version != 41+uint64(i) || ts < last {
				t.Fatalf("mix %s: line %q follows version %d, time %d", mix, line, 40+i, last)
			}
			last = ts
		}
	}
}

// TestMixesHold what they are for; that a master accepts the whole of each is
// tested by package e2e.
func TestMixesHold(t *testing.T) {
	want := map[Mix]string{
		Create:   "CREATE ACQUIRE WRITE LENGTH UNLOCK RELEASE SYMLINK LINK",
		Mixed:    "MOVE ATTR AMTIME UNLINK SETXATTR SETACL FLOCK POSIXLOCK QUOTA TRUNC APPEND SNAPSHOT EMPTYTRASH FREEINODES CHUNKDEL SETSCLASS SETEATTR SETTRASHTIME PURGE SETPATH",
		Hot:      "WRITE MOVE ATTR ACCESS EMPTYTRASH",
		Snapshot: "SNAPSHOT WRITE UNLINK APPEND FREEINODES",
		Delete:   "UNLINK EMPTYTRASH EMPTYSUSTAINED FREEINODES CHUNKDEL PURGE",
	}
	for mix, ops := range want {
		text := generate(t, Options{Entries: 900_000, Mix: mix})
		for op := range strings.FieldsSeq(ops) {
			if !strings.Contains(text, "|"+op+"(") {
				t.Errorf("mix %s: no %s in 900,000 entries", mix, op)
			}
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		o          Options
	}{
		{"an unknown mix", `unknown mix "moxed"`, Options{Mix: "moxed"}},
		{"less than nothing", "workload of -1 entries", Options{Entries: -1}},
		{"a clock that stands", "rate of -5", Options{Rate: -5}},
		{"version 0", "version 0", Options{Base: Base{MetaID: 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Generate(&bytes.Buffer{}, tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Generate(%+v) = %v, want an error with %q", tc.o, err, tc.want)
			}
		})
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrorsComeOut(t *testing.T) {
	if err := Generate(fullDisk{}, Options{Entries: 10}); !errors.Is(err, errFull) {
		t.Errorf("Generate = %v, want %v", err, errFull)
	}
	if err := FreshMetadata(fullDisk{}, DefaultBase); !errors.Is(err, errFull) {
		t.Errorf("FreshMetadata = %v, want %v", err, errFull)
	}
}

func TestAppendEscaped(t *testing.T) {
	const in, want = "a b,%()\n\x7f\xc3|:/[", "a b%2C%25%28%29%0A%7F%C3|:/["
	if got := string(appendEscaped(nil, in)); got != want {
		t.Fatalf("appendEscaped(%q) = %q, want %q", in, got, want)
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var n counter
		if err := Generate(&n, Options{Entries: 100_000}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(n))
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
