package mastercfg

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog"
)

func TestRules(t *testing.T) {
	def := changelog.DefaultRules
	with := func(f func(*changelog.Rules)) changelog.Rules {
		r := def
		f(&r)
		return r
	}
	for _, tc := range []struct {
		name, text string
		want       changelog.Rules
		warnings   int
	}{
		{"nothing set", "# ATIME_MODE = 4\n\nDATA_PATH = /var/lib/mfs\n", def, 0},
		{"all set", "ATIME_MODE=1\n MAX_ALLOWED_HARD_LINKS = 100\t\nINODE_REUSE_DELAY = 0x200 # hex\nSESSION_SUSTAIN_TIME = 01000\n",
			changelog.Rules{MaxHardLinks: 100, Atime: changelog.AtimeFiles, InodeReuse: 512, SessionSustain: 512}, 0},
		{"the last line counts", "ATIME_MODE = 1\nATIME_MODE = 4\n", with(func(r *changelog.Rules) { r.Atime = changelog.AtimeNever }), 0},
		{"out of bounds", "ATIME_MODE = 9\nMAX_ALLOWED_HARD_LINKS = 2\nINODE_REUSE_DELAY = 9999999\nSESSION_SUSTAIN_TIME = x\n",
			changelog.Rules{MaxHardLinks: 8, Atime: changelog.AtimeAlways, InodeReuse: 3000000, SessionSustain: 60}, 4},
		{"no option", "ATIME_MODE 4\n= 3\nATIME MODE = 4\n", def, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, warnings, err := Parse(strings.NewReader(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			got, more := v.Rules()
			if got != tc.want {
				t.Errorf("%q: rules %+v, want %+v", tc.text, got, tc.want)
			}
			if warnings = append(warnings, more...); len(warnings) != tc.warnings {
				t.Errorf("%q: warnings %q, want %d", tc.text, warnings, tc.warnings)
			}
		})
	}
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mfsmaster.cfg")
	f, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil || *f.Rules() != changelog.DefaultRules {
		t.Fatalf("without a file: %+v, %v", f.Rules(), err)
	}
	if err := os.WriteFile(path, []byte("ATIME_MODE = 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err != nil || f.Rules().Atime != changelog.AtimeNever {
		t.Fatalf("with a file: %+v, %v", f.Rules(), err)
	}
	// What cannot be read changes nothing.
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || f.Rules().Atime != changelog.AtimeNever {
		t.Fatalf("with a file that is none: %+v, %v", f.Rules(), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ATIME_MODE = 1\n#x\nA=0x\n")
	f.Fuzz(func(t *testing.T, text string) {
		v, _, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		r, _ := v.Rules()
		if r.Atime > changelog.AtimeNever || r.MaxHardLinks < 8 || r.MaxHardLinks > 65000 || r.SessionSustain < 60 {
			t.Fatalf("%q gives %+v", text, r)
		}
	})
}
