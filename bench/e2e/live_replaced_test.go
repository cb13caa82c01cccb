//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/standby/control"
)

// pair is a cluster without clients that two followers follow, over the network
// and from its directory.
type pair struct {
	t    *testing.T
	c    *Cluster
	both []*follower
}

func startPair(t *testing.T) *pair {
	t.Helper()
	c, binary := startLive(t, Config{Dir: t.TempDir()}, true), buildStandby(t)
	p := &pair{t, c, []*follower{
		newFollower(c, binary, "net", "run", "--primary", MasterIP),
		newFollower(c, binary, "dir", "run", "--changelog-dir", c.DataDir()),
	}}
	for _, f := range p.both {
		p.must(f.start())
	}
	return p
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// work makes directories with a name of their own and returns the version of the
// master then.
func (p *pair) work(name string, directories int) uint64 {
	p.t.Helper()
	m, err := p.c.Mount("mnt-"+name, mountIP(0))
	p.must(err)
	for i := range directories {
		p.must(os.Mkdir(filepath.Join(m.Path, fmt.Sprintf("%s%d", name, i)), 0o755))
	}
	p.must(m.Unmount())
	version, err := changelogEnd(p.c.DataDir())
	p.must(err)
	return version
}

func (p *pair) waitImages(v uint64) {
	p.t.Helper()
	for _, f := range p.both {
		p.must(f.waitImage(v))
	}
}

// exact stops the master and compares what it stored with both images.
func (p *pair) exact() {
	p.t.Helper()
	p.must(p.c.StopMaster())
	saved := filepath.Join(p.c.DataDir(), "metadata.mfs")
	version, err := ImageVersion(saved)
	p.must(err)
	p.waitImages(version)
	for _, f := range p.both {
		found, err := f.differences(saved)
		p.must(err)
		for _, d := range found {
			p.t.Error(d)
		}
	}
}

// moveFiles moves everything from one directory to another.
func moveFiles(to, from string) error {
	files, err := os.ReadDir(from)
	for _, f := range files {
		err = errors.Join(err, os.Rename(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())))
	}
	return err
}

// A master that starts with another file system at the same address is not
// followed, and leaves no trace in the stream and the image of the old one.
func TestMasterOfAnotherCluster(t *testing.T) {
	p := startPair(t)
	p.waitImages(p.work("first", 100))
	p.must(p.c.StopMaster())
	version, err := ImageVersion(filepath.Join(p.c.DataDir(), "metadata.mfs"))
	p.must(err)
	p.waitImages(version)
	away := p.c.path("away")
	p.must(errors.Join(os.Mkdir(away, 0o755), moveFiles(away, p.c.DataDir())))
	p.must(os.WriteFile(filepath.Join(p.c.DataDir(), "metadata.mfs"), []byte("MFSM NEW"), 0o644))
	p.must(p.c.StartMaster(false))
	p.work("foreign", 200)
	for _, f := range p.both {
		err := waitFor("the tap to stop", patience, func() bool { return !f.p.Running() })
		text := f.p.LogTail()
		if err != nil || !strings.Contains(text, "has another metaid") {
			t.Fatalf("%s did not end because of another metaid: %v; its log ends with:\n%s", f.name, err, text)
		}
		if out, err := f.command("export", "-o", f.data+"/export.mfs"); err != nil || !strings.Contains(out, fmt.Sprintf("version %d\n", version)) {
			t.Errorf("%s: the image is not left at version %d: %v\n%s", f.name, version, err, out)
		}
	}
	p.must(p.c.StopMaster())
	foreign := p.c.path("foreign")
	p.must(errors.Join(os.Mkdir(foreign, 0o755), moveFiles(foreign, p.c.DataDir()), moveFiles(p.c.DataDir(), away)))
	p.must(p.c.StartMaster(false))
	for _, f := range p.both {
		p.must(f.start())
	}
	p.waitImages(p.work("second", 100))
	p.exact()
}

// A master that is restored from an older metadata file writes other entries
// under numbers that are known already: a new epoch, from a new base image.
func TestMasterRestoredFromOlderDump(t *testing.T) {
	p := startPair(t)
	saved := filepath.Join(p.c.DataDir(), "metadata.mfs")
	p.work("before", 100)
	p.must(errors.Join(p.c.StopMaster(), copyFile(p.c.path("dump.mfs"), saved), p.c.StartMaster(false)))
	p.waitImages(p.work("lost", 300))
	p.must(p.c.StopMaster())
	version, err := ImageVersion(saved)
	p.must(err)
	p.waitImages(version)
	var epochs []uint64
	for _, f := range p.both {
		epochs = append(epochs, status(t, f).Standby.Epoch)
	}
	// The operator keeps what was there, as operators do.
	p.must(os.Rename(saved, filepath.Join(p.c.DataDir(), "metadata.mfs.broken")))
	p.must(errors.Join(copyFile(saved, p.c.path("dump.mfs")), p.c.StartMaster(false)))
	end := p.work("other", 1000)
	if end <= version {
		t.Fatalf("the master is at version %d only, it was at %d", end, version)
	}
	for i, f := range p.both {
		p.must(f.wait("another epoch", func(st control.Status) bool { return st.Standby.Epoch > epochs[i] }))
	}
	p.waitImages(end)
	for _, f := range p.both {
		loud := false
		for _, e := range status(t, f).Tap.Events {
			loud = loud || e.Level > 4 && strings.Contains(e.Text, "a new base image is needed")
		}
		if !loud {
			t.Errorf("%s does not tell of the new base image: %+v", f.name, status(t, f).Tap.Events)
		}
	}
	p.exact()
}
