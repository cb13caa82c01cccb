// Package meta holds the metadata of a MooseFS cluster as plain records and
// the port (State) through which a changelog entry changes them. It is pure:
// no storage, no network, no goroutine, no clock. The names of fields follow
// MooseFS's own terms; the layouts follow metadata.mfs of MooseFS 3.0.117.
package meta

import "fmt"

// Inode is the number of a node; 0 is never used, 1 is the root.
type Inode uint32

// ChunkID names a chunk (64 MiB of a file); 0 is a hole.
type ChunkID uint64

// Version numbers changelog entries and the states between them: the entry
// of version V changes a state at V into one at V+1.
type Version uint64

// Time is the primary's wall clock in Unix seconds.
type Time uint32

// SessionID numbers client sessions, from 1.
type SessionID uint32

// RawEntry is one changelog entry as the primary wrote it. Text is what
// follows "VERSION: " in a changelog file, without the newline:
// "1700000000|CREATE(1,a,1,420,18,0,0,0):2".
type RawEntry struct {
	Version Version
	Text    []byte
}

// Time reads the primary's clock off the text, 0 if it does not begin with one.
func (e RawEntry) Time() Time {
	var t uint64
	for i, c := range e.Text {
		switch {
		case c-'0' <= 9 && i < 10:
			t = t*10 + uint64(c-'0')
		case c == '|' && t <= 1<<32-1:
			return Time(t)
		default:
			return 0
		}
	}
	return 0
}

// Root is the inode of the root directory.
const Root Inode = 1

// Limits and constants of MooseFS 3.0.117.
const (
	ChunkBits        = 26                         // a chunk holds 2^26 bytes
	ChunkSize        = 1 << ChunkBits             // bytes of file data in a chunk
	ChunkHeader      = 0x2000                     // bytes a chunk costs beyond its data ("size" statistics)
	BlockSize        = 0x10000                    // bytes; sizes are counted in whole blocks
	MaxIndex         = 0x7FFFFFFF                 // highest chunk index of a file
	MaxName          = 255                        // bytes of a file, attribute or class name
	MaxPath          = 1024                       // bytes of a trash path
	MaxSymlink       = 4096                       // bytes of a symlink's target
	TrashBuckets     = 4096                       // trash bucket = inode mod this
	SustainedBuckets = 256                        // sustained bucket = inode mod this
	EdgeIDMax        = uint64(0x7FFFFFFFFFFFFFFF) // "no edge ids yet"; new ids count down from one below
	MaxClasses       = 256                        // storage class ids are below this
	FirstOwnClass    = 10                         // ids 1..9 are the predefined classes "1".."9"
)

// Type is the kind of a node.
type Type uint8

// The kinds of node, as numbered in metadata.mfs since node section 1.3.
const (
	TypeNone Type = iota // no such node
	TypeFile
	TypeDir
	TypeSymlink
	TypeFifo
	TypeBlockDev
	TypeCharDev
	TypeSocket
	TypeTrash     // a file in the trash: no edge, but a path
	TypeSustained // a file without a name that is still open
)

// IsFile tells whether a node of this type has a length and chunks.
func (t Type) IsFile() bool { return t == TypeFile || t == TypeTrash || t == TypeSustained }

// IsDevice tells whether a node of this type has a device number.
func (t Type) IsDevice() bool { return t == TypeBlockDev || t == TypeCharDev }

// Bits of Node.Eattr.
const (
	EattrNoOwner     = 0x01
	EattrNoACache    = 0x02
	EattrNoECache    = 0x04
	EattrNoDataCache = 0x08
	EattrSnapshot    = 0x10
	EattrUndeletable = 0x20
	EattrAppendOnly  = 0x40
	EattrImmutable   = 0x80
)

// Status is MooseFS's one-byte answer to a request; a nonzero one is an error.
type Status uint8

// The statuses that replaying an entry or answering a request can end in.
const (
	OK              Status = 0
	EPERM           Status = 1
	ENOTDIR         Status = 2
	ENOENT          Status = 3
	EACCES          Status = 4
	EEXIST          Status = 5
	EINVAL          Status = 6
	ENOTEMPTY       Status = 7
	ECHUNKLOST      Status = 8
	EINDEXTOOBIG    Status = 10
	ELOCKED         Status = 11
	ENOCHUNKSERVERS Status = 12
	ENOCHUNK        Status = 13
	ECHUNKBUSY      Status = 14
	ENOTOPENED      Status = 17
	EWRONGVERSION   Status = 19
	ECHUNKEXIST     Status = 20
	ENOSPACE        Status = 21
	ECANTCREATEPATH Status = 31
	EMISMATCH       Status = 32
	EROFS           Status = 33
	EQUOTA          Status = 34
	EBADSESSIONID   Status = 35
	ENOATTR         Status = 38
	ERANGE          Status = 40
	ENOTFOUND       Status = 41
	EACTIVE         Status = 42
	ECSNOTPRESENT   Status = 43
	EWAITING        Status = 44 // never sent: the answer comes later
	EAGAIN          Status = 45
	EINTR           Status = 46
	ECANCELED       Status = 47
	ENOENTNOCACHE   Status = 48
	ENOTADMIN       Status = 49
	ECLASSEXISTS    Status = 50
	ECLASSLIMIT     Status = 51
	ENOSUCHCLASS    Status = 52
	ECLASSINUSE     Status = 53
	EPATTERNEXISTS  Status = 55
	EPATLIMIT       Status = 56
	ENOSUCHPATTERN  Status = 57
	ENAMETOOLONG    Status = 58
)

var statusText = map[Status]string{
	OK: "OK", EPERM: "operation not permitted", ENOTDIR: "not a directory", ENOENT: "no such file or directory",
	EACCES: "permission denied", EEXIST: "file exists", EINVAL: "invalid argument", ENOTEMPTY: "directory not empty",
	ECHUNKLOST: "chunk lost", EINDEXTOOBIG: "chunk index too big", ELOCKED: "chunk locked", ENOCHUNK: "no such chunk",
	ECHUNKBUSY: "chunk is busy", EWRONGVERSION: "wrong chunk version", ECHUNKEXIST: "chunk already exists",
	ENOCHUNKSERVERS: "no chunkservers", ENOTOPENED: "file is not open", ECSNOTPRESENT: "chunkserver is not present",
	EWAITING: "waiting", EAGAIN: "try again", EINTR: "interrupted", ECANCELED: "canceled",
	ENOENTNOCACHE: "no such file or directory (do not cache)", ENOTADMIN: "only for administrators",
	ENOSPACE: "no space left", ECANTCREATEPATH: "can't create path", EMISMATCH: "result differs",
	EROFS: "read-only file system", EQUOTA: "quota exceeded", EBADSESSIONID: "bad session id", ENOATTR: "no such attribute",
	ERANGE: "out of range", ENOTFOUND: "not found", EACTIVE: "chunk is in use", ECLASSEXISTS: "storage class already exists",
	ECLASSLIMIT: "too many storage classes", ENOSUCHCLASS: "no such storage class", ECLASSINUSE: "storage class is in use",
	EPATTERNEXISTS: "pattern already exists", EPATLIMIT: "too many patterns", ENOSUCHPATTERN: "no such pattern", ENAMETOOLONG: "name too long",
}

// Error gives the status in words with its number.
func (s Status) Error() string {
	if text, ok := statusText[s]; ok {
		return fmt.Sprintf("%s (status %d)", text, uint8(s))
	}
	return fmt.Sprintf("status %d", uint8(s))
}
