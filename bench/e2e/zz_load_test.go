//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

func TestZZLoad(t *testing.T) {
	s := startServing(t, Config{Dir: t.TempDir(), Mounts: 1})
	s.sh("mkdir big small; cd big; seq -f 'file-%06g' 1 10000 | xargs touch; cd ../small; touch $(seq 20)")
	s.sync()
	for _, cd := range [][2]int{{1, 1}, {8, 1}, {8, 16}, {64, 1}, {64, 8}} {
		for _, what := range []string{"lookup", "getattr", "readdir"} {
			for round := range 2 {
				_ = round
				for _, addr := range []string{ClientAddress, MasterIP + ":" + servePort} {
					load(t, s, addr, what, cd[0], cd[1])
				}
			}
		}
	}
}

func load(t *testing.T, s *serving, addr, what string, conns, depth int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []time.Duration
	n := 0
	end := time.Now().Add(1500 * time.Millisecond)
	began := time.Now()
	for range conns {
		wg.Go(func() {
			nc, err := s.Dial(t.Context(), addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			in := bufio.NewReaderSize(nc, 1<<20)
			var e wire.Encoder
			buf := make([]byte, 1<<16)
			recv := func() []byte {
				for {
					typ, p, err := wire.ReadPacket(in, buf, wire.ClientMaxLength)
					if err != nil {
						t.Error(err)
						return nil
					}
					if typ != wire.Nop {
						return p
					}
				}
			}
			send := func() { nc.Write(e.Buf); e.Buf = e.Buf[:0] }
			(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: wire.NewRelease(3, 0, 117), Info: []byte("x\x00")}).Append(&e)
			send()
			recv()
			id := wire.Identity{GIDs: wire.PackNumbers(0)}
			find := func(name string) meta.Inode {
				(&wire.NameRequest{MsgID: 1, Parent: 1, Name: []byte(name), Identity: id}).Append(&e, wire.FuseLookup)
				send()
				var r wire.LookupReply
				r.Decode(wire.NewDecoder(recv()), wire.NewRelease(3, 0, 117))
				return r.Inode
			}
			big, small := find("big"), find("small")
			var took []time.Duration
			k := 0
			for i := uint32(1); time.Now().Before(end); {
				at := time.Now()
				for range depth {
					i++
					switch what {
					case "lookup":
						(&wire.NameRequest{MsgID: i, Parent: big, Name: fmt.Appendf(nil, "file-%06d", 1+i*7919%10000), Identity: id}).Append(&e, wire.FuseLookup)
					case "getattr":
						(&wire.Getattr{MsgID: i, Inode: 2 + meta.Inode(i*7919%10000)}).Append(&e)
					default:
						(&wire.Readdir{MsgID: i, Inode: small, Identity: id, Flags: 1, Max: ^uint32(0)}).Append(&e)
					}
				}
				send()
				for range depth {
					if recv() == nil {
						return
					}
				}
				took = append(took, time.Since(at))
				k += depth
			}
			mu.Lock()
			all = append(all, took...)
			n += k
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	fmt.Printf("%-8s %2d conns depth %2d %-16s %8.0f/s  p50 %v p99 %v\n", what, conns, depth, addr, float64(n)/time.Since(began).Seconds(), all[len(all)/2].Round(time.Microsecond), all[len(all)*99/100].Round(time.Microsecond))
}
