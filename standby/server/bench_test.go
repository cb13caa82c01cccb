package server

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// BenchmarkRequests measures requests answered per second, over TCP on this
// machine: one at a time, and several on the way at once.
func BenchmarkRequests(b *testing.B) {
	f := newFixture(b, everyone)
	const names = 10_000
	f.update(func(st *meta.State) error {
		for i := range names {
			ino := meta.Inode(2 + i)
			st.Inodes.Reserve(ino)
			st.Nodes.Insert(ino, meta.Node{Type: meta.TypeFile, Mode: 0o644, Links: 1, Parent: 1})
			st.Edges.InsertHead(1, fmt.Appendf(nil, "name%d", i), ino, false, uint64(1_000_000-i))
		}
		d, _ := st.Dirs.Edit(1)
		d.Elements = names
		small := meta.Inode(names + 10)
		st.Inodes.Reserve(small)
		st.Nodes.Insert(small, meta.Node{Type: meta.TypeDir, Mode: 0o755})
		st.Dirs.Insert(small, meta.Dir{Parent: 1, Name: "small", Elements: 20})
		for i := range 20 {
			st.Edges.InsertHead(small, fmt.Appendf(nil, "name%d", i), meta.Inode(2+i), false, uint64(2_000_000-i))
		}
		return nil
	})
	for name, ask := range map[string]func(e *wire.Encoder, i uint32){
		"lookup": func(e *wire.Encoder, i uint32) {
			(&wire.NameRequest{MsgID: i, Parent: 1, Name: fmt.Appendf(nil, "name%d", i%names), Identity: root}).Append(e, wire.FuseLookup)
		},
		"getattr": func(e *wire.Encoder, i uint32) { (&wire.Getattr{MsgID: i, Inode: meta.Inode(2 + i%names)}).Append(e) },
		"readdir": func(e *wire.Encoder, i uint32) {
			(&wire.Readdir{MsgID: i, Inode: names + 10, Identity: root, Flags: wire.ReaddirAttr, Max: ^uint32(0)}).Append(e)
		},
	} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", name, depth), func(b *testing.B) {
				c := f.mount("/")
				in := bufio.NewReaderSize(c.nc, 1<<20)
				buf := make([]byte, 1<<16)
				b.ReportAllocs()
				for i := uint32(1); b.Loop(); i++ {
					ask(&c.out, i)
					if i%uint32(depth) != 0 {
						continue
					}
					if _, err := c.nc.Write(c.out.Buf); err != nil {
						b.Fatal(err)
					}
					c.out.Buf = c.out.Buf[:0]
					for range depth {
						for {
							t, _, err := wire.ReadPacket(in, buf, wire.ClientMaxLength)
							if err != nil {
								b.Fatal(err)
							}
							if t != wire.Nop {
								break
							}
						}
					}
				}
				c.nc.Close()
			})
		}
	}
}

// BenchmarkListing measures answers about random directories of 30 names, made
// one name here, one there.
func BenchmarkListing(b *testing.B) {
	f := newFixture(b, everyone)
	const dirs, names = 1700, 30
	f.update(func(st *meta.State) error {
		for i := range dirs {
			ino := meta.Inode(2 + i)
			st.Inodes.Reserve(ino)
			st.Nodes.Insert(ino, meta.Node{Type: meta.TypeDir, Mode: 0o755, Links: 1, Parent: 1})
			st.Dirs.Insert(ino, meta.Dir{Parent: 1, Name: fmt.Sprint(i), Elements: names})
		}
		rng := rand.New(rand.NewPCG(1, 1))
		id := uint64(1 << 40)
		for i := range names * dirs {
			ino := meta.Inode(2 + dirs + i)
			st.Inodes.Reserve(ino)
			d := meta.Inode(2 + rng.IntN(dirs))
			st.Nodes.Insert(ino, meta.Node{Type: meta.TypeFile, Mode: 0o644, Links: 1, Parent: d})
			st.Edges.InsertHead(d, fmt.Appendf(nil, "some-name-%d", i), ino, false, id)
			id--
		}
		return nil
	})
	rng := rand.New(rand.NewPCG(1, 2))
	who := changelog.Caller{Session: 1, Root: 1, User: changelog.User{GIDs: []uint32{0}}}
	var e wire.Encoder
	var l listing
	b.ReportAllocs()
	if err := f.img.Read(func(st *meta.State, _ image.Position) error {
		for b.Loop() {
			ino := meta.Inode(2 + rng.IntN(dirs))
			e.Buf = e.Buf[:0]
			req := wire.Readdir{MsgID: 1, Inode: ino, Flags: wire.ReaddirAttr, Max: ^uint32(0)}
			l = listing{e: &e, st: st, who: &who, req: req, client: wire.NewRelease(3, 0, 117), edges: l.edges[:0], nodes: l.nodes[:0], order: l.order, orders: &f.srv.orders}
			n, _ := st.Nodes.Get(ino)
			l.append(ino, &n)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}
