package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeRegister is a register in memory that can be cut off.
type fakeRegister struct {
	mu       sync.Mutex
	value    []byte
	revision uint64
}

// link is one process's way to it.
type link struct {
	*fakeRegister
	mu     sync.Mutex
	broken bool // nothing gets through
	deaf   bool // changes get through, answers do not
}

var errCut = errors.New("cut off")

func (l *link) cut(broken, deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.deaf = broken, deaf
}

func (l *link) state() (bool, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken, l.deaf
}

func (l *link) Get(context.Context) ([]byte, uint64, error) {
	if broken, _ := l.state(); broken {
		return nil, 0, errCut
	}
	l.fakeRegister.mu.Lock()
	defer l.fakeRegister.mu.Unlock()
	return l.value, l.revision, nil
}

func (l *link) Set(_ context.Context, value []byte, revision uint64) (uint64, error) {
	broken, deaf := l.state()
	if broken {
		return 0, errCut
	}
	l.fakeRegister.mu.Lock()
	defer l.fakeRegister.mu.Unlock()
	if revision != l.revision {
		return 0, errors.New("changed")
	}
	l.value, l.revision = value, l.revision+1
	if deaf {
		return 0, errCut
	}
	return l.revision, nil
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		reg := &fakeRegister{}
		la, lb := &link{fakeRegister: reg}, &link{fakeRegister: reg}
		times := Within(2 * time.Second)
		a, b := New(la, "a", times), New(lb, "b", times)
		defer b.Release(ctx)
		defer a.Release(ctx)
		hold, err := a.Take(ctx, false)
		if err != nil || !a.Valid() {
			t.Fatalf("taking a free lease: %v", err)
		}
		// Renewed, it is had for longer than it lasts, and nobody else gets it.
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if _, err := b.Take(ctx, false); !errors.Is(err, ErrTaken) {
				t.Fatalf("taking it from one that renews: %v", err)
			}
		}
		// An answer that is lost does no harm.
		la.cut(false, true)
		time.Sleep(times.Renew)
		la.cut(false, false)
		time.Sleep(2 * times.Last)
		if !a.Valid() {
			t.Fatal("it was lost with an answer")
		}
		// Cut off, it stops before the other one may begin.
		la.cut(true, false)
		cut := time.Now()
		got, err := b.Await(ctx, false)
		if err != nil || !b.Valid() {
			t.Fatalf("taking it after the other one was cut off: %v", err)
		}
		if a.Valid() || hold.Err() == nil {
			t.Fatal("both have it")
		}
		if took := time.Since(cut); took > times.Wait+2*times.Renew {
			t.Errorf("it took %v", took)
		}
		// Given back, it is free at once.
		la.cut(false, false)
		b.Release(ctx)
		if got.Err() == nil || b.Valid() {
			t.Error("it is had after it was given back")
		}
		if _, err := a.Take(ctx, false); err != nil {
			t.Errorf("taking one that was given back: %v", err)
		}
		// By force it is taken at once; who had it finds out.
		if _, err := b.Take(ctx, true); err != nil {
			t.Errorf("by force: %v", err)
		}
		time.Sleep(times.Renew + 1)
		if a.Valid() || !b.Valid() {
			t.Errorf("after force: %v, %v", a.Valid(), b.Valid())
		}
	})
}

func TestAwaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := &fakeRegister{}
		times := Within(2 * time.Second)
		a, b, c := New(&link{fakeRegister: reg}, "a", times), New(&link{fakeRegister: reg}, "b", times), New(&link{fakeRegister: reg}, "c", times)
		if _, err := a.Take(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Await(t.Context(), false); !errors.Is(err, ErrTaken) {
			t.Errorf("waiting for one that renews: %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := c.Await(t.Context(), true)
			done <- err
		}()
		time.Sleep(10 * time.Second)
		a.Release(t.Context())
		if err := <-done; err != nil || !c.Valid() {
			t.Errorf("waiting with patience: %v", err)
		}
		c.Release(t.Context())
	})
}
