package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
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
	config, err := masterFiles(dir, in)
	if err != nil {
		return res, err
	}
	path, err := findMaster()
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &master{cmd: exec.CommandContext(ctx, path, "-f", "-a", "-c", config, "start")}
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

// findMaster looks also where users have no path to.
func findMaster() (string, error) {
	for _, name := range []string{"mfsmaster", "/usr/sbin/mfsmaster", "/usr/local/sbin/mfsmaster"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no mfsmaster here: install the package moosefs-master")
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

// masterFiles makes the master's data directory, as after a crash, and its
// configuration: it listens on this host alone.
func masterFiles(dir string, in input) (config string, err error) {
	config, _, err = masterConfig(dir, map[string]string{"metadata.mfs": in.Metadata, "changelog.0.mfs": in.Changelog})
	return config, err
}

// masterConfig makes a data directory of copies of files, and a configuration
// for it. It returns the port that clients connect to.
func masterConfig(dir string, files map[string]string) (config string, clients int, err error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", 0, err
	}
	for name, from := range files {
		if err := copyFile(filepath.Join(data, name), from); err != nil {
			return "", 0, err
		}
	}
	who, err := user.Current()
	if err != nil {
		return "", 0, err
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return "", 0, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return "", 0, err
	}
	var text strings.Builder
	for i, name := range []string{"MATOML", "MATOCS", "MATOCL"} {
		fmt.Fprintf(&text, "%s_LISTEN_HOST = 127.0.0.1\n%[1]s_LISTEN_PORT = %d\n", name, ports[i])
	}
	exports, topology := filepath.Join(dir, "exports.cfg"), filepath.Join(dir, "topology.cfg")
	fmt.Fprintf(&text, "DATA_PATH = %s\nWORKING_USER = %s\nWORKING_GROUP = %s\nEXPORTS_FILENAME = %s\nTOPOLOGY_FILENAME = %s\nNICE_LEVEL = 0\n",
		data, who.Username, group.Name, exports, topology)
	config = filepath.Join(dir, "mfsmaster.cfg")
	for path, content := range map[string]string{config: text.String(), exports: "* / ro,maproot=0:0\n", topology: ""} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return "", 0, err
		}
	}
	return config, ports[2], nil
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

// freePorts finds ports that nothing listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only at the end, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
