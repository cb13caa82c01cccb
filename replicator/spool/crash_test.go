package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"mfsstandby/changelog/meta"
)

// history is what a run of steps knows about a spool: which entries it was
// promised to keep.
type history struct {
	begun   bool
	moving  bool         // a Reset was under way
	trimmed meta.Version // entries below may be gone
	tried   meta.Version // entries below were given to Append, perhaps in vain
	durable meta.Version // entries below were acknowledged as being on disk
}

// steps works with a spool and goes on after errors until the power is off. It
// appends batches of several sizes, syncs, trims, and once begins anew.
func steps(s *Spool, mode Mode, h *history) {
	if !h.begun {
		err := s.Reset(start)
		h.moving = err != nil
		if err != nil {
			return
		}
		h.begun, h.trimmed, h.tried, h.durable = true, start.Next, start.Next, start.Next
	}
	for i := range meta.Version(40) {
		p, err := s.Position()
		if err != nil {
			return
		}
		n := 1 + i*7%13
		h.tried = max(h.tried, p.End+n)
		err = s.Append(batch(p.End, p.End+n-1))
		if errors.Is(err, errPower) {
			return
		}
		if err == nil && mode == SyncAlways {
			h.durable = p.End + n
		}
		if i%5 == 4 && s.Sync() == nil {
			if p, err := s.Position(); err == nil {
				h.durable = p.Durable
			}
		}
		if i%16 == 15 { // of several segments; what is published may not be durable here
			p, _ := s.Position()
			h.trimmed = p.End
			if errors.Is(s.Trim(p.End), errPower) {
				return
			}
		}
	}
}

// check opens what is left, compares it with what was promised, and goes on.
func check(t *testing.T, fs *memFS, cfg Config, h history) {
	t.Helper()
	cfg.FS = fs
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	defer s.Close()
	p, err := s.Position()
	if err != nil {
		if !errors.Is(err, ErrEmpty) || h.begun {
			t.Fatalf("history is gone: %v", err)
		}
		must(t, s.Reset(start))
		p, _ = s.Position()
	}
	if h.begun && (p.End < h.durable || p.End > h.tried || p.First.Next > h.trimmed) {
		t.Fatalf("entries are %d to %d; promised are %d to %d, given were those below %d", p.First.Next, p.End-1, h.trimmed, h.durable-1, h.tried)
	}
	if p.Chain != chainTo(p.End) || p.First.MetaID != 7 {
		t.Fatalf("position is %+v", p)
	}
	if p.End > start.Next && string(p.Last) != text(p.End-1) {
		t.Fatalf("last entry is %q, want %q", p.Last, text(p.End-1))
	}
	wantEntries(t, s, p.First.Next, p.End)
	var bytes int64
	for _, seg := range s.segs {
		bytes += int64(len(fs.files[seg.name].now))
	}
	if bytes != p.Bytes || len(fs.files) != len(s.segs) {
		t.Fatalf("%d bytes in %d files, want %d in %d", bytes, len(fs.files), p.Bytes, len(s.segs))
	}
	must(t, s.Append(batch(p.End, p.End+20)))
	must(t, s.Sync())
	wantEntries(t, s, p.First.Next, p.End+21)
}

// The power goes at every single step, and what was not synced is there in
// part. Then again while the spool is opened.
func TestPowerLossAtEveryStep(t *testing.T) {
	for _, mode := range []Mode{SyncAlways, SyncInterval} {
		cfg := Config{Max: 4 << 20, Segment: 4096, Mode: mode}
		rnd := rand.New(rand.NewPCG(1, uint64(mode)))
		for n := 1; ; n++ {
			fs := newMemFS()
			fs.failAt, fs.power = n, true
			cfg.FS = fs
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var h history
			steps(s, mode, &h)
			s.Close()
			for range 4 {
				t.Run(fmt.Sprintf("mode %d step %d", mode, n), func(t *testing.T) {
					left := fs.afterPowerLoss(rnd)
					for k := 1; ; k++ { // opening changes little
						left.calls, left.failAt, left.power, left.off = 0, k, true, false
						cfg.FS = left
						s, err := Open(cfg)
						if err == nil {
							s.Close()
							break
						}
						if !errors.Is(err, errPower) {
							t.Fatalf("opening: %v", err)
						}
						left = left.afterPowerLoss(rnd)
					}
					left.failAt, left.off = 0, false
					check(t, left, cfg, h)
				})
			}
			if !fs.off {
				if n < 50 {
					t.Fatalf("only %d steps", n)
				}
				break
			}
		}
	}
}

// The process is killed at every step: all that was written is there.
func TestKillAtEveryStep(t *testing.T) {
	cfg := Config{Max: 4 << 20, Segment: 4096, Mode: SyncInterval}
	rnd := rand.New(rand.NewPCG(1, 1))
	for n := 1; ; n++ {
		fs := newMemFS()
		fs.failAt, fs.power = n, true
		cfg.FS = fs
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var h history
		steps(s, SyncAlways, &h) // whatever Append returned is to be kept
		s.Close()
		done := !fs.off
		fs.off, fs.failAt = false, 0
		opened := open(t, cfg) // what it finds must be there for good then
		if p, err := opened.Position(); err == nil {
			h.durable = max(h.durable, p.Durable)
		}
		opened.Close()
		check(t, fs.afterPowerLoss(rnd), cfg, h)
		check(t, fs, cfg, h)
		if done {
			break
		}
	}
}

