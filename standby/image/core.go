package image

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/dgraph-io/badger/v4"

	"mfsstandby/changelog/meta"
)

// core is the tables of an image over one state of the store: the newest, for
// the writer, or a past one, for a View.
type core struct {
	db    *badger.DB
	txn   *badger.Txn // reads what core is over
	gate  *gate       // to be passed before txn is used; nil is always open
	limit int64       // bytes to keep cached in a View; the writer looks after itself

	pub    meta.Scalars
	priv   privScalars
	mem    int64 // bytes of all cached pages
	dirty  int64 // bytes of those that are dirty
	st     *meta.State
	tables []anyTable
	later  []*page[dirPage] // directories with pending totals
	found  found
	groups map[uint64][]uint32 // bucketPrefix -> numbers of its nonempty groups, ascending

	detachedTail uint64 // files put at the end of a bucket
	freeFrom     uint32 // words of the bitmap below this are full
	before       func() // makes the store agree with the cache before a scan

	nodes    *table[nodePage]
	dirs     *table[dirPage]
	buckets  *table[bucketPage]
	slots    *table[slotPage]
	chunks   *table[chunkPage]
	free     *table[freePage]
	bitmap   *table[bitmapPage]
	values   *table[xattrValue]
	symlinks *table[sparsePage[string]]
	hard     *table[sparsePage[[]meta.HardLink]]
	detached *table[sparsePage[detached]]
	members  *table[sparsePage[bucketMember]]
	xattrs   *table[sparsePage[xattrList]]
	acls     *table[sparsePage[acls]]
	quotas   *table[sparsePage[meta.Quota]]
	sessions *table[sparsePage[meta.Session]]
	open     *table[sparsePage[[]meta.SessionID]]
	flocks   *table[sparsePage[[]meta.Flock]]
	plocks   *table[sparsePage[[]meta.PosixOwner]]
	servers  *table[sparsePage[meta.ServerInfo]]
	classes  *table[sparsePage[meta.Class]]
	patterns *table[sparsePage[meta.Pattern]]
}

// privScalars are the image's own single values.
type privScalars struct {
	detachedOrder      uint64 // of the next file put at the head of a bucket; counts down
	freeHead, freeTail uint64 // of the free queue, as numbers of entries since the start
	freeUnordered      bool   // times in the free queue may not ascend
}

func newCore(db *badger.DB, txn *badger.Txn) *core {
	c := &core{db: db, txn: txn, groups: map[uint64][]uint32{}}
	c.nodes = addTable(c, nodeCodec, false)
	c.dirs = addTable(c, dirCodec, false)
	c.buckets = addTable(c, bucketCodec, false)
	c.slots = addTable(c, slotCodec, false)
	c.chunks = addTable(c, chunkCodec, false)
	c.free = addTable(c, freeCodec, false)
	c.bitmap = addTable(c, bitmapCodec, true)
	c.values = addTable(c, xattrValueCodec, false)
	c.symlinks = addTable(c, symlinkCodec.codec(), false)
	c.hard = addTable(c, hardCodec.codec(), false)
	c.detached = addTable(c, detachedCodec.codec(), false)
	c.members = addTable(c, memberCodec.codec(), false)
	c.xattrs = addTable(c, xattrCodec.codec(), false)
	c.acls = addTable(c, aclCodec.codec(), false)
	c.quotas = addTable(c, quotaCodec.codec(), true)
	c.sessions = addTable(c, sessionCodec.codec(), true)
	c.open = addTable(c, openCodec.codec(), true)
	c.flocks = addTable(c, flockCodec.codec(), true)
	c.plocks = addTable(c, plockCodec.codec(), true)
	c.servers = addTable(c, serverCodec.codec(), true)
	c.classes = addTable(c, classCodec.codec(), true)
	c.patterns = addTable(c, patternCodec.codec(), true)
	slices.SortFunc(c.tables, func(a, b anyTable) int { return cmp.Compare(a.id(), b.id()) }) // as in the store, see bulk
	c.st = c.state(false)
	return c
}

