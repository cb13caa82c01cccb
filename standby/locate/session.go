package locate

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/wire"
)

// savedSession names the session that this host has at its primary.
type savedSession struct {
	MetaID  uint64 `json:"metaid"`
	Session uint32 `json:"session"` // 0: none
}

// sessionFile is its name in Config.Dir.
const sessionFile = "primary-session.json"

func (l *Locator) loadSession() error {
	if l.cfg.Dir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(l.cfg.Dir, sessionFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading the session at the primary: %w", err)
	}
	if err := json.Unmarshal(text, &l.saved); err != nil {
		l.log.Warn("the session at the primary cannot be read, a new one will be made", "err", err)
		l.saved = savedSession{}
	}
	return nil
}

// saveSession keeps the session's number. A loss of power may take it, which
// costs the primary another session.
func (l *Locator) saveSession(s savedSession) {
	if l.saved == s {
		return
	}
	l.saved = s
	if l.cfg.Dir == "" {
		return
	}
	text, err := json.Marshal(s)
	path := filepath.Join(l.cfg.Dir, sessionFile)
	if err == nil {
		err = os.WriteFile(path+".tmp", append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		l.log.Warn("the session at the primary is not kept on disk; a restart will make another one", "err", err)
	}
}

// RefusedError says that the primary does not let this host register.
type RefusedError struct{ Status meta.Status }

// Statuses that a registration may be refused with.
const (
	statusNoPassword  meta.Status = 36
	statusBadPassword meta.Status = 37
	statusTooOld      meta.Status = 54
)

func (e *RefusedError) Error() string {
	what := "the primary refuses to tell where chunks are: "
	switch e.Status {
	case meta.EACCES:
		return what + "its mfsexports.cfg has no line for this host and path"
	case meta.ENOENT, meta.ENOTDIR:
		return what + "it has no such directory"
	case statusNoPassword:
		return what + "a password is needed: set PRIMARY_PASSWORD in the configuration file"
	case statusBadPassword:
		return what + "the password is wrong"
	case statusTooOld:
		return what + "its erasure-coded data needs newer clients"
	}
	return what + e.Status.Error()
}

// retryEvery is how long after a connection ended the next one is tried, as a
// mount does.
const retryEvery = 2 * time.Second

// errAlone ends a connection when this process has become the only master.
var errAlone = errors.New("this process leads: nobody else knows where chunks are")

// Run keeps a connection to the primary until ctx ends.
func (l *Locator) Run(ctx context.Context) error {
	for {
		err := errAlone
		if !l.cfg.Alone() {
			err = l.serve(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		l.event(slog.LevelWarn, code(err), err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

func code(err error) events.Code {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return events.Refused
	}
	return events.Disconnected
}

// event tells what is new.
func (l *Locator) event(level slog.Level, code events.Code, text string) {
	if text == l.last {
		return
	}
	l.last = text
	l.log.Log(context.Background(), level, text)
	l.cfg.Events.Add(part, level, code, text)
}

// serve connects, registers and serves questions until the connection ends.
func (l *Locator) serve(ctx context.Context) error {
	nc, err := l.cfg.Dial(ctx, l.cfg.Address)
	if err != nil {
		return fmt.Errorf("asking the primary where chunks are: %w", err)
	}
	link := newLink(ctx, nc)
	defer link.wg.Wait()
	defer link.end(errGone)
	if err := l.register(link); err != nil {
		return err
	}
	l.cache.age()
	l.setLink(link)
	defer l.setLink(nil)
	l.cfg.Moved()
	l.event(slog.LevelInfo, events.Connected, fmt.Sprintf("asking %s where chunks are, as session %d", l.cfg.Address, l.saved.Session))
	link.wg.Go(link.keep)
	link.wg.Go(func() { l.watchSpace(link) })
	err = link.read(func() {
		l.cache.age()
		l.cfg.Moved()
	})
	if cause := context.Cause(link.ctx); cause != nil {
		err = cause
	}
	return err
}

// register takes up the session that is known, or makes one.
func (l *Locator) register(k *link) error {
	k.nc.SetReadDeadline(time.Now().Add(registerTime))
	if l.saved.Session != 0 {
		primary, status, err := l.reconnect(k)
		if err != nil {
			return err
		}
		if status == meta.OK {
			k.release = min(primary, release)
			return nil
		}
	}
	return l.newSession(k)
}

// exchange sends a registration and returns the payload of its answer.
func (k *link) exchange(p *wire.ClientRegister) ([]byte, error) {
	k.send(p.Append)
	for {
		t, payload, err := wire.ReadPacket(k.in, nil, maxAnswer)
		switch {
		case err != nil:
			return nil, fmt.Errorf("registering at the primary: %w", err)
		case t == wire.FuseRegister.Reply():
			return payload, nil
		case t > wire.BadCommandSize:
			return nil, fmt.Errorf("the primary answers a registration with %v", t)
		}
	}
}

func (l *Locator) reconnect(k *link) (wire.Release, meta.Status, error) {
	payload, err := k.exchange(&wire.ClientRegister{
		Code: wire.RegisterReconnect, Release: release, Session: l.saved.Session, HasMetaID: true, MetaID: l.saved.MetaID,
	})
	if err != nil {
		return 0, 0, err
	}
	var answer wire.Reconnected
	if err := answer.Decode(wire.NewDecoder(payload)); err != nil {
		return 0, 0, fmt.Errorf("reading the primary's answer to a registration: %w", err)
	}
	if answer.Release == 0 { // masters before 3.0.95 do not say
		answer.Release = wire.NewRelease(3, 0, 94)
	}
	return answer.Release, answer.Status, nil
}

// newSession registers. A session that the primary only knows from its
// metadata, or whose export changed, is taken up again.
func (l *Locator) newSession(k *link) error {
	p := &wire.ClientRegister{
		Code: wire.RegisterNewSession, Release: release, Path: []byte(l.cfg.Path),
		Info: []byte("mfsstandby on " + l.cfg.Host + "\x00"),
	}
	if l.saved.Session != 0 {
		p.HasSession, p.Session, p.HasMetaID, p.MetaID = true, l.saved.Session, true, l.saved.MetaID
	}
	if l.cfg.Password != "" {
		random, err := k.exchange(&wire.ClientRegister{Code: wire.RegisterRandom})
		if err != nil {
			return err
		}
		if len(random) != 2*wire.PasswordSize {
			return fmt.Errorf("the primary sends %d random bytes for a password", len(random))
		}
		p.Password = passcode(random, l.cfg.Password)
	}
	payload, err := k.exchange(p)
	if err != nil {
		return err
	}
	if status, ok := wire.RegisterStatus(payload); ok {
		return &RefusedError{status}
	}
	form, ok := sessionForm[len(payload)]
	if !ok {
		return fmt.Errorf("the primary answers a registration with %d bytes, which is no known form", len(payload))
	}
	var s wire.Session
	if err := s.Decode(wire.NewDecoder(payload), form); err != nil {
		return fmt.Errorf("reading the primary's session: %w", err)
	}
	if want := l.metaID(); want != 0 && s.MetaID != 0 && s.MetaID != want {
		return fmt.Errorf("%s is the master of cluster %016X, not of %016X: give the right --primary-clients", l.cfg.Address, s.MetaID, want)
	}
	if s.MetaID != l.saved.MetaID {
		l.cache.clear() // chunk ids of another cluster mean other chunks
	}
	k.release = min(s.Release, release)
	l.saveSession(savedSession{s.MetaID, s.Session})
	return nil
}

func (l *Locator) metaID() uint64 {
	if l.cfg.MetaID == nil {
		return 0
	}
	return l.cfg.MetaID()
}

// sessionForm gives the release whose form of an answer has a length: masters
// do not know the forms of clients newer than they are.
var sessionForm = map[int]wire.Release{
	35: wire.NewRelease(1, 6, 26), 43: wire.NewRelease(3, 0, 11), 45: wire.NewRelease(3, 0, 72), 49: wire.NewRelease(3, 0, 112),
	57: wire.NewRelease(4, 57, 0), // 4.40 has the same length, and goals where 4.57 has groups, which nobody reads here
}

// passcode answers the primary's random bytes.
func passcode(random []byte, password string) []byte {
	inner := md5.Sum([]byte(password))
	h := md5.New()
	h.Write(random[:wire.PasswordSize])
	h.Write(inner[:])
	h.Write(random[wire.PasswordSize:])
	return h.Sum(nil)
}

// watchSpace asks for the free space now and then, and ends the connection when
// there is nobody to ask.
func (l *Locator) watchSpace(k *link) {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		if l.cfg.Alone() {
			k.fail(errAlone)
			return
		}
		payload, err := k.call(k.ctx, wire.FuseStatfs, func(e *wire.Encoder, id uint32) {
			(&wire.EmptyRequest{MsgID: id}).Append(e, wire.FuseStatfs)
		})
		if err != nil {
			return
		}
		var s wire.Statfs
		if err := s.Decode(wire.NewDecoder(payload), k.release); err != nil {
			k.fail(fmt.Errorf("reading the primary's space: %w", err))
			return
		}
		if s.Free == 0 { // old masters do not tell
			s.Free = s.Avail
		}
		l.space.Store(&Space{s.Total, s.Avail, s.Free})
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
	}
}
