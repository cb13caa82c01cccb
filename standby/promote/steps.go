package promote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/role"
	"mfsstandby/standby/stock"
)

// Options say how to promote.
type Options struct {
	Force        bool   `json:"force,omitempty"`         // though it is behind, or the primary or another leader answers
	AcceptLoss   uint64 `json:"accept_loss,omitempty"`   // entries that a tap has and the stream lacks may be given up, up to so many
	Reason       string `json:"reason,omitempty"`        // for people
	DryRun       bool   `json:"dry_run,omitempty"`       // check only
	ChangelogDir string `json:"changelog_dir,omitempty"` // data directory of the dead primary, absolute
	At           string `json:"at,omitempty"`            // version or time, see history.ParsePoint, to lead from: a delayed standby only; what came later is given up
	HandOver     string `json:"hand_over,omitempty"`     // mfsmaster.cfg, absolute, of a stock master that is to accept writes instead
	Master       string `json:"mfsmaster,omitempty"`     // its program; empty: it is looked for

	// Judged: it was found out, in other ways, that nobody leads. A lease that
	// another process has is an error.
	Judged bool `json:"-"`
	// Address is the floating address that wants it, "" if a person does.
	Address string `json:"-"`
	// Takeover is that another leader which answers is no reason to refuse: what it
	// has answered is in the stream.
	Takeover bool `json:"-"`
}

// Step is something that was done.
type Step struct {
	Name  string  `json:"name"`
	Text  string  `json:"text"`
	Ms    float64 `json:"ms"`
	Error string  `json:"error,omitempty"`
}

// Result is what came of it.
type Result struct {
	Role    role.State   `json:"role"`
	Version meta.Version `json:"version"` // of the first entry of the leader
	Ms      float64      `json:"ms"`
	Primary *Heard       `json:"primary,omitempty"`       // as it was heard last
	Missing string       `json:"missing"`                 // what may be lost, in words
	Gone    int          `json:"files_gone,omitempty"`    // with Options.At: whose chunks were deleted or written since
	GoneIn  string       `json:"files_gone_in,omitempty"` // file with a list of them, a JSON object per line
}

// Errors of a promotion.
var (
	// ErrRefused: the checks say no.
	ErrRefused = errors.New("refused")
	// ErrLeads: this process leads already.
	ErrLeads = errors.New("this process leads already")
	// ErrFollows: there is nothing to end.
	ErrFollows = errors.New("this process does not lead")
)

// run is one promotion under way.
type run struct {
	*Node
	opt    Options
	report func(Step)

	resumes bool            // it leads on after a restart
	hold    context.Context // of the lease; nil: none is needed
	back    *back           // nil: it leads from the end of the stream
	release func()          // gives the image back to the standby; nil: the standby has it
	writer  *stream.Writer
	as      string // WriterConfig.As
	heard   *Heard
	files   string // what became of the primary's files
}

func newRun(n *Node, opt Options, report func(Step)) *run {
	if report == nil {
		report = func(Step) {}
	}
	return &run{Node: n, opt: opt, report: report}
}

