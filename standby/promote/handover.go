package promote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/role"
	"mfsstandby/standby/stock"
)

// A hand-over is a promotion that ends with a stock master instead of a leader:
//
//	pause   no other node leads by itself, where some would
//	end     a leader ends leading
//	tap, fence, drain, files    as in a promotion
//	export  the image goes to the master's data directory, beside what is there
//	verify  the file is compared with the image
//	place   what is there is moved aside, and the file takes its place
//	port    clients are not served any more, if the master needs the port
//	start   the stock master is started: from here on it may accept writes
//	serve   it answers clients
//	follow  the tap of this process follows it
//
// All that is written to the stream from fence on carries the term of the
// hand-over, which only the tap of this process knows: no other tap can mix
// another history in. What was done is kept with the role, so a process that is
// killed goes on: before start nothing was accepted, and Demote, or another
// hand-over, begins anew; after it the tap follows the master that was started.

// errNoTap says that nobody could follow the master.
var errNoTap = errors.New("this process has no tap that could follow the stock master: only the command run hands over")

// aside is where what was in the master's data directory is moved to, in it.
const aside = "before-hand-over-"

// handing is the part of a run that hands over.
type handing struct {
	*run
	program string
	to      *stock.Settings
	led     bool // this process led before
	view    *image.View
	fresh   string // path of the export until it is in its place
}

// handOver does what follows the check.
func (r *run) handOver(ctx context.Context) (err error) {
	h := &handing{run: r}
	if h.to, err = stock.ReadSettings(r.opt.HandOver); err != nil {
		return err
	}
	h.program = r.opt.Master
	defer func() {
		if h.view != nil {
			h.view.Close()
		}
		if h.fresh != "" {
			err = errors.Join(err, os.Remove(h.fresh))
		}
	}()
	if n := h.Node; n.cfg.Lease != nil { // or another node would lead, as nobody renews a lease for a stock master
		err := r.step("pause", func() (string, error) {
			return "nobody leads by itself until \"mfsstandby failover resume\"", n.cfg.Lease.Pause(ctx, "handing over to a stock master")
		})
		if err != nil {
			return err
		}
	}
	if err := h.end(ctx); err != nil {
		return err
	}
	if err := h.begin(); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"tap", h.stopTap}, {"fence", h.fenceTerm}, {"drain", h.drain}, {"files", h.oldFiles}, {"export", h.export}, {"verify", h.verify},
		{"place", h.place}, {"port", h.port}, {"start", h.start}, {"serve", h.serve}, {"follow", h.follow},
	} {
		if s.name == "files" && r.opt.ChangelogDir == "" {
			continue
		}
		if err := r.step(s.name, func() (string, error) { return s.do(ctx) }); err != nil {
			return h.giveBack(ctx, err)
		}
	}
	return nil
}

