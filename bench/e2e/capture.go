package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CaptureConfig says what Capture makes.
type CaptureConfig struct {
	Dir     string // gets before.mfs, changelog.mfs, after.mfs, dumps, maybe live.mfs; made
	Scratch string // for the cluster; made, removed on success
	Seed    uint64
	Warmup  int // operations before before.mfs
	Ops     int // operations between the two
	Cluster Config
	Disturb bool // also stop and start chunkservers, change exports and the like
	Stale   bool // with Disturb: repair files to older versions, which a replay of 3.0.117 cannot follow
}

// Capture runs a workload on a cluster and keeps what its master wrote: the
// metadata before and after, each by a clean stop, and every changelog line from
// the one to the other. Replaying these onto before.mfs must give after.mfs; so
// must those from its version on onto live.mfs, which a running master stored.
func Capture(ctx context.Context, cfg CaptureConfig) (report Report, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return Report{}, fmt.Errorf("making the capture's directory: %w", err)
	}
	cfg.Cluster.Dir = cfg.Scratch
	c, err := Start(cfg.Cluster)
	if err != nil {
		return Report{}, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, c.Close())
		}
	}()
	if _, err := (Workload{Seed: cfg.Seed + 1<<32, Ops: cfg.Warmup, NoData: cfg.Cluster.Chunkservers == 0}).Run(ctx, c); err != nil {
		return Report{}, fmt.Errorf("warming up: %w", err)
	}
	if err := c.StopMaster(); err != nil {
		return Report{}, err
	}
	before := filepath.Join(cfg.Dir, "before.mfs")
	if err := copyFile(before, filepath.Join(c.DataDir(), "metadata.mfs")); err != nil {
		return Report{}, err
	}
	if err := c.StartMaster(false); err != nil {
		return Report{}, err
	}
	if err := c.waitChunkservers(cfg.Cluster.Chunkservers); err != nil {
		return Report{}, err
	}
	if report, err = cfg.work(ctx, c); err != nil {
		return report, err
	}
	if err := c.StopMaster(); err != nil {
		return report, err
	}
	closed = true
	if err := c.Close(); err != nil {
		return report, err
	}
	return report, collect(c.DataDir(), cfg.Dir)
}

// work runs the workload, disturbed if asked for.
func (cfg CaptureConfig) work(ctx context.Context, c *Cluster) (Report, error) {
	load := Workload{Seed: cfg.Seed, Ops: cfg.Ops, NoData: cfg.Cluster.Chunkservers == 0, Damaged: cfg.Disturb}
	if !cfg.Disturb {
		return load.Run(ctx, c)
	}
	disturbing, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.disturb(disturbing, cfg) }()
	report, err := load.Run(ctx, c)
	stop()
	return report, errors.Join(err, <-done)
}

// collect copies after.mfs and the changelog since before.mfs, and dumps both.
func collect(data, dir string) error {
	after := filepath.Join(dir, "after.mfs")
	if err := copyFile(after, filepath.Join(data, "metadata.mfs")); err != nil {
		return err
	}
	from, err := ImageVersion(filepath.Join(dir, "before.mfs"))
	if err != nil {
		return err
	}
	to, err := ImageVersion(after)
	if err != nil {
		return err
	}
	text, err := ChangelogBetween(data, from, to)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "changelog.mfs"), text, 0o644); err != nil {
		return fmt.Errorf("keeping the changelog: %w", err)
	}
	names := []string{"before", "after"}
	live, err := keepLive(data, dir, from)
	if err != nil {
		return err
	}
	if live {
		names = append(names, "live")
	}
	for _, name := range names {
		if err := Dump(filepath.Join(dir, name+".mfs"), filepath.Join(dir, name+".dump")); err != nil {
			return err
		}
	}
	return nil
}

// keepLive copies, as live.mfs, the last metadata that the master stored while it
// ran, if that was after version from. Only an hour of its clock brings one.
func keepLive(data, dir string, from uint64) (bool, error) {
	stored := filepath.Join(data, "metadata.mfs.back.1")
	version, err := ImageVersion(stored)
	if errors.Is(err, fs.ErrNotExist) || err == nil && version <= from {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, copyFile(filepath.Join(dir, "live.mfs"), stored)
}

// Dump writes mfsmetadump's text of a metadata file.
func Dump(image, text string) error {
	out, err := os.Create(text)
	if err != nil {
		return fmt.Errorf("creating a dump: %w", err)
	}
	defer out.Close()
	cmd := exec.Command("mfsmetadump", image)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mfsmetadump %s: %w", image, err)
	}
	return nil
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", filepath.Base(from), err)
	}
	return nil
}

// ImageVersion reads the version of a metadata file: the number of the first
// changelog line that it does not hold.
func ImageVersion(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("reading a metadata file: %w", err)
	}
	defer f.Close()
	var head [16]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, fmt.Errorf("%s: reading its header: %w", path, err)
	}
	if string(head[:8]) != "MFSM 2.0" {
		return 0, fmt.Errorf("%s begins with %q, want a metadata file \"MFSM 2.0\"", path, head[:8])
	}
	return binary.BigEndian.Uint64(head[8:]), nil
}

// ChangelogBetween returns the lines from version from up to to-1 out of the
// changelog files of a data directory, and an error if one is missing.
func ChangelogBetween(dir string, from, to uint64) ([]byte, error) {
	files, err := changelogFiles(dir)
	if err != nil {
		return nil, err
	}
	var out []byte
	next := from
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a changelog: %w", err)
		}
		for line := range lines(text) {
			version, err := versionOf(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if version < from || version >= to {
				continue
			}
			if version != next {
				return nil, fmt.Errorf("%s: version %d follows %d: lines are missing", file, version, next-1)
			}
			next++
			out = append(append(out, line...), '\n')
		}
	}
	if next != to {
		return nil, fmt.Errorf("the changelog ends with version %d, but the metadata are at %d: the master lost lines", next-1, to)
	}
	return out, nil
}

// changelogFiles lists the changelogs of a data directory, oldest first.
func changelogFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil {
		return nil, fmt.Errorf("listing changelogs: %w", err)
	}
	number := func(path string) int {
		n, err := strconv.Atoi(strings.Split(filepath.Base(path), ".")[1])
		if err != nil {
			return -1
		}
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return number(b) - number(a) })
	return files, nil
}

// lines yields the lines of a changelog without their ends.
func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(text) {
			if !yield(bytes.TrimSuffix(line, []byte("\n"))) {
				return
			}
		}
	}
}

// opOf returns the operation's name in a changelog line.
func opOf(line []byte) string {
	_, rest, _ := bytes.Cut(line, []byte("|"))
	op, _, _ := bytes.Cut(rest, []byte("("))
	return string(op)
}
