// Package e2e drives the real MooseFS 3.0.117 daemons: it starts a cluster of
// its own, lets real clients work on it and takes what the master wrote.
//
// Tests use it to compare mfsstandby with the master itself; the command capture
// makes replay fixtures. It needs root (network namespaces, FUSE mounts) and the
// MooseFS packages. Nothing of it runs outside its namespace, and Close takes
// away everything it made, after failures too.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MasterIP is the master's address inside the cluster's namespace, where all
// ports are the usual ones.
const MasterIP = "10.77.0.1"

// Addresses of the master's three listeners.
const (
	MetaloggerAddress  = MasterIP + ":9419"
	ChunkserverAddress = MasterIP + ":9420"
	ClientAddress      = MasterIP + ":9421"
)

const startLimit = 30 * time.Second

// Config of a cluster. The zero value is a master alone.
type Config struct {
	Dir          string            // for everything; made, and left to the caller to remove
	Chunkservers int               // at most 9
	Mounts       int               // read-write mounts, at most 9
	Meta         bool              // a mount of the trash too
	FakeTime     bool              // lets Jump move the master's clock; needs faketime
	Master       map[string]string // more lines for mfsmaster.cfg
	Metadata     string            // metadata.mfs to start from; default: a new file system
	Exports      string            // content of mfsexports.cfg; default: everybody may do everything
}

// Cluster is a running set of MooseFS daemons.
type Cluster struct {
	cfg    Config
	ns     *namespace
	master *Process
	chunk  []*Process
	ports  []int // of the chunkservers
	mounts []*Mount
	meta   *Mount
	extra  []*Process // what Run started
	jumped time.Duration
	modern bool // MooseFS is 4.x
}

var clusters atomic.Uint32

// Start makes a cluster and returns when it serves: the master accepts
// connections, all chunkservers are connected, all mounts are usable.
func Start(cfg Config) (*Cluster, error) {
	c, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.startAll(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// prepare makes the network and the configuration, and starts nothing.
func prepare(cfg Config) (*Cluster, error) {
	if cfg.Chunkservers > 9 || cfg.Mounts > 9 {
		return nil, errors.New("a cluster has at most 9 chunkservers and 9 mounts")
	}
	c := &Cluster{cfg: cfg, chunk: make([]*Process, cfg.Chunkservers), ports: make([]int, cfg.Chunkservers)}
	name := fmt.Sprintf("mfs-e2e-%d-%d", os.Getpid(), clusters.Add(1))
	addresses := []string{MasterIP}
	for i := range 10 {
		addresses = append(addresses, chunkIP(i), mountIP(i))
	}
	ns, err := newNamespace(name, addresses)
	if err != nil {
		return nil, err
	}
	c.ns = ns
	if err := c.writeConfig(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if c.modern, err = isModern(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// isModern tells whether the mfsmaster in PATH is one of 4.x.
func isModern() (bool, error) {
	out, err := exec.Command("mfsmaster", "-v").Output()
	if err != nil {
		return false, fmt.Errorf("asking mfsmaster for its version: %w", err)
	}
	return bytes.HasPrefix(out, []byte("version: 4.")), nil
}

func chunkIP(i int) string { return fmt.Sprintf("10.77.0.%d", 10+i) }
func mountIP(i int) string { return fmt.Sprintf("10.77.0.%d", 20+i) }

func (c *Cluster) startAll() error {
	if err := c.StartMaster(false); err != nil {
		return err
	}
	for i := range c.chunk {
		if err := c.StartChunkserver(i); err != nil {
			return err
		}
	}
	if err := c.waitChunkservers(c.cfg.Chunkservers); err != nil {
		return err
	}
	return c.startMounts()
}

// startMounts mounts what the configuration says.
func (c *Cluster) startMounts() error {
	for i := range c.cfg.Mounts {
		m, err := c.Mount(fmt.Sprintf("mnt%d", i+1), mountIP(i))
		if err != nil {
			return err
		}
		c.mounts = append(c.mounts, m)
	}
	if c.cfg.Meta {
		m, err := c.Mount("meta", mountIP(0), "-m", "-o", "mfsflattrash")
		if err != nil {
			return err
		}
		c.meta = m
	}
	return nil
}

// DataDir holds metadata.mfs, metadata.mfs.back and changelog.N.mfs.
func (c *Cluster) DataDir() string { return c.path("master") }

// Mounts returns the root directories of the read-write mounts.
func (c *Cluster) Mounts() []string {
	var paths []string
	for _, m := range c.mounts {
		paths = append(paths, m.Path)
	}
	return paths
}

// MetaMount returns the root directory of the mount with the trash, "" if there is none.
func (c *Cluster) MetaMount() string {
	if c.meta == nil {
		return ""
	}
	return c.meta.Path
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.cfg.Dir}, parts...)...)
}

const defaultExports = "* / rw,alldirs,admin,maproot=0:0\n* . rw\n"

func (c *Cluster) writeConfig() error {
	for _, dir := range []string{"master", "cfg", "log"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return fmt.Errorf("making the cluster's directories: %w", err)
		}
	}
	metadata := []byte("MFSM NEW")
	if c.cfg.Metadata != "" {
		var err error
		if metadata, err = os.ReadFile(c.cfg.Metadata); err != nil {
			return fmt.Errorf("reading the first metadata: %w", err)
		}
	}
	exports := c.cfg.Exports
	if exports == "" {
		exports = defaultExports
	}
	files := map[string]string{
		"master/metadata.mfs":   string(metadata),
		"cfg/mfsexports.cfg":    exports,
		"cfg/mfstopology.cfg":   "",
		"cfg/mfsmaster.cfg":     c.masterConfig(),
		"cfg/clock":             "+0\n",
		"cfg/mfsmetalogger.cfg": c.metaloggerConfig(),
	}
	for i := range c.chunk {
		hdd := c.path(fmt.Sprintf("hdd%d", i))
		if err := os.MkdirAll(hdd, 0o755); err != nil {
			return fmt.Errorf("making a chunkserver's directory: %w", err)
		}
		files[fmt.Sprintf("cfg/mfshdd%d.cfg", i)] = "~" + hdd + " 64GiB\n"
		c.ports[i] = 9422
		if err := c.writeChunkserverConfig(i); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the cluster's configuration: %w", err)
		}
	}
	return nil
}

