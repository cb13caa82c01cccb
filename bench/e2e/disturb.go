package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// disturber does to a cluster, while a workload runs, what operators and broken
// machines do.
type disturber struct {
	c       *Cluster
	rng     *rand.Rand
	exports int
	stale   bool
}

// disturb does one thing after the other until the context ends, then puts all
// chunkservers back to work.
func (c *Cluster) disturb(ctx context.Context, cfg CaptureConfig) error {
	d := &disturber{c: c, rng: rand.New(rand.NewPCG(cfg.Seed, 0xD157)), stale: cfg.Stale}
	for pause(ctx, time.Duration(500+d.rng.IntN(1500))*time.Millisecond) {
		if err := d.step(ctx); err != nil {
			return fmt.Errorf("disturbing the cluster: %w", err)
		}
	}
	for i := range c.chunk {
		if !c.ChunkserverRunning(i) {
			if err := c.StartChunkserver(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits, and tells whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// events that can happen, evenly often.
var events = []struct {
	servers bool // needs more than one chunkserver
	clock   bool // needs Config.FakeTime
	stale   bool // needs CaptureConfig.Stale
	run     func(*disturber, context.Context) error
}{
	{servers: true, run: (*disturber).bounceChunkserver},
	{servers: true, run: (*disturber).foreignChunk},
	{servers: true, run: (*disturber).moveChunkserver},
	{servers: true, run: (*disturber).forgetChunkserver},
	{servers: true, run: (*disturber).renameChunkserver},
	{servers: true, run: (*disturber).loseChunks},
	{servers: true, stale: true, run: (*disturber).staleChunks},
	{run: (*disturber).changeExports},
	{clock: true, run: (*disturber).jump},
	{clock: true, run: (*disturber).fastClock},
	{clock: true, run: (*disturber).fastClock},
	{clock: true, run: (*disturber).fastClock},
}

func (d *disturber) step(ctx context.Context) error {
	e := events[d.rng.IntN(len(events))]
	if e.servers && len(d.c.chunk) < 2 || e.clock && !d.c.cfg.FakeTime || e.stale && !d.stale {
		return nil
	}
	return e.run(d, ctx)
}

// jump moves the clock to a minute or so before a full hour, within the next day.
// What is due in between the master leaves out.
func (d *disturber) jump(context.Context) error {
	now := time.Now().Add(d.c.jumped)
	hour := now.Truncate(time.Hour).Add(time.Duration(1+d.rng.IntN(20)) * time.Hour)
	return d.c.Jump(max(0, hour.Add(-time.Duration(30+d.rng.IntN(60))*time.Second).Sub(now)))
}

// fastClock lets minutes pass in seconds. A master takes up to five seconds for
// its own delay and catches up with every timer, so that trash and free inodes
// get their turn and changelogs rotate.
func (d *disturber) fastClock(ctx context.Context) error {
	for range 80 {
		if err := d.c.Jump(4 * time.Second); err != nil {
			return err
		}
		if !pause(ctx, 40*time.Millisecond) {
			break
		}
	}
	return nil
}

// bounceChunkserver takes a chunkserver away for a moment, while clients write.
func (d *disturber) bounceChunkserver(ctx context.Context) error {
	i := d.rng.IntN(len(d.c.chunk))
	if d.rng.IntN(2) == 0 {
		d.c.KillChunkserver(i)
	} else if err := d.c.StopChunkserver(i); err != nil {
		return err
	}
	pause(ctx, time.Duration(d.rng.IntN(2000))*time.Millisecond)
	if err := d.c.StartChunkserver(i); err != nil {
		return err
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}

// foreignChunk shows the master a chunk that it has never heard of: a copy of an
// existing one under another number.
func (d *disturber) foreignChunk(context.Context) error {
	i := d.rng.IntN(len(d.c.chunk))
	files, err := filepath.Glob(filepath.Join(d.c.ChunkDir(i), "*", "chunk_*.mfs"))
	if err != nil || len(files) == 0 {
		return err
	}
	if err := d.c.StopChunkserver(i); err != nil {
		return err
	}
	if err := copyChunk(files[d.rng.IntN(len(files))], 0x200000+d.rng.Uint64N(1<<20)); err != nil {
		return err
	}
	if err := d.c.StartChunkserver(i); err != nil {
		return err
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}

// copyChunk copies chunk_ID_VERSION.mfs under another id. The file's header is a
// signature of 8 bytes, then id:64 version:32.
func copyChunk(path string, id uint64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // deleted meanwhile
	}
	var old uint64
	var version uint32
	if _, err := fmt.Sscanf(filepath.Base(path), "chunk_%16X_%8X.mfs", &old, &version); err != nil {
		return fmt.Errorf("chunk file %s: %w", path, err)
	}
	for i := range 8 {
		data[8+i] = byte(id >> (56 - 8*i))
	}
	name := fmt.Sprintf("chunk_%016X_%08X.mfs", id, version)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), data, 0o640); err != nil {
		return fmt.Errorf("making a foreign chunk: %w", err)
	}
	return nil
}

// changeExports gives the clients other rights for their next session, and to
// those that reconnect.
func (d *disturber) changeExports(context.Context) error {
	d.exports++
	return d.c.ReloadMaster(fmt.Sprintf("* / rw,alldirs,admin,maproot=0:0,maxtrashtime=%d\n* . rw\n", 4_000_000+d.exports))
}

// moveChunkserver lets a chunkserver come back with another port.
func (d *disturber) moveChunkserver(context.Context) error {
	i := d.rng.IntN(len(d.c.chunk))
	if err := d.c.StopChunkserver(i); err != nil {
		return err
	}
	d.c.ports[i]++
	if err := d.c.writeChunkserverConfig(i); err != nil {
		return err
	}
	if err := d.c.StartChunkserver(i); err != nil {
		return err
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}

// forgetChunkserver takes a chunkserver out of the master's list while it is
// away; it comes back as a new one.
func (d *disturber) forgetChunkserver(context.Context) error {
	i := d.rng.IntN(len(d.c.chunk))
	if err := d.c.StopChunkserver(i); err != nil {
		return err
	}
	// The master refuses it as long as it has not seen the server go.
	server := fmt.Sprintf("-CRC/%s/%d", chunkIP(i), d.c.ports[i])
	err := waitFor("the master to forget a chunkserver", startLimit, func() bool {
		if _, err := d.c.CLI(server); err != nil {
			return false
		}
		list, err := d.c.CLI("-SCS", "-s", "|")
		return err == nil && !strings.Contains(list, "|"+chunkIP(i)+"|")
	})
	if err != nil {
		return err
	}
	if err := d.c.StartChunkserver(i); err != nil {
		return err
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}

// renameChunkserver lets a chunkserver come back without the id that the master
// gave it.
func (d *disturber) renameChunkserver(context.Context) error {
	i := d.rng.IntN(len(d.c.chunk))
	if err := d.c.StopChunkserver(i); err != nil {
		return err
	}
	if err := os.Remove(d.c.path(fmt.Sprintf("cs%d", i), "chunkserverid.mfs")); err != nil {
		return fmt.Errorf("taking a chunkserver's id: %w", err)
	}
	if err := d.c.StartChunkserver(i); err != nil {
		return err
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}

// loseChunks deletes the files of a few chunks under the running chunkservers,
// all copies of most of them.
func (d *disturber) loseChunks(context.Context) error {
	files, err := filepath.Glob(filepath.Join(d.c.ChunkDir(0), "*", "chunk_*.mfs"))
	if err != nil || len(files) == 0 {
		return err
	}
	for range 8 {
		name := filepath.Base(files[d.rng.IntN(len(files))])
		copies, err := filepath.Glob(filepath.Join(d.c.path("hdd?"), "*", name))
		if err != nil {
			return fmt.Errorf("finding copies of a chunk: %w", err)
		}
		for _, file := range copies[min(len(copies), d.rng.IntN(4)/3):] {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("losing a chunk: %w", err)
			}
		}
	}
	return nil
}

// staleChunks leaves only a chunkserver that missed the last writes, and lets
// mfsfilerepair make do with its versions of the chunks, in the latest files.
func (d *disturber) staleChunks(ctx context.Context) error {
	old := d.rng.IntN(len(d.c.chunk))
	d.c.KillChunkserver(old)
	pause(ctx, 3*time.Second)
	for i := range d.c.chunk {
		if i != old {
			d.c.KillChunkserver(i)
		}
	}
	if err := d.c.StartChunkserver(old); err != nil {
		return err
	}
	if err := d.c.waitChunkservers(1); err != nil {
		return err
	}
	const repair = `find "$1" -type f -printf '%T@ %p\0' 2>/dev/null | sort -zrn | head -zn 300 | cut -zd' ' -f2- | xargs -0r mfsfilerepair`
	var failed *exec.ExitError // some files are gone before their turn
	if err := d.c.Command("sh", "-c", repair, "sh", d.c.mounts[0].Path).Run(); err != nil && !errors.As(err, &failed) {
		return fmt.Errorf("repairing files: %w", err)
	}
	for i := range d.c.chunk {
		if i != old {
			if err := d.c.StartChunkserver(i); err != nil {
				return err
			}
		}
	}
	return d.c.waitChunkservers(len(d.c.chunk))
}
