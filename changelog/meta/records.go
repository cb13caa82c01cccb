package meta

// Node is what metadata.mfs keeps of one inode, plus what is derived from
// other sections and needed at every change. The target of a symlink, the
// chunks of a file after its first and the totals of a directory are in the
// tables Symlinks, Slots and Dirs.
type Node struct {
	Type                Type
	Class               uint8  // storage class id; 0 for kinds that have no data
	Eattr               uint8  // Eattr* bits
	Winattr             uint8  // Windows attributes, opaque
	Mode                uint16 // low 12 bits
	TrashHours          uint16 // trash retention in hours
	UID, GID            uint32
	Atime, Mtime, Ctime Time

	Flags uint8 // Has* bits: which other tables know this inode
	Ratio uint8 // file: what its data counts in the "realsize" of its directories, see RealSize

	// Names of a non-directory. With one edge, Parent and NameHash lead to it;
	// with more, Hard[inode] lists all of them and Parent and NameHash are
	// those of the first. Trash and sustained files have none. A directory's
	// only edge is in its Dir record too.
	Links    uint32
	Parent   Inode
	NameHash uint32 // HashName of the edge's name

	Rdev   uint32 // devices; of a file or directory with TrashSeconds its trash retention
	Length uint64 // files: bytes
	Slots  uint32 // files: size of the chunk table, trailing holes included
	Used   uint32 // files: slots that hold a chunk
	Chunk0 ChunkID
}

// Bits of Node.Flags: what other tables hold, but for the last.
const (
	HasXattr      = 1 << iota // Xattrs has at least one attribute
	HasAccessACL              // ACLs has an access ACL
	HasDefaultACL             // ACLs has a default ACL
	KeepMode                  // 4.x: chunks are back from the archive and stay so; never stored in metadata.mfs

	// TrashSeconds marks a file or directory of a release before 3.0.92, which
	// kept the trash retention in seconds: they are in Rdev, and TrashHours is
	// what later releases make of them.
	TrashSeconds
)

// SetTrash sets the trash retention as releases before 3.0.92 kept it.
func (n *Node) SetTrash(seconds uint32) {
	n.Flags |= TrashSeconds
	n.Rdev, n.TrashHours = seconds, TrashHoursOf(seconds)
}

// Trash returns the trash retention in seconds.
func (n *Node) Trash() uint64 {
	if n.Flags&TrashSeconds != 0 {
		return uint64(n.Rdev)
	}
	return uint64(n.TrashHours) * 3600
}

// TrashHoursOf gives a trash retention in hours, as releases since 3.0.92 keep
// it: rounded up, with the overflow of their 32 and 16 bits.
func TrashHoursOf(seconds uint32) uint16 { return uint16((seconds + 3599) / 3600) }

// Dir is the part of a directory's node that only directories have. There is
// one for every node of TypeDir.
type Dir struct {
	Parent   Inode  // 0 for the root
	Name     string // in Parent; "" for the root
	Elements uint32 // number of edges in it
	Subdirs  uint32 // number of those that are directories; link count is 2+Subdirs
	Stats    Stats  // sums over everything below it, itself excluded
}

// Stats are the recursive totals of a directory, all modulo their width, as
// mfsmaster keeps them (and mfsdirinfo prints them).
type Stats struct {
	Inodes, Dirs, Files, Chunks uint32
	Length, Size, RealSize      uint64
}

// Add adds t to s.
func (s *Stats) Add(t *Stats) {
	s.Inodes += t.Inodes
	s.Dirs += t.Dirs
	s.Files += t.Files
	s.Chunks += t.Chunks
	s.Length += t.Length
	s.Size += t.Size
	s.RealSize += t.RealSize
}

// Sub subtracts t from s.
func (s *Stats) Sub(t *Stats) {
	s.Inodes -= t.Inodes
	s.Dirs -= t.Dirs
	s.Files -= t.Files
	s.Chunks -= t.Chunks
	s.Length -= t.Length
	s.Size -= t.Size
	s.RealSize -= t.RealSize
}

// Edge is a name in a directory.
type Edge struct {
	Child Inode
	Dir   bool   // Child is a directory
	ID    uint64 // edge id: given downward, so a list in id order is newest first
	Order uint64 // position in the directory's list, ascending; equal to ID except after id trouble
	Name  []byte // 1..255 bytes
}

// HardLink is one of several edges that lead to a non-directory.
type HardLink struct {
	Parent   Inode
	NameHash uint32
}

// Slot addresses one entry of a file's chunk table.
type Slot struct {
	Inode Inode
	Index uint32 // 1..MaxIndex; index 0 is Node.Chunk0
}

