package stock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mfsmaster.cfg")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSettings(t *testing.T) {
	me := fmt.Sprintf("WORKING_USER = #%d\n", os.Getuid())
	for _, tc := range []struct{ name, text, data, clients, metaloggers, why string }{
		{"defaults", me, "/var/lib/mfs", "127.0.0.1:9421", "127.0.0.1:9419", ""},
		{"all", me + "# DATA_PATH = /no\nDATA_PATH=/a\nDATA_PATH = /srv/m \nMATOCL_LISTEN_HOST = 10.0.0.1\nMATOML_LISTEN_PORT= 1234\n", "/srv/m", "10.0.0.1:9421", "127.0.0.1:1234", ""},
		{"relative", me + "DATA_PATH = data\n", "", "", "", "absolute"},
		{"no such user", "WORKING_USER = nobody-has-this-name\n", "", "", "", "WORKING_USER"},
		{"no such group", me + "WORKING_GROUP = nobody-has-this-name\n", "", "", "", "WORKING_GROUP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := ReadSettings(write(t, tc.text))
			if tc.why != "" {
				if err == nil || !strings.Contains(err.Error(), tc.why) {
					t.Fatalf("got %+v, %v; want an error with %q", s, err, tc.why)
				}
				return
			}
			if err != nil || s.Data != tc.data || s.Clients != tc.clients || s.Metaloggers != tc.metaloggers || s.UID != os.Getuid() {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
	if _, err := ReadSettings("/nowhere/mfsmaster.cfg"); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

// The configuration that is made says what was made.
func TestMakePrivate(t *testing.T) {
	p, err := MakePrivate(t.TempDir(), "* / ro\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSettings(p.Config)
	if err != nil || s.Data != p.Data || s.Clients != p.Clients || s.Metaloggers == s.Clients || s.UID != os.Getuid() || s.GID != os.Getgid() {
		t.Errorf("%+v, %v; made %+v", s, err, p)
	}
}

func TestRunning(t *testing.T) {
	data := t.TempDir()
	if pid, err := Running(data); pid != 0 || err != nil {
		t.Errorf("without a lock file: %d, %v", pid, err)
	}
	f, err := os.Create(filepath.Join(data, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if pid, err := Running(data); pid != 0 || err != nil {
		t.Errorf("without a lock: %d, %v", pid, err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil { // its own would not be in the way
		t.Fatal(err)
	}
	if pid, err := Running(data); pid == 0 || err != nil {
		t.Errorf("with a lock: %d, %v", pid, err)
	}
}
