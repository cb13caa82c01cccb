package exports

import (
	"math"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// fewNames knows root and one user.
type fewNames struct{}

func (fewNames) User(name string) (uid, gid uint32, ok bool) {
	switch name {
	case "root", "0":
		return 0, 0, true
	case "bob", "1001":
		return 1001, 100, true
	}
	return 0, 0, false
}

func (fewNames) Group(name string) (uint32, bool) { return 50, name == "staff" }

func parse(t testing.TB, text string) (*List, []string) {
	t.Helper()
	l, warnings, err := Parse(strings.NewReader(text), fewNames{})
	if err != nil {
		t.Fatal(err)
	}
	return l, warnings
}

func TestParse(t *testing.T) {
	base := Export{
		To:    math.MaxUint32,
		Grant: Grant{Flags: changelog.SessionReadOnly, MinGoal: 1, MaxGoal: 9, Groups: math.MaxUint16, MaxTrash: math.MaxUint32, RootUID: 999, RootGID: 999, MapUID: 999, MapGID: 999},
	}
	with := func(f func(*Export)) *Export { e := base; f(&e); return &e }
	for _, tc := range []struct {
		name, line string
		want       *Export // nil: left out
		warnings   int
	}{
		{"all defaults", "* /", &base, 0},
		{"path", "*  //a/b/  rw", with(func(e *Export) { e.Path, e.Flags = "a/b", 0 }), 0},
		{"address", "10.0.0.1 /", with(func(e *Export) { e.From, e.To = 0x0A000001, 0x0A000001 }), 0},
		{"network", "10.1.2.3/8 /", with(func(e *Export) { e.From, e.To = 0x0A000000, 0x0AFFFFFF }), 0},
		{"network of everything", "10.1.2.3/0 /", &base, 0},
		{"network by mask", "10.1.2.3/255.255.0.0 /", with(func(e *Export) { e.From, e.To = 0x0A010000, 0x0A01FFFF }), 0},
		{"range", "10.0.0.1-10.0.0.9 /", with(func(e *Export) { e.From, e.To = 0x0A000001, 0x0A000009 }), 0},
		{"no network", "10.0.0/8 /", nil, 1},
		{"octet too large", "10.0.0.256 /", nil, 1},
		{"too many bits", "10.0.0.0/33 /", nil, 1},
		{"comment", "  # * /", nil, 0},
		{"no path", "*", nil, 1},
		{"trash", "* . rw,alldirs", with(func(e *Export) { e.Meta, e.Flags, e.RootUID, e.RootGID = true, 0, 0, 0 }), 1},
		{"root by name", "* / maproot=root", with(func(e *Export) { e.RootUID, e.RootGID, e.rootMapped = 0, 0, true }), 0},
		{"root by uid", "* / maproot=1001", with(func(e *Export) { e.RootUID, e.RootGID, e.rootMapped = 1001, 100, true }), 0},
		{"root by numbers", "* / maproot=7:8", with(func(e *Export) { e.RootUID, e.RootGID, e.rootMapped = 7, 8, true }), 0},
		{"root with group", "* / maproot=bob:staff", with(func(e *Export) { e.RootUID, e.RootGID, e.rootMapped = 1001, 50, true }), 0},
		{"unknown uid without group", "* / maproot=7", nil, 1},
		{"unknown user", "* / maproot=eve", nil, 1},
		{"all, and so root", "* / mapall=bob", with(func(e *Export) {
			e.MapUID, e.MapGID, e.RootUID, e.RootGID = 1001, 100, 1001, 100
			e.Flags |= changelog.SessionMapAll
		}), 0},
		{"limits", "* / mingoal=2,maxgoal=3,mintrashtime=1h30m,maxtrashtime=1w,umask=0027,minversion=2.1", with(func(e *Export) {
			e.MinGoal, e.MaxGoal, e.MinTrash, e.MaxTrash, e.Umask, e.MinVersion = 2, 3, 5400, 604800, 0o27, 0x020100
			e.Groups, e.hasGoals = 1<<0|1<<2|1<<3, true
		}), 0},
		{"options of 4.x", "* / sclassgroups=0:3,sclassgroups=15,mintrashretention=1h,maxtrashretention=2h", with(func(e *Export) {
			e.Groups, e.MinTrash, e.MaxTrash, e.hasGroups, e.newer = 1<<0|1<<3|1<<15, 3600, 7200, true, true
		}), 0},
		{"no groups", "* / sclassgroups=-", with(func(e *Export) { e.Groups, e.hasGroups, e.newer = 0, true, true }), 0},
		{"group out of range", "* / sclassgroups=16", nil, 1},
		{"list of groups cut off", "* / sclassgroups=1:", nil, 1},
		{"goals crossed", "* / mingoal=3,maxgoal=2", nil, 1},
		{"trash times crossed", "* / maxtrashtime=1m,mintrashtime=61", nil, 1},
		{"units in disorder", "* / mintrashtime=1m1h", nil, 1},
		{"digits without unit", "* / mintrashtime=1m1", nil, 1},
		{"time out of range", "* / mintrashtime=10000w", nil, 1},
		{"no umask", "* / umask=22", nil, 1},
		{"no version", "* / minversion=1.2.3.4", nil, 1},
		{"disabled", "* / disable=chown:setfacl:nothing", with(func(e *Export) {
			e.Disables = changelog.DisableChown | changelog.DisableSetACL
		}), 1},
		{"unknown options", "* / rw, nosuch ,ro=1,admin", with(func(e *Export) { e.Flags = changelog.SessionAdmin }), 2},
		{"password in hex", "* / md5pass=00112233445566778899AABBCCDDEEFF", with(func(e *Export) {
			e.Password = true
			e.Digest = [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF}
		}), 0},
		{"password in half a hex", "* / md5pass=0011", nil, 1},
	} {
		l, warnings := parse(t, tc.line+"\n")
		var got *Export
		if len(l.Exports) > 0 {
			got = &l.Exports[0]
		}
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want || len(warnings) != tc.warnings {
			t.Errorf("%s: %q: got %+v %q, want %+v and %d warnings", tc.name, tc.line, got, warnings, tc.want, tc.warnings)
		}
	}
}

func TestDefaults(t *testing.T) {
	l, _ := parse(t, "DEFAULTS rw,umask=0007\n* /\n")
	if len(l.Exports) != 2 || l.Exports[1].Flags != 0 || l.Exports[1].Umask != 7 {
		t.Errorf("%+v", l.Exports)
	}
}

func TestChoose(t *testing.T) {
	l, _ := parse(t, `
10.0.0.0/24  /         ro,alldirs,maproot=0:0,umask=0001
10.0.0.5     /a        rw,umask=0002
10.0.0.0/24  /a/b      rw,alldirs,umask=0003
10.0.0.0/24  /secret   rw,password=x,umask=0004
10.0.0.0/24  /new      rw,minversion=3.1,umask=0005
10.0.0.0/24  .         rw,umask=0006
`)
	random := [32]byte{1}
	pass, wrong := Passcode(&random, "x"), Passcode(&random, "y")
	version := wire.NewRelease(3, 0, 117)
	for _, tc := range []struct {
		name  string
		req   Request
		umask uint16 // of the line that is right
		want  meta.Status
	}{
		{"root", Request{IP: 0x0A000001, Path: "/"}, 1, meta.OK},
		{"below", Request{IP: 0x0A000001, Path: "/a/x/"}, 1, meta.OK},
		{"writable beats read-only, the later line", Request{IP: 0x0A000005, Path: "a\x00"}, 2, meta.OK},
		{"longest path", Request{IP: 0x0A000005, Path: "/a/b/c"}, 3, meta.OK},
		{"no part of a name", Request{IP: 0x0A000001, Path: "/a/bc"}, 1, meta.OK},
		{"other network", Request{IP: 0x0B000001, Path: "/"}, 0, meta.EACCES},
		{"trash", Request{IP: 0x0A000001, Meta: true}, 6, meta.OK},
		{"password", Request{IP: 0x0A000001, Path: "/secret", Random: &random, Passcode: &pass}, 4, meta.OK},
		{"wrong password", Request{IP: 0x0A000001, Path: "/secret", Random: &random, Passcode: &wrong}, 1, meta.OK},
		{"version too low for one line", Request{IP: 0x0A000001, Path: "/new"}, 1, meta.OK},
	} {
		tc.req.Version = version
		got, st := l.Choose(&tc.req)
		if st != tc.want || st == meta.OK && got.Umask != tc.umask {
			t.Errorf("%s: got line %d, %v; want line %d, %v", tc.name, got.Umask, st, tc.umask, tc.want)
		}
	}

	l, _ = parse(t, "* / password=x\n")
	var zero [32]byte
	for name, tc := range map[string]struct {
		req  Request
		want meta.Status
	}{
		"none":         {Request{}, noPassword},
		"not asked":    {Request{Random: &zero, Passcode: &pass}, noPassword},
		"wrong":        {Request{Random: &random, Passcode: &wrong}, badPassword},
		"right":        {Request{Random: &random, Passcode: &pass}, meta.OK},
		"other path":   {Request{Path: "/x"}, meta.EACCES},
		"only a trash": {Request{Meta: true}, meta.EACCES},
	} {
		if _, st := l.Choose(&tc.req); st != tc.want {
			t.Errorf("%s: %v, want %v", name, st, tc.want)
		}
	}
	if _, st := (*List)(nil).Choose(&Request{}); st != meta.EACCES {
		t.Errorf("no exports: %v", st)
	}
}

// Any text gives exports that grant within bounds, and the same ones again.
func FuzzParse(f *testing.F) {
	f.Add("* / rw,alldirs,maproot=0:0\n10.0.0.0/8 . ro\nDEFAULTS mingoal=2\n")
	f.Add("1.2.3.4-5.6.7.8 /a/b disable=chown:x,minversion=1.2.3,umask=0777,mintrashtime=1w2d3h4m5s\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, _, err := Parse(strings.NewReader(text), fewNames{})
		if err != nil {
			return
		}
		for _, e := range l.Exports {
			if e.MinGoal < 1 || e.MaxGoal > 9 || e.MinGoal > e.MaxGoal || e.MinTrash > e.MaxTrash || e.Umask > 0o777 ||
				strings.HasPrefix(e.Path, "/") || strings.HasSuffix(e.Path, "/") {
				t.Errorf("%q gives %+v", text, e)
			}
			l.Choose(&Request{IP: e.From, Version: e.MinVersion, Meta: e.Meta, Path: e.Path})
		}
		again, _, _ := Parse(strings.NewReader(text), fewNames{})
		if !slices.Equal(again.Exports, l.Exports) || again.Sum() != l.Sum() {
			t.Errorf("%q gives %+v, and then %+v", text, l.Exports, again.Exports)
		}
	})
}