// Detached is a file without a directory: in the trash or sustained.
type Detached struct {
	Kind   Type   // TypeTrash or TypeSustained
	EdgeID uint64 // its parentless edge has an id too
	Path   string // 1..1024 bytes, where it was, without leading slash
}

// Chunk is one chunk as the master's own record has it; where its copies are
// is not part of the replicated metadata.
type Chunk struct {
	Version  uint32
	LockedTo Time   // being written until then; 0 is unlocked
	Flags    uint8  // Chunk* bits
	Files    uint32 // derived: slots of files that hold it
}

// Bits of Chunk.Flags. The first two are numbered as in metadata.mfs.
const (
	ChunkArchive = 0x01 // stored after its class's archive labels
	ChunkTrash   = 0x02 // stored after its class's trash labels; since 4.x
	ChunkZeros   = 0x04 // may be read as zeros; since 4.x
)

// ACLKey addresses a POSIX ACL.
type ACLKey struct {
	Inode Inode
	Type  uint8 // ACLAccess or ACLDefault
}

// Types of ACL.
const (
	ACLAccess  = 1
	ACLDefault = 2
)

// ACL is a POSIX ACL; 0xFFFF in a permission means "not set".
type ACL struct {
	User, Group, Other, Mask uint16
	Users, Groups            []ACLEntry // named ones, in order
}

// Repair gives an ACL without a mask one that permits all, and takes what the
// mode says for the owner and others: releases before 3.0.98 left masks empty by
// mistake.
func (a *ACL) Repair(mode uint16) {
	a.User = a.User&^7 | mode>>6&7
	a.Other = a.Other&^7 | mode&7
	a.Mask = 7
}

// ACLEntry is the permission of one named user or group.
type ACLEntry struct {
	ID   uint32
	Perm uint16
}

// Xattr is one extended attribute.
type Xattr struct {
	Name  string // 1..255 bytes, with its prefix ("user.x")
	Value []byte // at most 65536 bytes
}

// Quota is the quota record of a directory. Flags: soft limits in the low
// four bits (inodes, length, size, real size), hard ones in the high four.
type Quota struct {
	Grace              uint32 // seconds
	Exceeded           bool
	Flags              uint8
	SoftTime           Time // when the soft limit was first crossed, 0 if not
	SoftInodes         uint32
	HardInodes         uint32
	SoftLength         uint64
	HardLength         uint64
	SoftSize           uint64
	HardSize           uint64
	SoftReal, HardReal uint64
}

// SessionCounters is the number of per-session operation counters in 3.0.117.
const SessionCounters = 16

// Session is a client session. The operation counters never come through the
// changelog; they are kept as the metadata file had them; 4.x has none.
type Session struct {
	ExportsSum         uint64
	Peer               uint32 // IPv4
	Root               Inode  // 0 for a meta mount
	Flags              uint8
	Umask              uint16
	MinGoal, MaxGoal   uint8  // before 4.x
	Groups             uint16 // since 4.x: storage class groups it may use, one bit each
	MinTrash, MaxTrash uint32 // seconds
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	Disables           uint32
	Disconnected       Time // 0 while connected
	Info               []byte
	Current, Last      [SessionCounters]uint32
	Open               uint32 // derived: files it holds open
}

// Flock is an active flock(2) lock.
type Flock struct {
	Session SessionID
	Owner   uint64
	Write   bool
}

// PosixOwner holds the byte ranges one owner has locked in one file.
type PosixOwner struct {
	Session SessionID
	Owner   uint64
	PID     uint32
	Ranges  []PosixRange // ascending, merged
}

// PosixRange is a locked byte range [Start, End).
type PosixRange struct {
	Start, End uint64
	Write      bool
}

// Server addresses a chunkserver.
type Server struct {
	IP   uint32
	Port uint16
}

// ServerInfo is what the master remembers of a chunkserver.
type ServerInfo struct {
	ID          uint16 // 0 is none
	Maintenance uint8  // 0 off, 1 on, 2 temporary
	Timeout     Time   // end of maintenance, 0 is none
}

// Scalars are the single values of an image.
type Scalars struct {
	MetaID       uint64
	NextChunk    ChunkID
	NextSession  SessionID
	NextEdge     uint64
	MaxInode     Inode
	LastFreed    Time    // time of the newest entry of the free list, 0 if none is known
	ClassesUsed  uint16  // storage class ids at and above this were never given out
	Release      Release // of the primary: entries have the effect that they have there; see changelog.SetRelease
	ECVersion    uint8   // erasure coding in use, since 4.x: 0 none, 1, or 2 with four data parts too
	PatternCount uint16  // in Patterns
	Nodes        Counts
}

// Counts are totals over all nodes, derived.
type Counts struct {
	All, Dirs, Files           uint64 // Files: all of Type.IsFile
	Trash, Sustained           uint64
	TrashBytes, SustainedBytes uint64
}
