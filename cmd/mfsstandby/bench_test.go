package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchUsage(t *testing.T) {
	for _, tc := range []struct{ args, why string }{
		{"bench", `unknown command "bench"`},
		{"bench fly", `unknown command "bench fly"`},
		{"bench replay now", `argument "now"`},
		{"bench replay --against mfsd", "only mfsmaster"},
		{"bench replay --mix sour", `"sour" is none of`},
		{"bench replay --stage fly", `unknown stage "fly"`},
		{"bench replay --changelog x", "given together"},
		{"bench replay --rounds -1", "-1 rounds"},
		{"bench lag now", `argument "now"`},
		{"bench lag --primary host --rate 5", "give one of"},
		{"bench lag --rate -5", "rate of -5"},
		{"bench promote --against mfsd", "only mfsmaster"},
		{"bench promote --inodes 5", "5 inodes"},
	} {
		wantFail(t, exitUsage, tc.why, strings.Fields(tc.args)...)
	}
	if out := mustRun(t, "help", "bench", "replay"); !strings.Contains(out, "--against") || strings.Contains(out, "--job") {
		t.Errorf("help of bench replay:\n%s", out)
	}
	wantFail(t, exitFailed, "no such file", "bench", "replay", "--job", filepath.Join(t.TempDir(), "none"))
}
