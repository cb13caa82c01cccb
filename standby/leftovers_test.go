package standby_test

import (
	"os"
	"path/filepath"
	"testing"

	"mfsstandby/standby"
)

// What a killed process was doing is not left behind.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"base-123.tmp", "base.export", "base.export.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "image.new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := standby.New(standby.Config{Dir: dir}, nil); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}
