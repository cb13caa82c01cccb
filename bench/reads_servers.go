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
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
	"mfsstandby/standby/stock"
)

// tree is the metadata that both servers begin with, and the entries that
// follow it.
type tree struct {
	metadata string // file
	version  meta.Version
	rest     []byte // changelog lines from that version on
}

// makeTree generates a changelog and applies all of it but the last feed
// entries.
func makeTree(ctx context.Context, dir string, opt Options, feed int, cache int64) (*tree, error) {
	opt.Entries += feed
	var log bytes.Buffer
	if err := Generate(&log, opt); err != nil {
		return nil, err
	}
	lines := log.Bytes()
	at := len(lines)
	for range feed + 1 {
		at = bytes.LastIndexByte(lines[:at], '\n')
	}
	t := &tree{metadata: filepath.Join(dir, "metadata.mfs"), rest: lines[at+1:]}
	first := filepath.Join(dir, "changelog.first")
	if err := os.WriteFile(first, lines[:at+1], 0o644); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "first")
	defer os.RemoveAll(data)
	var fresh bytes.Buffer
	if err := FreshMetadata(&fresh, opt.Base); err != nil {
		return nil, err
	}
	if _, err := standby.Load(data, &fresh, standby.LoadOptions{Cache: cache, Name: "fresh metadata", Logger: quiet()}); err != nil {
		return nil, err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(data), Cache: cache, Logger: quiet()})
	if err != nil {
		return nil, err
	}
	open := func(_ context.Context, from meta.Version) (apply.Source, error) {
		src, err := tap.OpenFiles(from, first)
		return files{src}, err
	}
	err = apply.New(img, open, apply.Config{}).Run(ctx)
	if err == nil {
		err = t.save(img)
	}
	return t, errors.Join(err, img.Close())
}

func (t *tree) save(img *image.Image) error {
	v, err := img.View()
	if err != nil {
		return err
	}
	defer v.Close()
	t.version = v.Position().Version
	return standby.WriteView(v, t.metadata, "", nil)
}

// readServer is a server at work.
type readServer struct {
	address string
	cmd     *exec.Cmd
	ended   chan error
	said    *bytes.Buffer // good when ended
	feeding sync.WaitGroup
	quit    context.CancelFunc // ends feeding
	written atomic.Int64       // entries given to the standby
}

func (s *readServer) pid() int { return s.cmd.Process.Pid }

// fed is how many entries the standby was given.
func (s *readServer) fed() int64 { return s.written.Load() }

// explain adds what the server said to an error.
func (s *readServer) explain(err error) error {
	select {
	case waitErr := <-s.ended:
		s.ended <- waitErr
		return fmt.Errorf("%w; the server ended (%v), it said:\n%s", err, waitErr, tail(s.said.Bytes()))
	default:
		return err
	}
}

// stop ends the server and what feeds it.
func (s *readServer) stop() error {
	s.stopFeed()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return nil
	case <-time.After(30 * time.Second):
		s.cmd.Process.Kill()
		<-s.ended
		return errors.New("the server did not end when told to")
	}
}

// start starts a server in a directory of its own and waits until it serves.
func (r *readsRun) start(ctx context.Context, which ReadServer, dir string, round int) (*readServer, error) {
	s := newReadServer()
	var follow string
	var err error
	if which == MasterServer {
		err = s.prepareMaster(ctx, dir, r.tree)
	} else {
		setup := standbySetup{program: r.cfg.Program, metadata: r.tree.metadata, exports: readOnlyExports, cache: r.cfg.Cache}
		if r.cfg.Profile != "" {
			setup.profile = filepath.Join(r.cfg.Profile, fmt.Sprintf("reads-%d", round))
		}
		follow, err = s.prepareStandby(ctx, dir, setup)
	}
	if err != nil {
		return nil, err
	}
	if err := s.launch(ctx); err != nil {
		return nil, err
	}
	if follow != "" && r.cfg.Rate > 0 {
		s.startFeed(ctx, follow, r.tree.rest, r.cfg.Rate)
	}
	return s, nil
}

func newReadServer() *readServer {
	return &readServer{ended: make(chan error, 1), said: new(bytes.Buffer), quit: func() {}}
}

