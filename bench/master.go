package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mfsstandby/standby/stock"
)

// What mfsmaster -a of 3.0.117 says.
const (
	saidReplaying = "chunks: "                         // the last line before the replay
	saidReplayed  = "metadata file has been loaded"    // after it
	saidReady     = "mfsmaster daemon initialized pro" // clients can connect
)

// master is an mfsmaster at work.
type master struct {
	cmd      *exec.Cmd
	began    time.Time
	log      bytes.Buffer
	samples  []Sample
	own      int64  // most bytes that are no mapped files
	replay   moment // when the replay began
	replayed moment // and ended
}

// moment is a time, and the processor time used until then.
type moment struct {
	at  time.Time
	cpu time.Duration
}

// now looks at the master.
func (m *master) now() moment {
	return moment{time.Now(), threadTime(m.cmd.Process.Pid)}
}

// threadTime is what the first thread of a process has used: in mfsmaster, it
// does the work.
func threadTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	ns, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}

// runMaster lets the stock master replay the changelog on a copy of the data,
// in dir, and ends it at once when clients could connect. Seconds and CPU are of
// the replay alone, without what starting takes.
func runMaster(ctx context.Context, dir string, in input) (Result, error) {
	res := Result{Stage: Master, Done: in.entries(), Bytes: in.Bytes}
	files, err := masterFiles(dir, readOnlyExports, 0, map[string]string{"metadata.mfs": in.Metadata, "changelog.0.mfs": in.Changelog})
	if err != nil {
		return res, err
	}
	path, err := stock.Find()
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &master{cmd: exec.CommandContext(ctx, path, "-f", "-a", "-c", files.Config, "start")}
	said, err := m.cmd.StderrPipe()
	if err != nil {
		return res, err
	}
	m.began = time.Now()
	if err := m.cmd.Start(); err != nil {
		return res, err
	}
	watched := make(chan struct{})
	go func() { defer close(watched); m.watch(ctx) }()
	ready := m.listen(said)
	cancel() // it has nothing to save that anybody needs
	<-watched
	waitErr := m.cmd.Wait()
	if !ready || m.replay.at.IsZero() {
		return res, fmt.Errorf("it did not come to serve (%v); it said:\n%s", waitErr, tail(m.log.Bytes()))
	}
	usage, ok := m.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return res, errors.New("the system does not tell what it used")
	}
	res.Seconds = m.replayed.at.Sub(m.replay.at).Seconds()
	res.CPU = (m.replayed.cpu - m.replay.cpu).Seconds()
	res.Own = m.own
	res.Memory = usage.Maxrss << 10
	res.Samples = m.samples
	return res, nil
}

// listen reads what the master says until it serves.
func (m *master) listen(said io.Reader) (ready bool) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		text := lines.Text()
		m.log.WriteString(text + "\n")
		switch {
		case strings.HasPrefix(text, saidReplaying):
			m.replay = m.now()
		case strings.HasPrefix(text, saidReplayed):
			m.replayed = m.now()
		case strings.HasPrefix(text, saidReady):
			return !m.replayed.at.IsZero()
		}
	}
	return false
}

// watch looks at its memory.
func (m *master) watch(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			all, own := residentBytes(strconv.Itoa(m.cmd.Process.Pid))
			m.own = max(m.own, own)
			m.samples = append(m.samples, Sample{At: now.Sub(m.began).Seconds(), Memory: all})
		}
	}
}

func tail(text []byte) []byte {
	const keep = 2000
	return bytes.TrimSpace(text[max(0, len(text)-keep):])
}

// masterFiles makes what a master at a nice level needs, with copies of files in
// its data directory; it listens on this host alone.
func masterFiles(dir, exports string, nice int, files map[string]string) (*stock.Private, error) {
	p, err := stock.MakePrivate(dir, exports, nice)
	if err != nil {
		return nil, err
	}
	for name, from := range files {
		if err := copyFile(filepath.Join(p.Data, name), from); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func copyFile(to, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return create(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}
