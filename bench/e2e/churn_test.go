package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// churnVariable holds the order of a process that does one thing over and over:
// a kind of work and a directory, with a colon between.
const churnVariable = "E2E_CHURN"

// churns are the kinds of work; each call is one round in a directory.
var churns = map[string]func(dir string, round int) error{
	// files that are made and deleted: two entries
	"files": func(dir string, round int) error {
		path := filepath.Join(dir, fmt.Sprintf("f%d", round%1000))
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		unix.Close(fd)
		return unix.Unlink(path)
	},
	// an attribute that is replaced: one entry of some 6,000 bytes, as each byte is escaped
	"attributes": func(dir string, round int) error {
		return unix.Setxattr(dir, "user.churn", bytes.Repeat([]byte{byte(round % 32)}, 2000), 0)
	},
}

// churnMain churns until stdin ends and exits, if this process was started for
// that.
func churnMain() {
	kind, dir, ok := bytes.Cut([]byte(os.Getenv(churnVariable)), []byte(":"))
	if !ok {
		return
	}
	work := churns[string(kind)]
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for round := 0; ; round++ {
		select {
		case <-ended:
			os.Exit(0)
		default:
		}
		if err := work(string(dir), round); err != nil {
			fmt.Fprintf(os.Stderr, "%s in %s: %v\n", kind, dir, err)
			os.Exit(1)
		}
	}
}

// churn lets processes work in directories of their own below a mount. end stops
// them and waits; the test fails if one could not go on.
func churn(t *testing.T, c *Cluster, kind, mount string, processes int) (end func()) {
	t.Helper()
	var ends []func()
	for i := range processes {
		dir := filepath.Join(mount, fmt.Sprintf("%s%d", kind, i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), churnVariable+"="+kind+":"+dir)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Run(fmt.Sprintf("churn%d", i), cmd)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, func() {
			stdin.Close()
			select {
			case <-p.done:
			case <-time.After(startLimit):
				t.Errorf("%s does not end", p.Name)
				p.Kill()
			}
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}
