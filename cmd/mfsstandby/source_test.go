package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"mfsstandby/replicator"
	"mfsstandby/standby/floating"
)

// A master on this host keeps its port even while it is down; one elsewhere, or a
// metalogger's directory, or an address that floats, does not.
func TestMasterOnThisHost(t *testing.T) {
	dirs := map[string]string{}
	for name, file := range map[string]string{"master": "changelog.0.mfs", "metalogger": "changelog_ml.0.mfs"} {
		dirs[name] = t.TempDir()
		if err := os.WriteFile(filepath.Join(dirs[name], file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	floats := &roleFlags{addresses: floating.List{{IP: netip.MustParseAddr("127.0.0.7")}}}
	for _, tc := range []struct {
		name  string
		cfg   replicator.Config
		roles *roleFlags
		want  bool
	}{
		{"a master's directory", replicator.Config{ChangelogDir: dirs["master"]}, &roleFlags{}, true},
		{"a metalogger's directory", replicator.Config{ChangelogDir: dirs["metalogger"]}, &roleFlags{}, false},
		{"this host by name", replicator.Config{Primary: "localhost:9419"}, &roleFlags{}, true},
		{"this host by address", replicator.Config{Primary: "127.0.0.7"}, &roleFlags{}, true},
		{"an address that floats", replicator.Config{Primary: "127.0.0.7:9419"}, floats, false},
		{"another host", replicator.Config{Primary: "192.0.2.1"}, &roleFlags{}, false},
		{"files", replicator.Config{Files: []string{"changelog.0.mfs"}}, &roleFlags{}, false},
	} {
		if got := (&sourceFlags{cfg: tc.cfg}).onThisHost(tc.roles); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
