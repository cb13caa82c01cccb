package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Files of a real master: what it saved before and after a changelog.
const (
	fixtures     = "../../standby/metafile/testdata/3.0.117-a/"
	changelogGz  = "../../changelog/testdata/3.0.117-a.changelog.mfs.gz"
	firstVersion = 924
	lastVersion  = 32837
)

// fixture copies a file of testdata, unpacked, into dir.
func fixture(t *testing.T, dir, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		zr, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if b, err = io.ReadAll(zr); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), ".gz"))
	if err := os.WriteFile(out, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// cli runs a command line.
func cli(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return cliContext(t.Context(), args...)
}

func cliContext(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

// mustRun runs a command line that must succeed and returns what it printed.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := cli(t, args...)
	if status != 0 {
		t.Fatalf("mfsstandby %s: exit status %d\n%s%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

// wantFail runs a command line that must fail, and say why.
func wantFail(t *testing.T, status int, why string, args ...string) {
	t.Helper()
	got, out, errs := cli(t, args...)
	if got != status || !strings.Contains(errs, why) {
		t.Errorf("mfsstandby %s: exit status %d, want %d with %q; printed:\n%s%s", strings.Join(args, " "), got, status, why, out, errs)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, why string }{
		{"", "a command is missing"},
		{"frobnicate", `unknown command "frobnicate"`},
		{"help frobnicate", `unknown command "frobnicate"`},
		{"status --frob", "unknown flag: --frob"},
		{"status now", `argument "now" is not understood`},
		{"import", "takes one metadata file"},
		{"export", "needs -o FILE"},
		{"dump a b", "at most one"},
		{"verify", "one metadata file or --primary"},
		{"verify a --primary b", "one metadata file or --primary"},
		{"replay", "takes changelog files"},
		{"restore", "or -m METADATA and -o OUT"},
		{"sample", "needs --dir"},
		{"sample --dir x --rate -1", "rate of -1"},
		{"standby", "needs --nats URL"},
		{"standby --nats nats://a --listen-nats :1", "embedded server"},
		{"standby --listen-nats :1 --nats-nkey f", "need --nats URL"},
		{"standby --listen-nats :1 --tls-cert f", "need each other"},
		{"standby --listen-nats :1 --nats-user f", "need each other"},
		{"standby --listen-nats :1 --cache 1M", "too small"},
		{"standby --listen-nats :1 --cache much", "is no size"},
		{"standby --listen-nats :1 --sync never", "is none of always, interval"},
		{"standby --listen-nats :1 --metaid xyz", "is no cluster id"},
		{"standby --listen-nats :1 --log-level loud", "is none of debug, info, warn, error"},
		{"standby --listen-nats :1 --commit-every 0s", "give a time above 0"},
		{"standby --listen-nats :1 --failover --promote-on-address 192.0.2.10", "--failover and --promote-on-address"},
		{"run --primary 192.0.2.1 --failover --promote-on-address 192.0.2.10", "--failover and --promote-on-address"},
	} {
		wantFail(t, exitUsage, tc.why, strings.Fields(tc.args)...)
	}
}

func TestHelpShowsFlagsAndExamples(t *testing.T) {
	overview := mustRun(t, "help")
	for _, cmd := range commands() {
		if !strings.Contains(overview, "  "+cmd.name+" ") {
			t.Errorf("help does not list %s", cmd.name)
		}
		text := mustRun(t, cmd.name, "--help")
		if !strings.Contains(text, "Usage: mfsstandby "+cmd.name) || !strings.Contains(text, "Examples:\n  mfsstandby "+cmd.name) {
			t.Errorf("%s --help has no usage or no example:\n%s", cmd.name, text)
		}
		if strings.Contains(text, "pprof") {
			t.Errorf("%s --help shows a hidden flag", cmd.name)
		}
	}
	if out := mustRun(t, "version"); !strings.Contains(out, "4.59.2") {
		t.Errorf("version prints %q", out)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0B", "1023": "1023B", "1024": "1KiB", "1K": "1KiB", "1kb": "1KiB", "8GiB": "8GiB", "1536M": "1.5GiB", "2T": "2TiB",
	} {
		var s size
		if err := s.Set(text); err != nil || s.String() != want {
			t.Errorf("size %q is %v, %v; want %s", text, &s, err, want)
		}
		var again size
		if err := again.Set(want); err == nil && want != "1.5GiB" && again != s {
			t.Errorf("size %q read again is %d, want %d", want, again, s)
		}
	}
	for _, text := range []string{"", "-1", "1.5G", "G", "9999999999G", "1X"} {
		if err := new(size).Set(text); err == nil {
			t.Errorf("size %q was accepted", text)
		}
	}
}

func TestConfigFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mfsstandby.cfg")
	for _, tc := range []struct{ name, text, why string }{
		{"unknown key", "DATA = " + dir + "\n\n# c\nPRIMARI = x\n", "mfsstandby.cfg:4: unknown key PRIMARI"},
		{"no value", "DATA\n", `mfsstandby.cfg:1: "DATA" is not of the form`},
		{"twice", "DATA = a\nDATA = b\n", "mfsstandby.cfg:2: DATA is set already in line 1"},
		{"bad value", "LISTEN_NATS = x:1 # c\nCACHE = lots\n", `mfsstandby.cfg:2: CACHE: "lots" is no size`},
		{"lower case", "data = a\n", "mfsstandby.cfg:1: unknown key data"},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		wantFail(t, exitUsage, tc.why, "standby", "--config", path)
	}
	wantFail(t, exitUsage, "no such file", "standby", "--config", filepath.Join(dir, "none.cfg"))

	// Keys of other commands are passed over, flags win.
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	text := "# sample\nDATA = " + a + "  # where\nRATE=17\nLOG_LEVEL = debug\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	before := fixture(t, dir, fixtures+"before.mfs")
	mustRun(t, "import", before, "--config", path)
	mustRun(t, "import", before, "--config", path, "--data", b)
	for _, data := range []string{a, b} {
		if _, err := os.Stat(filepath.Join(data, "image")); err != nil {
			t.Error(err)
		}
	}
}

// The example file must be right once its comment signs are taken away.
func TestExampleConfigIsRight(t *testing.T) {
	text, err := os.ReadFile("etc/mfsstandby.cfg")
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^# ([A-Z_]+ = .*)$`)
	path := filepath.Join(t.TempDir(), "all.cfg")
	if err := os.WriteFile(path, setting.ReplaceAll(text, []byte("$1")), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, _ := find("run")
	f := flagSet(cmd)
	cmd.setup(f)
	c, err := readConfig(path, f)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := c.read()
	if err != nil || len(settings) < 10 {
		t.Fatalf("%d settings, %v; want them all", len(settings), err)
	}
	for _, s := range settings {
		flag := f.Lookup(s.flag)
		if value := flag.DefValue; value != "" && flag.Value.String() != value {
			t.Errorf("%s:%d: %s is %q, but its default %q", path, s.line, key(s.flag), s.value, value)
		}
	}
}

func TestReloadTellsWhatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mfsstandby.cfg")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("DATA = /a\nLOG_LEVEL = warn\n")
	cmd, _ := find("standby")
	f := flagSet(cmd)
	cmd.setup(f)
	if err := f.Parse([]string{"--cache", "64M"}); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path, f)
	if err != nil {
		t.Fatal(err)
	}
	write("DATA = /b\nCACHE = 128M\nCOMMIT_EVERY = 1s\n")
	changed, restart, err := c.reload([]string{"log-level"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(changed, " "); got != "LOG_LEVEL" {
		t.Errorf("changed: %s, want LOG_LEVEL, back to its default", got)
	}
	if got := strings.Join(restart, " "); got != "DATA" {
		t.Errorf("needs a restart: %s, want DATA only: CACHE is set by a flag, COMMIT_EVERY is as it was", got)
	}
	for flag, want := range map[string]string{"log-level": "info", "data": "/a", "cache": "64MiB"} {
		if got := f.Lookup(flag).Value.String(); got != want {
			t.Errorf("%s is %s now, want %s", flag, got, want)
		}
	}
	write("LOG_LEVEL = loud\n")
	if _, _, err := c.reload([]string{"log-level"}); err == nil || !strings.Contains(err.Error(), ":1: LOG_LEVEL") {
		t.Errorf("a bad value was accepted: %v", err)
	}
}

// A configuration file is refused, or each of its settings is of a known flag.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"DATA = /a # c\n\nRATE=1\n", "DATA\n", "= x\n", "DATA=a\nDATA=b", "CACHE = \xff\r\n", "#"} {
		f.Add(text)
	}
	known := knownKeys()
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := parseConfig("f.cfg", strings.NewReader(text))
		if err != nil {
			if settings != nil || !strings.Contains(err.Error(), "f.cfg") {
				t.Fatalf("%q: refused with %d settings: %v", text, len(settings), err)
			}
			return
		}
		for _, s := range settings {
			if known[key(s.flag)] != s.flag || strings.ContainsAny(s.value, "#\n") {
				t.Fatalf("%q gave flag %q value %q", text, s.flag, s.value)
			}
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, text := range []string{"1", "1K", "8GiB", "9223372036854775807", "1.5G", "-1", "tb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s size
		if err := s.Set(text); err == nil && s < 0 {
			t.Fatalf("%q became %d", text, s)
		}
	})
}