// launch starts what was prepared and waits until it serves.
func (s *readServer) launch(ctx context.Context) error {
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if err := s.await(ctx); err != nil {
		return errors.Join(s.explain(err), s.stop())
	}
	return nil
}

// startFeed lets the changelog that a standby follows grow until stop, or
// stopFeed.
func (s *readServer) startFeed(ctx context.Context, path string, lines []byte, rate int) {
	ctx, s.quit = context.WithCancel(ctx)
	s.feeding.Go(func() { s.feed(ctx, path, lines, rate) })
}

func (s *readServer) stopFeed() {
	s.quit()
	s.feeding.Wait()
}

// prepareMaster makes the stock master's directory and command.
func (s *readServer) prepareMaster(ctx context.Context, dir string, t *tree) error {
	files, err := masterFiles(dir, readOnlyExports, stock.DefaultNice, map[string]string{"metadata.mfs": t.metadata})
	if err != nil {
		return err
	}
	path, err := stock.Find()
	if err != nil {
		return err
	}
	s.address = files.Clients
	s.cmd = exec.CommandContext(ctx, path, "-f", "-c", files.Config, "start")
	return nil
}

// readOnlyExports and writeExports let every mount in.
const (
	readOnlyExports = "* / ro,maproot=0:0\n"
	writeExports    = "* / rw,maproot=0:0\n"
)

// standbySetup says how a standby is started.
type standbySetup struct {
	program  []string
	metadata string // file of its primary
	log      []byte // changelog lines that follow it
	exports  string
	cache    int64
	profile  string // directory; empty: none
}

// prepareStandby makes a directory as a primary would have it, and the command
// that follows it. It returns the changelog file that grows.
func (s *readServer) prepareStandby(ctx context.Context, dir string, setup standbySetup) (string, error) {
	primary, exports := filepath.Join(dir, "primary"), filepath.Join(dir, "exports.cfg")
	if err := os.Mkdir(primary, 0o755); err != nil {
		return "", err
	}
	if err := copyFile(filepath.Join(primary, "metadata.mfs.back"), setup.metadata); err != nil {
		return "", err
	}
	follow := filepath.Join(primary, "changelog.0.mfs")
	for path, text := range map[string][]byte{follow: setup.log, exports: []byte(setup.exports)} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return "", err
		}
	}
	free, err := stock.FreeAddresses(1)
	if err != nil {
		return "", err
	}
	s.address = free[0]
	program := setup.program
	args := append(program[1:len(program):len(program)], "run", "--data", filepath.Join(dir, "data"),
		"--changelog-dir", primary, "--listen-clients", s.address, "--exports", exports, "--listen-http", "",
		"--cache", fmt.Sprintf("%dMiB", setup.cache>>20), "--base-every", "0", "--log-level", "warn")
	if setup.profile != "" {
		args = append(args, "--pprof", setup.profile)
	}
	s.cmd = exec.CommandContext(ctx, program[0], args...)
	return follow, nil
}

// startTime is how long a server may take until it serves: tens of millions of
// inodes may have to be loaded.
const startTime = 10 * time.Minute

// await waits until the server registers a mount, which a standby does when it
// has an image.
func (s *readServer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var last error
	for {
		c, err := dialRead(ctx, s.address, 0, 1, 1<<10)
		if err == nil {
			c.nc.Close()
			return nil
		}
		var opErr *net.OpError
		if ctx.Err() == nil || !errors.As(err, &opErr) {
			last = err
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return errors.New("it did not come to serve")
		case <-ctx.Done():
			return fmt.Errorf("it did not come to serve: %w", last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// feedEvery is how often the changelog grows.
const feedEvery = 5 * time.Millisecond

// feed appends lines to the changelog at a rate, as long as there are some.
func (s *readServer) feed(ctx context.Context, path string, lines []byte, rate int) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return // the figures say that nothing was fed
	}
	defer f.Close()
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	in := bufio.NewReader(bytes.NewReader(lines))
	var out bytes.Buffer
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due, n := int64(time.Since(began).Seconds()*float64(rate)), s.written.Load()
		for out.Reset(); n < due; n++ {
			line, err := in.ReadBytes('\n')
			if err == io.EOF {
				break
			}
			out.Write(line)
		}
		if _, err := f.Write(out.Bytes()); err != nil || out.Len() == 0 && n < due {
			return
		}
		s.written.Store(n)
	}
}
