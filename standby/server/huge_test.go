package server

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// hugeDir makes a directory, inode 2, of n files: inode 3 has the name 0, and so
// on. It returns the id of the first's edge; each further one is one less.
func (f *fixture) hugeDir(n int) (firstEdge uint64) {
	f.t.Helper()
	f.apply("1001|CREATE(1,huge,2,488,0,10,20,0):2")
	for i := 0; i < n; {
		f.update(func(st *meta.State) error {
			for end := min(i+10_000, n); i < end; i++ {
				f.b.Reset()
				now, op, err := f.b.Parse(fmt.Appendf(nil, "1001|CREATE(2,%d,1,420,0,10,20,0):%d", i, 3+i))
				if err == nil {
					err = op.Apply(st, now)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := f.img.Read(func(st *meta.State, _ image.Position) error {
		e, _ := st.Edges.Get(2, []byte("0"))
		firstEdge = e.ID
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return firstEdge
}

// A huge directory is read in pages while names come and go in it: every name that
// stays comes once, even if the listing is made anew in between. It has 100,000
// names, or MFSSTANDBY_HUGE_NAMES, such as 1000000. Answers do not tell the cursor of the next page, as the stock master's do not;
// it is the id of an edge.
func TestHugeDirectoryInPages(t *testing.T) {
	names := 100_000
	if n, err := strconv.Atoi(os.Getenv("MFSSTANDBY_HUGE_NAMES")); err == nil {
		names = n
	}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.silence = time.Hour }) // this client sends no NOPs
	first := f.hugeDir(names)
	var stop atomic.Bool
	busy := make(chan int)
	go func() { // every third name goes, from both ends of the list, and new ones come
		tick := time.NewTicker(400 * time.Microsecond) // two entries each
		defer tick.Stop()
		i := 0
		defer func() { busy <- i }()
		for ; !stop.Load(); i++ {
			<-tick.C
			gone := 3 * (i / 2)
			if i%2 == 1 {
				gone = names - 1 - gone
			}
			f.apply(fmt.Sprintf("1002|CREATE(2,new-%d,1,420,0,10,20,0):%d", i, names+3+i))
			if gone >= 0 && gone < names {
				f.applyIfThere(fmt.Sprintf("1002|UNLINK(2,%d):%d", gone, 3+gone), strconv.Itoa(gone))
			}
		}
	}()
	c := f.mount("/")
	c.nc.SetDeadline(time.Now().Add(10 * time.Minute))
	in := bufio.NewReaderSize(c.nc, 1<<20)
	seen := make([]bool, names)
	count := 0
	for cursor, page := uint64(0), uint32(1); ; page++ {
		list := c.page(in, &wire.Readdir{MsgID: page, Inode: 2, Identity: root, Max: inlineNames, Cursor: cursor})
		for _, name := range list {
			if i, err := strconv.Atoi(name); err == nil {
				if seen[i] {
					t.Fatalf("page %d: %d comes twice", page, i)
				}
				seen[i] = true
				count++
			}
		}
		if len(list) < inlineNames {
			break
		}
		last := list[len(list)-1]
		if i, err := strconv.Atoi(last); err == nil {
			cursor = first - uint64(i) + 1
		} else {
			i, _ := strconv.Atoi(strings.TrimPrefix(last, "new-"))
			cursor = first - uint64(names+i) + 1
		}
		if page%20 == 10 { // as if others had read so many directories that this listing was dropped
			f.srv.pages.mu.Lock()
			f.srv.pages.lists = nil
			f.srv.pages.mu.Unlock()
		}
	}
	stop.Store(true)
	rounds := <-busy
	t.Logf("%d names seen while %d came and as many went", count, rounds)
	for i, ok := range seen {
		if !ok && i%3 != 0 && (names-1-i)%3 != 0 {
			t.Fatalf("%d was there all the time and was not listed", i)
		}
	}
	if count < names/3 {
		t.Errorf("only %d names of %d are left", count, names)
	}
}

// applyIfThere applies an entry about a name of directory 2 that may be gone.
func (f *fixture) applyIfThere(entry, name string) {
	f.t.Helper()
	found := false
	if err := f.img.Read(func(st *meta.State, _ image.Position) error {
		_, found = st.Edges.Get(2, []byte(name))
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	if found {
		f.apply(entry)
	}
}

// page asks for names of a directory.
func (c *client) page(in *bufio.Reader, req *wire.Readdir) []string {
	c.t.Helper()
	req.Append(&c.out)
	if _, err := c.nc.Write(c.out.Buf); err != nil {
		c.t.Fatal(err)
	}
	c.out.Buf = c.out.Buf[:0]
	for {
		typ, p, err := wire.ReadPacket(in, nil, wire.ClientMaxLength)
		if err != nil {
			c.t.Fatal(err)
		}
		if typ == wire.Nop {
			continue
		}
		head := wire.ReaddirReply{Paged: true}
		if err := head.Decode(wire.NewDecoder(p)); err != nil || head.MsgID != req.MsgID {
			c.t.Fatalf("answer to %+v: %v of message %d, %v", req, typ, head.MsgID, err)
		}
		var names []string
		for d := wire.NewDecoder(head.Entries); d.Len() > 0; {
			var e wire.DirEntry
			if err := e.Decode(d, req.Flags, c.rel); err != nil {
				c.t.Fatal(err)
			}
			names = append(names, string(e.Name))
		}
		return names
	}
}
