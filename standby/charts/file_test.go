package charts

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFileKeepsCharts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charts")
	start := time.Unix(1_800_000_000, 0)
	c := New(start)
	for i := range 20 {
		s := Unknown()
		s[UserCPU], s[ResidentMemory] = uint64(i), uint64(1000+i)
		c.Add(s, start.Add(time.Duration(i)*time.Minute))
	}
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	later := start.Add(25 * time.Minute)
	again := New(later)
	if err := again.Load(path, later); err != nil {
		t.Fatal(err)
	}
	c.Add(Unknown(), later)
	for series := range Count {
		for scope := range steps {
			id := uint32(10*series + scope)
			if want, got := c.AppendData(nil, id, Length), again.AppendData(nil, id, Length); !bytes.Equal(got, want) {
				t.Fatalf("chart %d after a restart: % x..., want % x...", id, got[:48], want[:48])
			}
		}
	}
	if err := again.Save(path); err != nil { // over the old file
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + ".new*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	before := New(start.Add(-time.Hour))
	if err := before.Load(path, start.Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, want := before.AppendData(nil, 0, Length), New(start.Add(-time.Hour)).AppendData(nil, 0, Length); !bytes.Equal(got, want) {
		t.Error("values of the future were taken")
	}
}

// A file that was cut short or damaged anywhere is refused and changes nothing.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charts")
	now := time.Unix(1_800_000_000, 0)
	if err := New(now).Load(path, now); err != nil {
		t.Fatalf("without a file: %v", err)
	}
	c := New(now)
	s := Unknown()
	s[UserCPU] = 5
	c.Add(s, now)
	whole := c.encode()
	for name, b := range map[string][]byte{
		"empty": nil, "head only": whole[:fileHead], "torn": whole[:len(whole)/2], "one byte short": whole[:len(whole)-1],
		"longer": append(bytes.Clone(whole), 0), "other kind": append([]byte("XXXXXXXX"), whole[8:]...),
		"a bit": func() []byte { b := bytes.Clone(whole); b[len(b)-3] ^= 4; return b }(),
	} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		fresh := New(now)
		if err := fresh.Load(path, now); err == nil {
			t.Errorf("%s: taken", name)
		}
		if got, want := fresh.AppendData(nil, 0, 10), New(now).AppendData(nil, 0, 10); !bytes.Equal(got, want) {
			t.Errorf("%s: changed the charts", name)
		}
	}
}

func FuzzFile(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(New(now).encode())
	f.Add([]byte(fileKind))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(now)
		if c.decode(b, now) == nil && !bytes.Equal(c.encode()[:len(fileKind)], b[:len(fileKind)]) {
			t.Error("taken, but of another kind")
		}
	})
}