// The power goes while a new history takes the place of the old.
func TestPowerLossInReset(t *testing.T) {
	other := Start{MetaID: 7, Epoch: 4, Next: 5000, Chain: start.Chain}
	rnd := rand.New(rand.NewPCG(2, 2))
	for n := 1; ; n++ {
		fs := newMemFS()
		cfg := Config{FS: fs, Max: 4 << 20, Segment: 4096, Mode: SyncInterval}
		s := begun(t, cfg)
		for v := meta.Version(100); v < 250; v += 10 {
			must(t, s.Append(batch(v, v+9)))
		}
		fs.calls, fs.failAt, fs.power = 0, n, true
		reset := s.Reset(other)
		s.Close()
		for range 50 {
			cfg.FS = fs.afterPowerLoss(rnd)
			s := open(t, cfg)
			p, err := s.Position()
			if err != nil || p.First != start && p.First != other || reset == nil && p.First != other {
				t.Fatalf("step %d: Reset gave %v; then position is %+v, %v", n, reset, p, err)
			}
			wantEntries(t, s, p.First.Next, p.End)
			s.Close()
		}
		if !fs.off {
			break
		}
	}
}

// The process is killed in Reset, and the power goes while the spool is opened
// after that.
func TestPowerLossAfterKilledReset(t *testing.T) {
	other := Start{MetaID: 7, Epoch: 4, Next: 5000, Chain: start.Chain}
	rnd := rand.New(rand.NewPCG(3, 3))
	for n := 1; n < 9; n++ {
		for k := 1; k < 9; k++ {
			for range 10 {
				fs := newMemFS()
				cfg := Config{FS: fs, Max: 4 << 20, Segment: 4096, Mode: SyncInterval}
				s := begun(t, cfg)
				for v := meta.Version(100); v < 250; v += 10 {
					must(t, s.Append(batch(v, v+9)))
				}
				fs.calls, fs.failAt, fs.power = 0, n, true
				s.Reset(other)
				s.Close()
				fs.calls, fs.failAt, fs.off = 0, k, false
				if s, err := Open(cfg); err == nil {
					s.Close()
				}
				cfg.FS = fs.afterPowerLoss(rnd)
				s = open(t, cfg)
				if p, err := s.Position(); err != nil || p.First != start && p.First != other {
					t.Fatalf("killed at step %d, power lost at %d: position is %+v, %v", n, k, p, err)
				}
				s.Close()
			}
		}
	}
}

// What is trimmed while the newest segment is not on disk yet leaves the last
// entry that is.
func TestTrimKeepsADurableEntry(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		fs := newMemFS()
		cfg := Config{FS: fs, Max: 4 << 20, Segment: 4096, Mode: SyncInterval}
		s := begun(t, cfg)
		must(t, s.Append(batch(100, 140)))
		must(t, s.Append(batch(141, 190))) // in the next segment
		must(t, s.Trim(191))
		s.Close()
		cfg.FS = fs.afterPowerLoss(rnd)
		s = open(t, cfg)
		if p, err := s.Position(); err != nil || p.End < 141 || string(p.Last) != text(p.End-1) {
			t.Fatalf("position is %+v, %v", p, err)
		}
		s.Close()
	}
}

// One call fails, the machine goes on: the error is told, nothing half of a
// batch is there, and the spool goes on or, opened again, has all that was
// acknowledged.
func TestErrorAtEveryStep(t *testing.T) {
	for _, mode := range []Mode{SyncAlways, SyncInterval} {
		cfg := Config{Max: 4 << 20, Segment: 4096, Mode: mode}
		for n := 1; ; n++ {
			fs := newMemFS()
			fs.failAt = n
			cfg.FS = fs
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var h history
			steps(s, mode, &h)
			if p, err := s.Position(); err == nil && s.err == nil {
				wantEntries(t, s, p.First.Next, p.End)
			}
			s.Close()
			done := fs.calls < n
			fs.failAt = 0
			check(t, fs, cfg, h)
			if done {
				break
			}
		}
	}
}

// A batch whose write fails is not there, and the next try works.
func TestFullDisk(t *testing.T) {
	fs := newMemFS()
	s := begun(t, Config{FS: fs})
	must(t, s.Append(batch(100, 109)))
	fs.failAt = fs.calls + 1
	err := s.Append(batch(110, 119))
	wantText(t, err, "writing mem/0000000000000001.spool: injected: no space left on device")
	p, _ := s.Position()
	if size := len(fs.files[segmentName(1)].now); p.End != 110 || int64(size) != p.Bytes {
		t.Fatalf("position is %+v, file has %d bytes", p, size)
	}
	must(t, s.Append(batch(110, 119)))
	wantEntries(t, s, 100, 120)

	fs.failAt = fs.calls + 2 // the sync
	wantText(t, s.Append(batch(120, 129)), "spool has to be opened again: syncing mem/0000000000000001.spool")
	wantText(t, s.Append(batch(130, 139)), "spool has to be opened again")
}