func addTable[P any](c *core, codec codec[P], resident bool) *table[P] {
	t := &table[P]{
		codec: codec, src: c, found: &c.found, resident: resident,
		size: int(unsafe.Sizeof(page[P]{})), last: math.MaxUint64, mem: &c.mem, dirtyMem: &c.dirty,
	}
	c.tables = append(c.tables, t)
	return t
}

// storeKey is where a page is kept: its table's prefix and its key.
func storeKey(prefix byte, key uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, key)
}

func (c *core) read(prefix byte, key uint64, found func([]byte) error) error {
	if !c.gate.enter() {
		return ErrClosed
	}
	defer c.gate.leave()
	item, err := c.txn.Get(storeKey(prefix, key))
	switch err {
	case nil:
		return item.Value(found)
	case badger.ErrKeyNotFound:
		return nil
	}
	return fmt.Errorf("reading the image: %w", err)
}

func (c *core) fail(err error) { c.st.Fail(err) }

func (c *core) grew() {
	if c.limit > 0 && c.mem > c.limit {
		c.evict(c.limit/8, 0)
	}
}

// evict frees about want bytes, from each table by its share.
func (c *core) evict(want int64, done uint64) {
	var held int64
	for _, t := range c.tables {
		held += t.held()
	}
	for _, t := range c.tables {
		if n := t.held(); n > 0 {
			t.evict(int64(float64(want)*float64(n)/float64(held))+1, done)
		}
	}
}

// load reads the resident tables and what else is kept in memory.
func (c *core) load() error {
	for _, t := range c.tables {
		if !t.isResident() {
			continue
		}
		if err := c.walk(t.id(), 0, true, t.loadStored); err != nil {
			return err
		}
	}
	return c.walk(c.members.prefix, 0, false, func(key uint64, _ []byte) error {
		c.addGroup(key)
		return nil
	})
}

// findLasts finds the greatest key of each table.
func (c *core) findLasts() {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues, opt.Reverse = false, true
	it := c.txn.NewIterator(opt)
	defer it.Close()
	for _, t := range c.tables {
		last := uint64(0)
		if it.Seek(storeKey(t.id(), math.MaxUint64)); it.Valid() {
			if key := it.Item().Key(); len(key) == 9 && key[0] == t.id() {
				last = binary.BigEndian.Uint64(key[1:])
			}
		}
		t.setLast(last)
	}
}

// walk yields the stored pages of a table, ascending from a key.
func (c *core) walk(prefix byte, from uint64, values bool, yield func(key uint64, value []byte) error) error {
	return c.each([]byte{prefix}, storeKey(prefix, from), values, func(key, value []byte) error {
		if len(key) != 9 {
			return fmt.Errorf("image is damaged: key %x", key)
		}
		return yield(binary.BigEndian.Uint64(key[1:]), value)
	})
}

// each yields what is stored under a prefix, ascending from a key. What it
// yields is valid until it goes on; yield may take its time, and the store may
// be closed meanwhile.
func (c *core) each(prefix, from []byte, values bool, yield func(key, value []byte) error) error {
	if !c.gate.enter() {
		return ErrClosed
	}
	opt := badger.DefaultIteratorOptions
	opt.Prefix, opt.PrefetchValues = prefix, false // it would start a goroutine for each value
	it := c.txn.NewIterator(opt)
	c.gate.add(it)
	var value []byte
	var err error
	for it.Seek(from); err == nil && it.Valid(); {
		item := it.Item()
		key := item.Key()
		if values {
			value, err = item.ValueCopy(value)
		}
		if err != nil {
			break
		}
		c.gate.leave()
		err = yield(key, value)
		if !c.gate.enter() {
			return ErrClosed // which ended the iterator, too
		}
		if err == nil {
			it.Next()
		}
	}
	c.gate.end(it)
	c.gate.leave()
	return err
}

// errStop ends a walk early.
var errStop = fmt.Errorf("stop")