// checkStock refuses a stock master that cannot be started.
func (r *run) checkStock() (string, error) {
	if r.cfg.Tap == nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, errNoTap)
	}
	to, err := stock.ReadSettings(r.opt.HandOver)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if r.opt.Master == "" {
		if r.opt.Master, err = stock.Find(); err != nil {
			return "", fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if _, err := os.Stat(r.opt.Master); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	pid, err := stock.Running(to.Data)
	if err == nil && pid != 0 {
		err = fmt.Errorf("process %d is an mfsmaster on %s: stop it first", pid, to.Data)
	}
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(to.Data, ".hand-over-*"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Sprintf("%s is to be started in %s", r.opt.Master, to.Data), nil
}

// end ends leading, if this process does.
func (h *handing) end(ctx context.Context) error {
	t := h.term()
	if t == nil {
		return nil
	}
	h.led, h.opt.Address = true, h.role.Now().Address // should it fail, this leads for the same reason
	return h.step("end", func() (string, error) { return h.stopLeading(ctx, t, role.Demote) })
}

// begin makes the role that of a candidate, with what is intended.
func (h *handing) begin() error {
	e := role.Promote
	if h.opt.Force || h.led {
		e = role.Force
	}
	before := h.role.Now().HandOver
	// What the master that was handed over to before has accepted comes first.
	if before != nil {
		before.Before = nil
		if before.Started && before.Data == h.to.Data && h.opt.ChangelogDir == "" && h.wrote() {
			h.opt.ChangelogDir = before.Data
		}
	}
	return h.fire(e, h.opt.Reason, func(st *role.State) {
		st.HandOver = &role.HandOver{Term: rand.Text(), Config: h.to.Config, Data: h.to.Data, Metaloggers: h.to.Metaloggers, Before: before}
		if before != nil { // should this fail, the tap goes on under it
			st.HandOver.Term, st.HandOver.Led, st.HandOver.Left = before.Term, true, before.Left
		}
	})
}

// fenceTerm opens an epoch under the term of the hand-over.
func (h *handing) fenceTerm(ctx context.Context) (string, error) {
	h.as = h.role.Now().HandOver.Term
	err := h.fence(ctx, func(w *stream.Writer) error {
		if err := h.mayTake(w); err != nil || !w.Led() || w.LedAs() == h.as {
			return err
		}
		_, err := h.role.Set(func(st *role.State) { st.HandOver.Led = true })
		return err
	})
	if err != nil {
		return "", err
	}
	_, err = h.role.Set(func(st *role.State) { st.HandOver.Epoch = uint64(h.writer.End().Epoch) })
	return fmt.Sprintf("epoch %d is open at version %d; nobody else can append", h.writer.End().Epoch, h.writer.Next()), err
}

func (h *handing) oldFiles(ctx context.Context) (string, error) { return h.drainFiles(ctx) }

// export writes the image at the stream's end into the master's data directory.
func (h *handing) export(context.Context) (string, error) {
	v, err := h.cfg.Standby.View()
	if err != nil {
		return "", err
	}
	h.view = v
	pos, end := v.Position(), streamWriter{h.writer}.End()
	if pos.Version != end.Version || pos.Chain != [16]byte{} && pos.Chain != end.Chain {
		return "", fmt.Errorf("the image is at version %d with chain %x, the stream at %d with %x: they are not of one history", pos.Version, pos.Chain, end.Version, end.Chain)
	}
	h.fresh = filepath.Join(h.to.Data, ".metadata.hand-over")
	if err := standby.WriteView(v, h.fresh, "", nil); err != nil {
		return "", err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(h.fresh, h.to.UID, h.to.GID); err != nil {
			return "", err
		}
	}
	info, err := os.Stat(h.fresh)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("version %d, %d bytes", pos.Version, info.Size()), nil
}

// verify compares the file with the image.
func (h *handing) verify(context.Context) (string, error) {
	f, err := os.Open(h.fresh)
	if err != nil {
		return "", err
	}
	defer f.Close()
	first := ""
	n, err := metafile.Compare(f, h.view.State(), metafile.CompareOptions{Name: h.fresh, Version: h.view.Position().Version},
		func(d metafile.Difference) {
			if first == "" {
				first = d.String()
			}
		})
	if err == nil && n > 0 {
		err = fmt.Errorf("%d differences between the image and its export: %s", n, first)
	}
	return "the file says what the image does", err
}

// place moves aside what a master would read, and puts the file there.
func (h *handing) place(context.Context) (string, error) {
	list, err := os.ReadDir(h.to.Data)
	if err != nil {
		return "", err
	}
	away, moved := "", 0
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), "metadata") && !strings.HasPrefix(e.Name(), "changelog") {
			continue
		}
		if away == "" {
			away = filepath.Join(h.to.Data, aside+time.Now().UTC().Format("20060102T150405.000"))
			if err := os.Mkdir(away, 0o755); err != nil {
				return "", err
			}
		}
		if err := os.Rename(filepath.Join(h.to.Data, e.Name()), filepath.Join(away, e.Name())); err != nil {
			return "", err
		}
		moved++
	}
	if err := os.Rename(h.fresh, filepath.Join(h.to.Data, "metadata.mfs")); err != nil {
		return "", err
	}
	h.fresh = ""
	text := "nothing was in its place"
	if moved > 0 {
		text = fmt.Sprintf("%d files were moved to %s", moved, away)
	}
	d, err := os.Open(h.to.Data)
	if err != nil {
		return "", err
	}
	return text, errors.Join(d.Sync(), d.Close())
}

// port gives the ports for clients and metaloggers up, if the master needs them.
func (h *handing) port(context.Context) (string, error) {
	_, port, err := net.SplitHostPort(h.to.Clients)
	_, metaloggers, err2 := net.SplitHostPort(h.to.Metaloggers)
	if err := errors.Join(err, err2); err != nil {
		return "", err
	}
	if h.cfg.Metaloggers != nil {
		h.cfg.Metaloggers.Leave(metaloggers)
	}
	left, err := h.cfg.Server.Leave(port)
	if left && err == nil {
		_, err = h.role.Set(func(st *role.State) { st.HandOver.Left = true })
	}
	if left {
		return "port " + port + " is the master's now", err
	}
	return "the master has another port than this process", err
}

