package server

import (
	"bufio"
	"fmt"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
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
