package locate

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/replicator/wire"
)

// An answer is shared by all who ask for it, kept for a moment, and asked for
// again afterwards; so is that there was none.
func TestAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var mode atomic.Int32
		serve := func(nc net.Conn) {
			defer nc.Close()
			typ, body, err := wire.ReadPacket(nc, nil, 100)
			if err != nil || mode.Load() == 2 {
				time.Sleep(time.Hour) // the primary hangs
				return
			}
			var e wire.Encoder
			wire.AppendNop(&e)
			e.Begin(typ.Reply() + wire.Type(mode.Load()))
			e.Bytes(append([]byte("answer to "), body...))
			e.End()
			nc.Write(e.Buf)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		a := NewAsker("primary", func(context.Context, string) (net.Conn, error) {
			asked.Add(1)
			if mode.Load() == 3 {
				return nil, errors.New("connection refused")
			}
			mine, theirs := net.Pipe()
			wg.Go(func() { serve(mine) })
			return theirs, nil
		})
		for _, tc := range []struct {
			name string
			mode int32
			want string
		}{
			{"answers", 0, "answer to x"}, {"another type", 1, ""}, {"hangs", 2, ""}, {"is gone", 3, ""}, {"is back", 0, "answer to x"},
		} {
			mode.Store(tc.mode)
			before, start := asked.Load(), time.Now()
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if got := a.Ask(wire.InfoMatrix, []byte("x")); string(got) != tc.want || (got == nil) != (tc.want == "") {
						t.Errorf("%s: %q", tc.name, got)
					}
				})
			}
			all.Wait()
			a.Ask(wire.InfoMatrix, []byte("x"))
			if tc.mode == 2 && a.Ask(wire.InfoMaster, nil) != nil {
				t.Errorf("%s: another question is answered", tc.name)
			}
			if n := asked.Load() - before; n != 1 {
				t.Errorf("%s: asked %d times", tc.name, n)
			}
			if took := time.Since(start); took >= time.Second {
				t.Errorf("%s: took %v", tc.name, took)
			}
			time.Sleep(answerKept + time.Second)
		}
		mode.Store(0)
		if got := a.Ask(wire.InfoMaster, nil); !bytes.Equal(got, []byte("answer to ")) {
			t.Errorf("another question: %q", got)
		}
		if len(a.answers) != 1 {
			t.Errorf("%d answers are kept", len(a.answers))
		}
	})
}
