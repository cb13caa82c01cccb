package meta

import (
	"iter"

	"github.com/zeebo/xxh3"
)

// Table is an ordered set of records of one kind. Pointers that Edit and
// Insert return are valid until the next State.Pause or the end of the entry.
// A storage error sticks to the State (see State.Err) and voids the entry.
type Table[K, V any] interface {
	Get(K) (V, bool)             // a copy (slices are shared: do not change their elements)
	Edit(K) (*V, bool)           // in place; the record becomes dirty
	Insert(K, V) *V              // the key must be absent
	Delete(K)                    // the key must be present
	Scan(from K) iter.Seq2[K, V] // ascending by key, from included; the table must not change meanwhile
}

// DirTable holds the directories. Adding to the totals of one and of all above
// it is what nearly every entry does; a storage may put it off until somebody
// looks.
type DirTable interface {
	Table[Inode, Dir]
	// Add adds to the totals of a directory and of all above it, as far as
	// they exist.
	Add(dir Inode, s Stats)
	// Count adds to Elements and Subdirs of a directory, if it exists, modulo
	// their width.
	Count(dir Inode, elements, subdirs uint32)
	// Up returns where a directory is: Parent and Name of its record.
	Up(dir Inode) (parent Inode, name string, ok bool)
}

// EdgeTable holds the names of all directories. Each directory's names have
// an order ("the list"), newest first.
type EdgeTable interface {
	// Get finds a name; the Edge's Name is not filled in.
	Get(parent Inode, name []byte) (Edge, bool)
	// InsertHead puts a new name at the head of parent's list. The name must
	// be absent; it is copied.
	InsertHead(parent Inode, name []byte, child Inode, dir bool, id uint64)
	// InsertTail puts a name at the end of the list (reading metadata files).
	InsertTail(parent Inode, name []byte, child Inode, dir bool, id uint64)
	// SetID changes the id of an edge, not its place.
	SetID(parent Inode, name []byte, id uint64)
	// Delete removes a name, which must be present.
	Delete(parent Inode, name []byte)
	// List returns the names of parent in list order, head first, as copies.
	List(parent Inode) []Edge
	// Find returns the name by which parent leads to child; hash is
	// HashName of it (Node.NameHash).
	Find(parent, child Inode, hash uint32) ([]byte, bool)
	// Scan yields every nonempty directory with its List, ascending by inode.
	Scan() iter.Seq2[Inode, []Edge]
}

// DetachedTable holds files in trash and sustained, in buckets by inode. Each
// bucket is a list, newest at its head.
type DetachedTable interface {
	Get(Inode) (Detached, bool)
	InsertHead(Inode, Detached) // the inode must be absent
	InsertTail(Inode, Detached) // at the end (reading metadata files); so must it here
	Delete(Inode)               // must be present
	// Bucket returns the inodes of a bucket, head first: kind is TypeTrash
	// (0..4095) or TypeSustained (0..255).
	Bucket(kind Type, bucket uint32) []Inode
}

// XattrTable holds extended attributes; those of one inode form a list.
type XattrTable interface {
	Get(ino Inode, name []byte) ([]byte, bool)
	Names(Inode) []string                 // in list order
	Put(ino Inode, name, value []byte)    // replaces in place, or inserts at the head
	Append(ino Inode, name, value []byte) // at the end; the name must be absent
	Delete(ino Inode, name []byte)        // must be present
	DeleteAll(Inode)
	Scan() iter.Seq2[Inode, []Xattr] // ascending by inode, each in list order
}

// OpenTable holds which session has which file open.
type OpenTable interface {
	Has(SessionID, Inode) bool
	Any(Inode) bool // some session has it open
	Add(SessionID, Inode)
	Remove(SessionID, Inode)           // must be present
	Of(SessionID) []Inode              // ascending
	Scan() iter.Seq2[SessionID, Inode] // ascending by inode, then session
}

// FreedInode is an inode number that waits to be used again.
type FreedInode struct {
	Inode Inode
	Freed Time
}

// InodeTable hands out inode numbers. A number is used from Alloc or Reserve
// until Release: while its node exists and while it waits in the free queue.
type InodeTable interface {
	Alloc() Inode        // the lowest number not in use; marks it used
	Reserve(Inode)       // marks a number used (reading metadata files)
	Release(Inode)       // marks it unused
	PushFree(FreedInode) // at the end of the free queue
	PopFree()            // removes its first entry
	FirstFree() (FreedInode, bool)
	FreeLen() uint32
	ClampFree(Time)                 // every entry freed later is set to this time
	ScanFree() iter.Seq[FreedInode] // in queue order
}

// State is the whole metadata at one version, as an operation sees it. After
// an operation returned an error the State is void.
type State struct {
	*Scalars
	Nodes    Table[Inode, Node]
	Dirs     DirTable
	Symlinks Table[Inode, string]
	Slots    Table[Slot, ChunkID] // chunks of index 1 and above; holes are absent
	Hard     Table[Inode, []HardLink]
	Edges    EdgeTable
	Detached DetachedTable
	Chunks   Table[ChunkID, Chunk]
	Xattrs   XattrTable
	ACLs     Table[ACLKey, ACL]
	Quotas   Table[Inode, Quota]
	Sessions Table[SessionID, Session]
	Open     OpenTable
	Flocks   Table[Inode, []Flock]
	Plocks   Table[Inode, []PosixOwner]
	Servers  Table[Server, ServerInfo]
	Classes  Table[uint8, Class]
	Patterns Table[uint16, Pattern] // by place in the order in which they are tried, from 0 without gap
	Inodes   InodeTable

	// Pause, if set, may write changed records out to make room. Operations
	// whose cost has no bound call it between elements, when they hold no
	// pointer into a table.
	Pause func()

	// Originate makes operations write the results of their entries, which are
	// compared otherwise: the entry comes into being here.
	Originate bool

	err error
}

// Fail records a storage error; the first one stays.
func (s *State) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Err returns the storage error that voided the State, if any.
func (s *State) Err() error { return s.err }

// MakeRoom calls Pause if there is one.
func (s *State) MakeRoom() {
	if s.Pause != nil {
		s.Pause()
	}
}

// NoEdgeID is where a name without an edge id, which is 0, stands in the list
// of its directory if there is nothing else to go by: names can be put before
// and behind it, and before those with ids.
const NoEdgeID = EdgeIDMax / 2

// HashName is the hash by which names are found.
func HashName(name []byte) uint32 { return uint32(xxh3.Hash(name)) }

// Chunk returns the chunk in slot i of a file, 0 for a hole or past the table.
func (s *State) Slot(ino Inode, n *Node, i uint32) ChunkID {
	switch {
	case i >= n.Slots:
		return 0
	case i == 0:
		return n.Chunk0
	}
	id, _ := s.Slots.Get(Slot{ino, i})
	return id
}

// SetSlot puts a chunk (or 0, a hole) into slot i, which must be within the
// file's table, and keeps n.Used. It does not count references of chunks.
func (s *State) SetSlot(ino Inode, n *Node, i uint32, id ChunkID) {
	old := s.Slot(ino, n, i)
	if old == id {
		return
	}
	if old == 0 {
		n.Used++
	} else if id == 0 {
		n.Used--
	}
	if i == 0 {
		n.Chunk0 = id
		return
	}
	key := Slot{ino, i}
	switch {
	case old == 0:
		s.Slots.Insert(key, id)
	case id == 0:
		s.Slots.Delete(key)
	default:
		p, _ := s.Slots.Edit(key)
		if p != nil {
			*p = id
		}
	}
}