// scan yields the pages of a table, ascending from a key. The page is valid
// until the next one. What is not all in memory is scanned in the store, to which
// changed pages are written first: that is for the writer, not for its readers.
func scan[P any](a accessor, t *table[P], from uint64) iter.Seq2[uint64, *P] {
	c := a.img
	return func(yield func(uint64, *P) bool) {
		if t.resident {
			for _, key := range t.keys() {
				if key >= from && !yield(key, &t.pages.find(key).val) {
					return
				}
			}
			return
		}
		if c.before != nil {
			if a.ro {
				panic("image: a large table is scanned under Read: take a View")
			}
			c.before()
		}
		err := c.walk(t.prefix, from, true, func(key uint64, b []byte) error {
			p := page[P]{key: key}
			if err := t.fill(&p, b); err != nil {
				return err
			}
			if !yield(key, &p.val) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			c.fail(err)
		}
	}
}

// addGroup tells whether the group was empty.
func (c *core) addGroup(key uint64) bool {
	prefix, group := key&^(1<<groupBits-1), uint32(key)
	list := c.groups[prefix]
	i, found := slices.BinarySearch(list, group)
	if !found {
		c.groups[prefix] = slices.Insert(list, i, group)
	}
	return !found
}

func (c *core) removeGroup(key uint64) {
	prefix, group := key&^(1<<groupBits-1), uint32(key)
	list := c.groups[prefix]
	if i, found := slices.BinarySearch(list, group); found {
		c.groups[prefix] = slices.Delete(list, i, i+1)
	}
}

// unusedPage tells whether none of the inodes of a node's page is in use, but
// for ino itself: then the page is not in the store.
func (c *core) unusedPage(ino meta.Inode) bool {
	p := &c.bitmap.get(uint64(ino >> bitmapBits)).val
	word := p.words[int(ino>>6)&(len(p.words)-1)] &^ (1 << (ino & 63))
	return word>>(ino&63&^(nodesPerPage-1))&(1<<nodesPerPage-1) == 0
}

// lowestFree finds the lowest inode number not in use.
func (c *core) lowestFree() meta.Inode {
	const perPage = 1 << (bitmapBits - 6)
	for {
		p := &c.bitmap.get(uint64(c.freeFrom / perPage)).val
		for i := c.freeFrom % perPage; i < perPage; i++ {
			if w := p.words[i]; w != ^uint64(0) {
				return meta.Inode(c.freeFrom<<6 | uint32(bits.TrailingZeros64(^w)))
			}
			c.freeFrom++
		}
	}
}

// age begins a new generation of changes, and returns the one that ended.
func (c *core) age() (ended uint32) {
	for _, t := range c.tables {
		ended = t.age()
	}
	return ended
}

// addTotals notes what is to be added to a directory's totals.
func (c *core) addTotals(dir meta.Inode, s *meta.Stats) {
	p := c.dirs.get(uint64(dir))
	if !p.val.present {
		return
	}
	if !p.val.unsettled {
		c.dirs.touch(p)
		p.val.unsettled = true
		c.later = append(c.later, p)
	}
	p.val.pending.Add(s)
}

// settle adds what is pending to the totals of all directories. Entries that
// follow one another change the same directories, and near the root all of them
// do: so each is changed once for hundreds of entries, not once for each. The
// list grows upwards while it is worked off.
func (c *core) settle() {
	for i := 0; i < len(c.later); i++ {
		d := &c.later[i].val
		s := d.pending
		d.pending, d.unsettled = meta.Stats{}, false
		if s == (meta.Stats{}) {
			continue
		}
		d.Stats.Add(&s)
		if d.Parent != 0 {
			c.addTotals(d.Parent, &s)
		}
	}
	clear(c.later)
	c.later = c.later[:0]
}

// drop forgets all that is cached.
func (c *core) drop() {
	c.found.empty()
	for _, t := range c.tables {
		t.drop()
	}
	c.mem, c.dirty, c.freeFrom = 0, 0, 0
	clear(c.later)
	c.later = c.later[:0]
	clear(c.groups)
}

// digestScalars is the share of the single values that entries change.
func (c *core) digestScalars() Sum {
	b := []byte{'0'}
	b = put64(put64(b, c.pub.MetaID), uint64(c.pub.NextChunk))
	b = put32(b, uint32(c.pub.NextSession))
	b = put64(b, c.pub.NextEdge)
	b = put32(b, uint32(c.pub.MaxInode))
	if c.pub.ECVersion != 0 { // there was none when images were made first
		b = append(b, c.pub.ECVersion)
	}
	return hashRecord(b)
}
