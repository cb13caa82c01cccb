//go:build e2e

package crash

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// forEver lets the kernel believe what it knows: nobody else changes the disk.
const forEver = 24 * time.Hour

// mounted is a disk as the kernel sees it. Pages are cached, so that files can
// be mapped; what a process changed in a map comes as writes, at the latest
// before a sync.
type mounted struct {
	fuse.RawFileSystem
	*disk
	open map[uint64][]fuse.DirEntry // directories that are being read
	last uint64
}

// mount mounts the disk on an empty directory. The result unmounts it.
func (d *disk) mount(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	m := &mounted{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: d, open: map[uint64][]fuse.DirEntry{}}
	server, err := fuse.NewServer(m, dir, &fuse.MountOptions{
		FsName: "crash", DirectMountStrict: true, DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: 256 << 10,
	})
	if err != nil {
		t.Fatalf("mounting: %v", err)
	}
	go server.Serve() // until it is unmounted
	if err := server.WaitMount(); err != nil {
		t.Fatalf("mounting: %v", err)
	}
	done := false
	unmount = func() {
		t.Helper()
		if done {
			return
		}
		done = true
		if err := server.Unmount(); err != nil {
			unix.Unmount(dir, unix.MNT_DETACH)
			t.Fatalf("unmounting: %v", err)
		}
		server.Wait()
	}
	t.Cleanup(unmount)
	return unmount
}

func (m *mounted) attr(id uint64, a *fuse.Attr) {
	n := m.nodes[id]
	a.Ino, a.Mode, a.Nlink, a.Size = id, n.mode, 1, uint64(n.size)
	a.Blocks, a.Blksize = uint64(len(n.blocks))*(blockSize/512), blockSize
	a.SetTimes(&n.mtime, &n.mtime, &n.mtime)
}

func (m *mounted) entry(id uint64, out *fuse.EntryOut) {
	out.NodeId, out.Generation = id, 1
	out.SetEntryTimeout(forEver)
	out.SetAttrTimeout(forEver)
	m.attr(id, &out.Attr)
}

func (m *mounted) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.nodes[h.NodeId].names[name]
	if id == 0 {
		return fuse.ENOENT
	}
	m.entry(id, out)
	return fuse.OK
}

func (m *mounted) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes[in.NodeId] == nil {
		return fuse.Status(unix.ESTALE)
	}
	out.SetTimeout(forEver)
	m.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (m *mounted) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId]
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&unix.S_IFMT | mode&^uint32(unix.S_IFMT)
	}
	if size, ok := in.GetSize(); ok {
		n.truncate(int64(size))
	}
	if mtime, ok := in.GetMTime(); ok {
		n.mtime = mtime
	}
	out.SetTimeout(forEver)
	m.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

// add makes a node.
func (m *mounted) add(dir uint64, name string, mode uint32, out *fuse.EntryOut) {
	m.disk.last++
	id := m.disk.last
	m.nodes[id] = newNode(mode, dir)
	m.edit(change{{dir, name, 0, id}})
	m.entry(id, out)
}

func (m *mounted) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(in.NodeId, name, in.Mode, out)
	return fuse.OK
}

func (m *mounted) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(in.NodeId, name, unix.S_IFDIR|in.Mode, out)
	return fuse.OK
}

func (m *mounted) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(in.NodeId, name, unix.S_IFREG|in.Mode, &out.EntryOut)
	m.ref(out.NodeId, 1)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (m *mounted) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.edit(change{{h.NodeId, name, m.nodes[h.NodeId].names[name], 0}})
	return fuse.OK
}

func (m *mounted) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.nodes[h.NodeId].names[name]
	if len(m.nodes[id].names) > 0 {
		return fuse.Status(unix.ENOTEMPTY)
	}
	m.edit(change{{h.NodeId, name, id, 0}})
	return fuse.OK
}

func (m *mounted) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	id, old := m.nodes[in.NodeId].names[from], m.nodes[in.Newdir].names[to]
	if old != 0 && len(m.nodes[old].names) > 0 {
		return fuse.Status(unix.ENOTEMPTY)
	}
	if old != id {
		m.edit(change{{in.Newdir, to, old, id}, {in.NodeId, from, id, 0}})
	}
	return fuse.OK
}

func (m *mounted) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes[in.NodeId] == nil {
		return fuse.Status(unix.ESTALE)
	}
	m.ref(in.NodeId, 1)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (m *mounted) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ref(in.NodeId, -1)
}

func (m *mounted) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fuse.ReadResultData(buf[:m.nodes[in.NodeId].read(buf[:in.Size], int64(in.Offset))]), fuse.OK
}

func (m *mounted) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[in.NodeId].write(data, int64(in.Offset))
	if in.Flags&unix.O_DSYNC != 0 { // some kernels send no sync for it
		m.sync(in.NodeId)
	}
	return uint32(len(data)), fuse.OK
}

func (m *mounted) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (m *mounted) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if m.stalls(in.NodeId) {
		time.Sleep(m.stall)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sync(in.NodeId)
	return fuse.OK
}

func (m *mounted) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sync(in.NodeId)
	return fuse.OK
}

func (m *mounted) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId]
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	m.ref(in.NodeId, 1)
	var list []fuse.DirEntry
	for i, name := range slices.Sorted(maps.Keys(n.names)) {
		id := n.names[name]
		list = append(list, fuse.DirEntry{Name: name, Ino: id, Mode: m.nodes[id].mode, Off: uint64(i + 1)})
	}
	m.last++
	m.open[m.last] = list
	out.Fh = m.last
	return fuse.OK
}

func (m *mounted) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.open[in.Fh]
	for _, e := range list[min(len(list), int(in.Offset)):] {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func (m *mounted) ReleaseDir(in *fuse.ReleaseIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, in.Fh)
	m.ref(in.NodeId, -1)
}

func (m *mounted) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 64 << 30 / blockSize
	*out = fuse.StatfsOut{Bsize: blockSize, Frsize: blockSize, NameLen: 255, Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: 1 << 20, Ffree: 1 << 20}
	return fuse.OK
}
