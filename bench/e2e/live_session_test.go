//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A master does not store a session that its client has just closed: when it is
// stopped before it deletes that session it has forgotten it, with what it had
// open, and no entry tells. Whoever follows must not believe that a file is open
// which the master removes: the one without a name at once, the other when it
// loses its name.
func TestSessionForgottenByRestart(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), FakeTime: true}, true)
	binary := buildStandby(t)
	both := []*follower{
		newFollower(c, binary, "net", "run", "--primary", MasterIP),
		newFollower(c, binary, "dir", "run", "--changelog-dir", c.DataDir()),
	}
	must := musts(t)
	for _, f := range both {
		must(f.start())
	}
	m, err := c.Mount("first", mountIP(0))
	must(err)
	must(c.Command("mfssettrashtime", "0", m.Path).Run())
	for _, name := range []string{"unlinked", "kept"} {
		open, err := os.Create(filepath.Join(m.Path, name))
		must(err)
		must(open.Close()) // the client tells minutes later
	}
	must(os.Remove(filepath.Join(m.Path, "unlinked")))
	must(m.Unmount())
	must(errors.Join(c.StopMaster(), c.StartMaster(false)))
	m, err = c.Mount("second", mountIP(1))
	must(err)
	must(os.Remove(filepath.Join(m.Path, "kept")))
	// In 300 seconds every sustained file gets its turn, in 600 every inode
	// number that was freed.
	for range 160 {
		must(c.Jump(4 * time.Second))
		if !pause(t.Context(), 40*time.Millisecond) {
			return
		}
	}
	must(os.Mkdir(filepath.Join(m.Path, "new"), 0o755))
	must(errors.Join(m.Unmount(), c.StopMaster()))
	saved := filepath.Join(c.DataDir(), "metadata.mfs")
	version, err := ImageVersion(saved)
	must(err)
	for _, f := range both {
		must(f.waitImage(version))
		found, err := f.differences(saved)
		must(err)
		for _, d := range found {
			t.Error(d)
		}
	}
}