// step does something and reports it.
func (r *run) step(name string, do func() (string, error)) error {
	start := time.Now()
	text, err := do()
	s := Step{Name: name, Text: text, Ms: ms(time.Since(start))}
	if err != nil {
		s.Error = err.Error()
		err = fmt.Errorf("%s: %w", name, err)
	}
	level := slog.LevelInfo
	if r.opt.DryRun {
		level = slog.LevelDebug // asked every second by who moves the address
	}
	r.log.Log(context.Background(), level, "promotion", "step", name, "text", text, "took", time.Since(start), "err", err)
	r.report(s)
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Promote makes this process the leader and returns when it accepts writes.
func (n *Node) Promote(ctx context.Context, opt Options, report func(Step)) (Result, error) {
	n.turn.Lock()
	defer n.turn.Unlock()
	start := time.Now()
	r := newRun(n, opt, report)
	err := r.step("check", r.check)
	if err == nil && opt.At != "" {
		err = r.step("point", func() (string, error) { return r.findPoint(ctx) })
	}
	if err != nil {
		return Result{Role: n.Role()}, err
	}
	switch {
	case opt.DryRun:
	case opt.HandOver != "":
		err = r.handOver(ctx)
	default:
		err = r.promote(ctx)
	}
	res := Result{Role: n.Role(), Ms: ms(time.Since(start)), Primary: r.heard, Missing: r.missing()}
	if r.writer != nil {
		res.Version = r.writer.Next()
	}
	if r.back != nil {
		res.Gone, res.GoneIn = r.back.gone, r.back.list
	}
	return res, err
}

// Fit tells whether a promotion would be refused, and why.
func (n *Node) Fit(opt Options) error {
	_, err := newRun(n, opt, nil).check()
	return err
}

// check tells whether this process may lead.
func (r *run) check() (string, error) {
	r.observe()
	now, st := r.role.Now().Role, r.cfg.Standby.Status()
	if r.cfg.Tap != nil {
		h := r.cfg.Tap.Heard()
		r.heard = &h
	}
	switch {
	case r.opt.HandOver != "" && now == role.Leader && r.term() != nil:
		return r.checkStock()
	case now == role.Leader || r.term() != nil:
		return "", ErrLeads
	case st.Image == 0:
		return "", fmt.Errorf("%w: there is no image yet (%s)", ErrRefused, st.State)
	case now == role.Stopped:
		return "", fmt.Errorf("%w: replication is stopped at version %d, so what the stream has beyond it cannot be applied: %s", ErrRefused, st.Image, st.Error)
	case r.cfg.Standby.Cluster() == nil:
		return "", fmt.Errorf("%w: the stream cannot be reached (%s)", ErrRefused, st.Error)
	case st.Epoch == 0:
		return "", fmt.Errorf("%w: nothing says that the image, of version %d, belongs to this stream: no entry of it was applied, and no base image was loaded", ErrRefused, st.Image)
	}
	if err := r.unsent(&st); err != nil {
		return "", err
	}
	err := r.others(&st, now, r.cfg.Standby.Cluster().Node())
	if err == nil {
		err = r.started()
	}
	if err != nil && !r.opt.Force {
		return "", fmt.Errorf("%w (--force overrides)", err)
	}
	text := fmt.Sprintf("the image is at version %d, the stream at %d, %s", st.Image, st.Stream, now)
	if r.opt.HandOver != "" {
		more, err := r.checkStock()
		return text + "; " + more, err
	}
	return text, nil
}

// unsent refuses to give up more entries than was said.
func (r *run) unsent(st *standby.Status) error {
	lost := uint64(0)
	if st.Received > st.Stream && r.cfg.Tap == nil { // a tap of this process sends the rest first
		lost = uint64(st.Received - st.Stream)
	}
	if lost > r.opt.AcceptLoss {
		return fmt.Errorf("%w: a tap has received entries up to version %d, the stream ends at %d: %d entries would be lost; --accept-loss %d says that they may be",
			ErrRefused, st.Received, st.Stream, lost, lost)
	}
	return nil
}

// others refuses to disturb somebody, and to lead with an old image. self is the name of this member.
func (r *run) others(st *standby.Status, now role.Role, self string) error {
	if r.heard != nil && r.heard.Alive && !r.opt.Judged {
		return fmt.Errorf("%w: the primary, %s, is connected, and accepts writes that will be lost; stop it first", ErrRefused, r.heard.Source)
	}
	for _, m := range st.Members {
		age := time.Since(m.Updated)
		switch {
		case age >= oldMember:
		case m.State == string(standby.Leading) && m.Name != self && !r.opt.Takeover && !r.opt.Judged:
			return fmt.Errorf("%w: %s leads, and was heard %v ago", ErrRefused, m.Name, age.Round(time.Second))
		case r.cfg.Tap == nil && !r.opt.Judged && m.Role == stream.TapRole && m.State == stream.TapFollows:
			return fmt.Errorf("%w: the tap on %s said %v ago that it hears the primary, which accepts writes that will be lost; stop it first", ErrRefused, m.Name, age.Round(time.Second))
		}
	}
	if now != role.InSync {
		return fmt.Errorf("%w: it is %s: the image is at version %d, the stream at %d, %d entries behind", ErrRefused, st.State, st.Image, st.Stream, st.Stream-st.Image)
	}
	return nil
}

// started refuses to fence off a stock master that this process handed over to:
// its process says that it lives before the tap has heard it.
func (r *run) started() error {
	h := r.role.Now().HandOver
	if h == nil || !h.Started || r.opt.Judged {
		return nil
	}
	pid, err := stock.Running(h.Data)
	if err == nil && pid != 0 {
		err = fmt.Errorf("process %d is the stock master that was handed over to, and accepts writes that will be lost; stop it first", pid)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// oldMember is how old what a member told may be; it tells it again every few seconds.
const oldMember = 15 * time.Second

// promote does what follows the check.
func (r *run) promote(ctx context.Context) error {
	e := role.Promote
	if r.opt.Force {
		e = role.Force
	}
	if err := r.fire(e, r.opt.Reason, nil); err != nil {
		return err
	}
	var err error
	if r.cfg.Lease != nil {
		err = r.step("lease", func() (string, error) { return r.takeLease(ctx) })
	}
	if err != nil {
		return errors.Join(err, r.fire(role.Failed, err.Error(), nil))
	}
	err = r.step("tap", func() (string, error) { return r.stopTap(ctx) })
	if err == nil {
		err = r.step("fence", func() (string, error) {
			err := r.fence(ctx, r.mayTake)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("epoch %d is open at version %d; nobody else can append", r.writer.End().Epoch, r.writer.Next()), nil
		})
	}
	if err == nil {
		return r.finish(ctx)
	}
	return r.giveUp(err)
}

// takeLease takes the lease for as long as this process leads.
func (r *run) takeLease(ctx context.Context) (string, error) {
	how := ClaimWhenFree
	switch {
	case r.opt.Judged:
		how = ClaimIfFree
	case r.opt.Force:
		how = ClaimByForce
	}
	var err error
	r.hold, err = r.cfg.Lease.Take(ctx, how)
	return "this node has it", err
}

// stopTap ends following the primary, with what it sent in the stream.
func (r *run) stopTap(ctx context.Context) (string, error) {
	if r.cfg.Tap == nil {
		return "there is none in this process; others are fenced", nil
	}
	if err := r.cfg.Tap.Stop(ctx); err != nil {
		return "", err
	}
	alive := r.heard.Alive
	*r.heard = r.cfg.Tap.Heard()
	r.heard.Alive = alive
	return fmt.Sprintf("%s is no longer followed; it had sent all before version %d", r.heard.Source, r.heard.Next), nil
}

// mayTake looks who wrote last.
func (r *run) mayTake(w *stream.Writer) error {
	if w.Next() == 0 {
		return errors.New("the stream is empty")
	}
	return nil
}

// fence opens an epoch, again when a batch of the writer before was faster. may
// decides about each try.
func (r *run) fence(ctx context.Context, may func(*stream.Writer) error) error {
	led, first := false, true
	for {
		w, err := r.cfg.Standby.Cluster().OpenWriter(ctx, stream.WriterConfig{
			Who: r.cfg.Who, Release: r.cfg.Standby.Status().Release, Leads: true, As: r.as,
		})
		if err != nil {
			return err
		}
		if err := may(w); err != nil {
			return err
		}
		if w.Led() && !led && !first {
			return fmt.Errorf("another standby was promoted meanwhile: %w", stream.ErrFenced)
		}
		led, first = w.Led(), false
		why := "promoted"
		if r.opt.Reason != "" {
			why += ": " + r.opt.Reason
		}
		err = w.Open(ctx, why, time.Now())
		if err == nil {
			r.writer = w
			return nil
		}
		if !errors.Is(err, stream.ErrFenced) || ctx.Err() != nil {
			return err
		}
	}
}

// finish drains, and leads.
func (r *run) finish(ctx context.Context) error {
	var err error
	if r.back != nil {
		err = r.goBack(ctx)
	} else {
		err = r.step("drain", func() (string, error) { return r.drain(ctx) })
	}
	if err == nil && r.opt.ChangelogDir != "" {
		err = r.step("files", func() (string, error) { return r.drainFiles(ctx) })
	}
	if err == nil {
		err = r.step("flip", func() (string, error) { return r.flip(ctx) })
	}
	if err != nil {
		return r.giveUp(err)
	}
	r.hook(ctx, onPromote)
	return nil
}

// drain applies the stream to its end.
func (r *run) drain(ctx context.Context) (string, error) {
	end, at := r.writer.End().Version, meta.Version(0)
	r.cfg.Standby.Hurry(end)
	err := r.cfg.Standby.Reach(ctx, end, func(v meta.Version) {
		if at == 0 {
			at = v
		}
	})
	return fmt.Sprintf("%d entries were waiting; the image is at version %d", end-min(at, end), end), err
}

// drainFiles appends what the dead primary's files have beyond the stream. A
// partial last line is passed over: no client got an answer for it.
func (r *run) drainFiles(ctx context.Context) (string, error) {
	cluster, from := r.cfg.Standby.Cluster(), r.writer.Next()
	last, err := cluster.LastText(ctx)
	if err != nil {
		return "", err
	}
	dir, err := tap.NewDir(tap.DirConfig{Path: r.opt.ChangelogDir}, tap.Position{Next: from, Last: last, MetaID: cluster.MetaID()})
	if err != nil {
		return "", err
	}
	defer dir.Close()
	dir.Drain()
	for {
		batch, err := dir.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if err := r.writer.Append(ctx, batch.Entries, batch.Received); err != nil {
			return "", err
		}
	}
	if err := r.writer.Flush(ctx); err != nil {
		return "", err
	}
	end := r.writer.End().Version
	r.cfg.Standby.Hurry(end)
	if err := r.cfg.Standby.Reach(ctx, end, nil); err != nil {
		return "", err
	}
	r.files = fmt.Sprintf("its files in %s were read to their end, at version %d", r.opt.ChangelogDir, end)
	text := fmt.Sprintf("%d entries that the stream lacked", end-from)
	for _, torn := range dir.Torn() {
		text += "; passed over: " + torn.Error()
	}
	return text, nil
}

// flip gives the image to a leader and clients to it.
func (r *run) flip(ctx context.Context) (string, error) {
	if err := r.cfg.Server.Listen(); err != nil {
		return "", err
	}
	r.serveMetaloggers()
	if r.release == nil {
		release, err := r.cfg.Standby.Hold(ctx)
		if err != nil {
			return "", err
		}
		r.release = release
	}
	img, err := r.cfg.Standby.Image()
	if err != nil {
		return "", err
	}
	pos, end := img.Position(), streamWriter{r.writer}.End()
	if pos.Version != end.Version || pos.Chain != [16]byte{} && pos.Chain != end.Chain {
		return "", fmt.Errorf("the image is at version %d with chain %x, the stream at %d with %x: they are not of one history", pos.Version, pos.Chain, end.Version, end.Chain)
	}
	err = r.fire(role.Drained, r.opt.Reason, func(st *role.State) {
		st.Epoch, st.Begun, st.Address, st.HandOver = end.Epoch, end.Version, r.opt.Address, nil
	})
	if err != nil {
		return "", err
	}
	l, err := r.begin(img, r.writer, r.hold, r.release)
	if err != nil {
		return "", errors.Join(err, r.fire(role.Lost, err.Error(), nil))
	}
	r.release = nil // the leader gives it back
	if err := l.Do(ctx, func(*leader.Turn) {}); err != nil {
		if t := r.term(); t != nil { // nobody may be left to lead without clients
			t.end()
			<-t.ended
		}
		return "", err
	}
	r.mu.Lock()
	if r.lead != nil { // else it has ended already
		r.cfg.Server.Lead(l)
	}
	r.mu.Unlock()
	return fmt.Sprintf("writes are accepted from version %d on", end.Version), nil
}

// serveMetaloggers takes the port for them back, as soon as it can be had.
func (n *Node) serveMetaloggers() {
	if n.cfg.Metaloggers != nil {
		n.cfg.Metaloggers.Return()
	}
}

// giveUp lets this process follow again after a promotion that failed.
func (r *run) giveUp(cause error) error {
	if r.release != nil {
		r.release()
		r.release = nil
	}
	e := role.Failed
	if errors.Is(cause, stream.ErrFenced) {
		e = role.Fenced
	}
	err := cause
	if r.role.Now().Role == role.Candidate {
		err = errors.Join(err, r.fire(e, cause.Error(), nil))
	}
	if r.writer != nil && !r.writer.Led() { // else what a leader wrote would be open to taps
		err = errors.Join(err, r.unlead(r.writer.End().Epoch, "the promotion failed"))
	}
	r.releaseLease()
	if r.cfg.Tap != nil {
		r.cfg.Tap.Start() // it looks itself whether it may
	}
	return err
}

// unlead opens an epoch in which taps may append again, unless somebody else
// has opened one since.
func (n *Node) unlead(mine stream.Epoch, why string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w, err := n.cfg.Standby.Cluster().OpenWriter(ctx, stream.WriterConfig{Who: n.cfg.Who, Release: n.cfg.Standby.Status().Release})
	if err != nil {
		return err
	}
	if w.End().Epoch != mine {
		return nil
	}
	return w.Open(ctx, why, time.Now())
}

// missing says in words what is not known.
func (r *run) missing() string {
	var b strings.Builder
	switch h := r.heard; {
	case h == nil:
		b.WriteString("the tap is in another process: what the primary had and did not send is not known here")
	case h.At.IsZero():
		fmt.Fprintf(&b, "%s was not heard since this process started", h.Source)
	default:
		fmt.Fprintf(&b, "%s was heard last at %s, and had sent all before version %d then", h.Source, h.At.Format(time.RFC3339Nano), h.Next)
	}
	switch {
	case r.back != nil:
		fmt.Fprintf(&b, "; the entries from version %d on, which the stream has up to %d, were given up as was asked", r.back.to, r.back.end)
	case r.files != "":
		b.WriteString("; " + r.files + ": nothing is missing that it had written down")
	default:
		b.WriteString("; it may have had more, which its changelog files would show (--changelog-dir)")
	}
	return b.String()
}

// stopLeading gives the image back to the standby.
func (r *run) stopLeading(ctx context.Context, t *term, e role.Event) (string, error) {
	if err := r.fire(e, r.opt.Reason, nil); err != nil {
		return "", err
	}
	t.end()
	select {
	case <-t.ended:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return "no writes are accepted any more", nil
}

// Demote ends leading, or following a stock master that was handed over to.
// Where neither this leader nor one before it wrote, the primary's entries
// still continue the stream: taps may go on. Else they need --take-over.
func (n *Node) Demote(ctx context.Context, reason string, report func(Step)) (Result, error) {
	return n.demote(ctx, role.Demote, reason, report)
}

// Leave is Demote, when the address went elsewhere.
func (n *Node) Leave(ctx context.Context, reason string) error {
	_, err := n.demote(ctx, role.Left, reason, nil)
	return err
}

func (n *Node) demote(ctx context.Context, e role.Event, reason string, report func(Step)) (Result, error) {
	n.turn.Lock()
	defer n.turn.Unlock()
	start := time.Now()
	r := newRun(n, Options{Reason: reason}, report)
	t := n.term()
	if t == nil && n.cfg.Tap != nil && n.role.Now().HandOver != nil && e == role.Demote {
		err := r.step("forget", func() (string, error) { return n.forget(ctx, reason) })
		return Result{Role: n.Role(), Ms: ms(time.Since(start))}, err
	}
	if t == nil || n.role.Now().Role != role.Leader {
		return Result{Role: n.Role()}, ErrFollows
	}
	var err error
	if n.cfg.Lease != nil && e == role.Demote { // or another one, or this, would lead at once
		err = r.step("pause", func() (string, error) {
			return "nobody leads by itself until \"mfsstandby failover resume\"", n.cfg.Lease.Pause(ctx, "demoted by hand: "+reason)
		})
	}
	if err != nil {
		return Result{Role: n.Role()}, err
	}
	err = r.step("end", func() (string, error) { return r.stopLeading(ctx, t, e) })
	end := meta.Version(0)
	if err == nil {
		r.hook(ctx, onDemote)
		end = t.writer.End().Version
		err = r.step("release", func() (string, error) {
			if end != t.begun || t.writer.Led() {
				return fmt.Sprintf("what leaders wrote, %d entries by this one since it began last, is no primary's: to follow one again nonetheless, a tap needs --take-over", end-t.begun), nil
			}
			if err := n.unlead(t.writer.End().Epoch, "demoted, and nothing was written"); err != nil {
				return "", err
			}
			if n.cfg.Tap != nil {
				n.cfg.Tap.Start()
			}
			return "nothing was written: taps may follow the primary again", nil
		})
	}
	return Result{Role: n.Role(), Version: end, Ms: ms(time.Since(start))}, err
}
