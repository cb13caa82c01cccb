package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Data flows one way, and so do imports.
func TestImportsGoOneWay(t *testing.T) {
	const module = "mfsstandby/"
	for _, rule := range []struct {
		pkg    string
		forbid []string // prefixes
	}{
		{"changelog/meta", []string{module, "github.com/nats-io", "github.com/dgraph-io"}},
		{"changelog", []string{module + "replicator", module + "standby", module + "bench", "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"replicator/wire", []string{module + "standby", module + "replicator/tap", "github.com/nats-io", "github.com/dgraph-io"}},
		{"replicator/fence", []string{module + "standby", "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"replicator/lease", []string{module, "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"standby/failover", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/web"}},
		{"replicator/events", []string{module, "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"replicator/tap", []string{module + "standby", module + "replicator/stream", "github.com/nats-io", "github.com/dgraph-io"}},
		{"replicator/stream", []string{module + "standby", module + "replicator/tap", "github.com/dgraph-io"}},
		{"replicator/archive", []string{module + "standby", module + "replicator/tap", "github.com/dgraph-io"}},
		{"replicator", []string{module + "standby", module + "bench", "github.com/dgraph-io"}},
		{"standby/image", []string{module + "replicator", module + "standby/apply", "github.com/nats-io"}},
		{"standby/metafile", []string{module + "replicator", module + "standby/image", "github.com/nats-io", "github.com/dgraph-io"}},
		{"standby/apply", []string{module + "replicator", module + "standby/metafile", "github.com/nats-io"}},
		{"standby/charts", []string{module, "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"standby/exports", []string{module + "standby", module + "replicator/tap", module + "replicator/stream", "github.com/nats-io", "github.com/dgraph-io"}},
		{"standby/server", []string{module + "bench", module + "standby/control", module + "replicator/tap", module + "replicator/stream", "github.com/nats-io"}},
		{"standby/role", []string{module + "standby", module + "replicator", "github.com/nats-io", "github.com/dgraph-io", "net"}},
		{"standby/promote", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/web"}},
		{"standby/floating", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/web"}},
		{"standby/locate", []string{module + "standby", module + "replicator/tap", module + "replicator/stream", "github.com/nats-io", "github.com/dgraph-io"}},
		{"standby", []string{module + "bench", module + "standby/control", module + "standby/web"}},
		{"standby/upstream", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/web", module + "standby/leader", module + "standby/promote"}},
		{"standby/history", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/promote", module + "standby/web"}},
		{"standby/web", []string{module + "bench", module + "standby/server"}},
		{"standby/leader", []string{module + "bench", module + "standby/server", module + "standby/control", module + "standby/apply", module + "standby/metafile", module + "replicator/tap", module + "replicator/stream", "github.com/nats-io"}},
	} {
		out, err := exec.Command("go", "list", "-deps", module+rule.pkg).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", rule.pkg, err)
		}
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			for _, bad := range rule.forbid {
				if dep != module+rule.pkg && (dep == bad || strings.HasPrefix(dep, strings.TrimSuffix(bad, "/")+"/")) {
					t.Errorf("%s imports %s", rule.pkg, dep)
				}
			}
		}
	}
}
