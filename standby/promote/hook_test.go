package promote

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunHook(t *testing.T) {
	for _, tc := range []struct {
		name, command string
		status        int
		error, output string
	}{
		{"succeeds", "echo $WHAT", 0, "", "this"},
		{"fails", "echo one; echo two >&2; exit 7", 7, "exit status 7", "one\ntwo"},
		{"is no command", "exec /nowhere/command", 127, "exit status 127", ""},
		{"is killed", "kill -TERM $$", -1, "signal: terminated", ""},
		{"writes much", "head -c 100000 /dev/zero | tr '\\0' x; echo end", 0, "", strings.Repeat("x", hookOutput-4) + "end"},
		{"leaves something running", "sleep 60 & echo $! >pid", 0, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			h := runHook(t.Context(), "on-promote", tc.command, append(os.Environ(), "WHAT=this"), time.Minute)
			if h.Status != tc.status || h.Error != tc.error || tc.output != "" && h.Output != tc.output {
				t.Errorf("%+v", h)
			}
			if text, err := os.ReadFile("pid"); err == nil {
				syscall.Kill(number(t, text), syscall.SIGKILL)
			}
		})
	}
}

// A hook that does not end is killed, with what it started.
func TestHookThatDoesNotEnd(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	h := runHook(t.Context(), "on-demote", "sleep 1000 & echo $! >"+pid+"; wait", os.Environ(), time.Second)
	if h.Status != -1 || !strings.Contains(h.Error, "did not end within 1s") {
		t.Errorf("%+v", h)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	gone := func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(number(t, text)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	for deadline := time.Now().Add(time.Minute); !gone(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what it started lives on")
		}
	}
}

func number(t *testing.T, text []byte) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
