// Package sample is a stand-in for a MooseFS master, for trying mfsstandby and
// for tests: it writes an endless changelog into a directory, as a master of
// release 3.0.117 with a few busy clients would, together with the metadata
// file, and keeps both small.
//
// It holds the file system's state and applies each entry to it before it
// writes the entry, so every result in an entry is right. As a master does, it
// begins with the newest metadata file and the changelog files after it, and
// so goes on exactly where it was, also after a crash.
package sample

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Config says where a sample primary works and how busy it is.
type Config struct {
	Dir    string
	Rate   int           // entries per second; default 2,000
	Files  int           // how many files there are about; default 20,000
	Rotate time.Duration // how often changelog.0.mfs is rotated and the metadata saved; default one minute
	Keep   int           // rotated changelog files that are kept; default 10
	Logger *slog.Logger  // default slog.Default
}

// Validate fills in defaults.
func (c *Config) Validate() error {
	if c.Dir == "" {
		return errors.New("the sample primary has no directory")
	}
	setDefault(&c.Rate, 2000)
	setDefault(&c.Files, 20_000)
	setDefault(&c.Rotate, time.Minute)
	setDefault(&c.Keep, 10)
	if c.Rate < 1 || c.Rate > maxRate {
		return fmt.Errorf("rate of %d entries per second: give a number from 1 to %d", c.Rate, maxRate)
	}
	if c.Files < 100 {
		return fmt.Errorf("%d files are too few: give at least 100", c.Files)
	}
	if c.Rotate < time.Second || c.Keep < 1 {
		return fmt.Errorf("rotation every %v keeping %d files: give at least 1s and 1 file", c.Rotate, c.Keep)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// maxRate is what one goroutine manages for certain.
const maxRate = 50_000

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Primary is a sample primary. Run works; SetRate and Version may be called
// from any goroutine.
type Primary struct {
	cfg  Config
	rate atomic.Int64
	next atomic.Uint64 // version of the next entry

	store
	world
	rng *mathrand.Rand
	now meta.Time
	err error // of the first entry that failed
}

// New opens the directory, which it makes if need be, and goes on from what is
// there, or begins a new cluster in an empty one.
func New(cfg Config) (*Primary, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var seed [16]byte
	rand.Read(seed[:]) // never fails
	p := &Primary{
		cfg: cfg,
		rng: mathrand.New(mathrand.NewPCG(binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:]))),
	}
	p.rate.Store(int64(cfg.Rate))
	version, err := p.store.open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	p.next.Store(uint64(version))
	p.world.init(p.st, p.rng)
	return p, nil
}

// Version is the version of the next entry.
func (p *Primary) Version() meta.Version { return meta.Version(p.next.Load()) }

// MetaID is the cluster's id.
func (p *Primary) MetaID() uint64 { return p.st.MetaID }

// SetRate changes how many entries are written per second.
func (p *Primary) SetRate(rate int) { p.rate.Store(int64(min(max(rate, 1), maxRate))) }

// tick is how often entries are written.
const tick = 10 * time.Millisecond

// Run writes entries until ctx ends, then saves the metadata. It must be
// called once.
func (p *Primary) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	rotated := last
	var due float64 // entries
	for {
		select {
		case <-ctx.Done():
			return p.close()
		case <-ticker.C:
		}
		now := time.Now()
		due += float64(p.rate.Load()) * min(now.Sub(last), time.Second).Seconds()
		last = now
		p.clock(meta.Time(now.Unix()))
		for due >= 1 && p.err == nil {
			due -= float64(p.act())
		}
		if err := p.flush(); err != nil {
			return err
		}
		if now.Sub(rotated) >= p.cfg.Rotate {
			rotated = now
			if err := p.rotate(p.cfg.Keep, p.Version()); err != nil {
				return err
			}
		}
	}
}

// clock lets time pass, and does what a master does each second.
func (p *Primary) clock(now meta.Time) {
	if now <= p.now {
		return // the clock may go back; a master's does not
	}
	p.now = now
	p.timers()
}

// emit applies an entry and writes it.
func (p *Primary) emit(op changelog.Op) {
	if p.err != nil {
		return
	}
	e := changelog.Entry{Version: p.Version(), Time: p.now, Op: op}
	if p.err = changelog.ApplyEntry(p.st, e); p.err != nil {
		return
	}
	p.buf = append(e.Append(p.buf), '\n')
	p.next.Add(1)
}

// flush writes what was emitted.
func (p *Primary) flush() error {
	if err := p.store.write(); err != nil {
		return err
	}
	if p.err != nil {
		return fmt.Errorf("the sample primary made an entry that cannot be: %w", p.err)
	}
	return nil
}

func (p *Primary) close() error {
	return errors.Join(p.flush(), p.store.close(p.Version()))
}