// settings writes a MooseFS configuration file, in the order of the names.
func settings(values map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s = %s\n", name, values[name])
	}
	return b.String()
}

func (c *Cluster) masterConfig() string {
	values := map[string]string{
		"DATA_PATH": c.DataDir(), "WORKING_USER": "root", "WORKING_GROUP": "root", "NICE_LEVEL": "0",
		"EXPORTS_FILENAME": c.path("cfg", "mfsexports.cfg"), "TOPOLOGY_FILENAME": c.path("cfg", "mfstopology.cfg"),
		"INODE_REUSE_DELAY":       "300", // the lowest allowed
		"CHANGELOG_SAVE_MODE":     "1",   // mode 0 loses lines while the master ends
		"REPLICATIONS_DELAY_INIT": "5", "CHUNKS_LOOP_MIN_TIME": "60", "SESSION_SUSTAIN_TIME": "60",
		"QUOTA_DEFAULT_GRACE_PERIOD": "30",
	}
	maps.Copy(values, c.cfg.Master)
	return settings(values)
}

func (c *Cluster) writeChunkserverConfig(i int) error {
	text := settings(map[string]string{
		"DATA_PATH": c.path(fmt.Sprintf("cs%d", i)), "WORKING_USER": "root", "WORKING_GROUP": "root", "NICE_LEVEL": "0",
		"HDD_CONF_FILENAME": c.path("cfg", fmt.Sprintf("mfshdd%d.cfg", i)), "HDD_LEAVE_SPACE_DEFAULT": "0",
		"MASTER_HOST": MasterIP, "BIND_HOST": chunkIP(i),
		"CSSERV_LISTEN_HOST": chunkIP(i), "CSSERV_LISTEN_PORT": fmt.Sprint(c.ports[i]),
		"MASTER_RECONNECTION_DELAY": "1", "WORKERS_MAX": "20", "WORKERS_MAX_IDLE": "5",
		"LABELS": string(rune('A' + i%3)), "HDD_TEST_SPEED": "0.1", "HDD_ERROR_TOLERANCE_COUNT": "1000", "HDD_ERROR_TOLERANCE_PERIOD": "10",
	})
	if err := os.WriteFile(c.path("cfg", fmt.Sprintf("mfschunkserver%d.cfg", i)), []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing a chunkserver's configuration: %w", err)
	}
	return nil
}

func (c *Cluster) metaloggerConfig() string {
	return settings(map[string]string{
		"DATA_PATH": c.path("metalogger"), "WORKING_USER": "root", "WORKING_GROUP": "root", "NICE_LEVEL": "0",
		"MASTER_HOST": MasterIP, "META_DOWNLOAD_FREQ": "1", "MASTER_RECONNECTION_DELAY": "1",
	})
}

// Close stops and removes everything, and reports what went wrong with that.
// Directories and logs stay.
func (c *Cluster) Close() error {
	var wait sync.WaitGroup
	errs := make([]error, len(c.mounts)+1)
	for i, m := range append(slices.Clone(c.mounts), c.meta) {
		if m != nil {
			wait.Go(func() { errs[i] = m.Unmount() })
		}
	}
	wait.Wait()
	for _, p := range slices.Concat(c.extra, c.chunk, []*Process{c.master}) {
		if p != nil {
			p.Kill()
		}
	}
	return errors.Join(append(errs, c.ns.close())...)
}