// start starts the master.
func (h *handing) start(ctx context.Context) (string, error) {
	_, err := h.role.Set(func(st *role.State) { st.HandOver.Started, st.HandOver.Version = true, h.writer.Next() })
	if err != nil {
		return "", err
	}
	if err := stock.StartDaemon(ctx, h.program, h.to.Config, h.cfg.Dir); err != nil {
		return "", err
	}
	pid, err := stock.Running(h.to.Data)
	if err == nil && pid == 0 {
		err = fmt.Errorf("nothing holds the lock of %s", h.to.Data)
	}
	return fmt.Sprintf("%s runs as process %d", h.program, pid), err
}

// serveLimit is how long a master that has loaded its metadata may take.
const serveLimit = time.Minute

func (h *handing) serve(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, serveLimit)
	defer cancel()
	info, err := stock.Serving(ctx, h.to.Clients, nil)
	if err == nil && info.Version < h.writer.Next() {
		err = fmt.Errorf("the master at %s is at version %d, not the one that was started", h.to.Clients, info.Version)
	}
	return fmt.Sprintf("mfsmaster %s accepts clients at %s, from version %d on", info.Release, h.to.Clients, h.writer.Next()), err
}

// follow lets the tap follow the master.
func (h *handing) follow(context.Context) (string, error) {
	if err := h.fire(role.HandedOver, h.opt.Reason, func(st *role.State) { st.HandOver.Before = nil }); err != nil {
		return "", err
	}
	h.cfg.Tap.Start()
	return h.to.Metaloggers + " is followed, in an epoch of its own", nil
}

// giveBack ends a hand-over that failed. A process that led leads again; else
// taps may append again, if nobody but the primary had written.
func (h *handing) giveBack(ctx context.Context, cause error) error {
	now := h.role.Now()
	if now.Role != role.Candidate { // it has the role of a follower already
		return cause
	}
	if now.HandOver != nil && now.HandOver.Started && h.served() {
		err := h.fire(role.Failed, cause.Error(), func(st *role.State) { st.HandOver.Before = nil })
		h.cfg.Tap.Start()
		return errors.Join(fmt.Errorf("%w; the stock master may have accepted writes: it is followed as soon as it answers, and another hand-over takes its changelog up", cause), err)
	}
	left := false
	_, err := h.role.Set(func(st *role.State) {
		if st.HandOver != nil {
			left, st.HandOver = st.HandOver.Left, st.HandOver.Before
		}
	})
	if err == nil && left {
		err = h.cfg.Server.Listen()
	}
	h.serveMetaloggers()
	if err != nil {
		cause = errors.Join(cause, err)
	}
	if !h.led || h.writer == nil {
		return h.giveUp(cause)
	}
	return errors.Join(cause, h.finish(ctx))
}

// served tells whether the master that was started may have accepted anything.
func (h *handing) served() bool {
	pid, err := stock.Running(h.to.Data)
	if err != nil || pid != 0 {
		return true
	}
	return h.wrote()
}

// wrote tells whether there are changelog files in the master's directory.
func (h *handing) wrote() bool {
	logs, err := filepath.Glob(filepath.Join(h.to.Data, "changelog*"))
	return err != nil || len(logs) > 0
}

// forget ends a hand-over: the process does not follow that master any more.
func (n *Node) forget(ctx context.Context, reason string) (string, error) {
	h := n.role.Now().HandOver
	if err := n.cfg.Tap.Stop(ctx); err != nil {
		return "", err
	}
	if _, err := n.role.Set(func(st *role.State) { st.HandOver, st.Reason = nil, reason }); err != nil {
		return "", err
	}
	defer n.cfg.Tap.Start()
	n.serveMetaloggers() // when that master gives the port up
	if h.Started || h.Led {
		return "the stock master is no longer followed; to follow another one, a tap needs --take-over", nil
	}
	w, err := n.cfg.Standby.Cluster().OpenWriter(ctx, stream.WriterConfig{Who: n.cfg.Who, Release: n.cfg.Standby.Status().Release})
	if err == nil && w.LedAs() == h.Term {
		err = w.Open(ctx, "the hand-over was given up", time.Now())
	}
	if err != nil {
		return "", err
	}
	if h.Left {
		if err := n.cfg.Server.Listen(); err != nil {
			return "", err
		}
	}
	return "nothing was started: taps may follow the primary again", nil
}
