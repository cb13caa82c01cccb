package leader

import (
	"errors"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Client is the connection that a packet came from.
type Client struct {
	Release wire.Release
	Session meta.SessionID
	Params  meta.Session // of the session
	Rules   *changelog.Rules
	// Cached, if set, takes note that the client opens a file and tells whether
	// what it has cached of it is good; cleared says that it has nothing cached.
	Cached func(ino meta.Inode, cleared bool) bool
	// Reserved, if set, says to where data appended to a file were given out.
	Reserved func(ino meta.Inode) *uint64
}

// caller is who asks, for a request that names its groups.
func (c *Client) caller(id *wire.Identity) changelog.Caller {
	gids := make([]uint32, id.GIDs.Len())
	for i := range gids {
		gids[i] = id.GIDs.At(i)
	}
	return c.callerOf(id.UID, gids)
}

func (c *Client) callerOf(uid uint32, gids []uint32) changelog.Caller {
	newAttr := c.Release >= wire.NewRelease(1, 7, 32)
	return changelog.NewCaller(c.Session, &c.Params, newAttr, uid, gids, c.Rules)
}

// serving is one packet being answered.
type serving struct {
	*Turn
	*Client
	d   *wire.Decoder
	out *wire.Encoder
}

// Changes tells whether a packet is one that Serve answers. Some of them, like
// FuseOpen, change something only sometimes.
func Changes(t wire.Type) bool { return handlers[t] != nil }

// ErrLocked says that a request has to wait until the chunk that it is about is
// not locked any more. A stock master tries it again when the chunk is unlocked,
// and refuses it with meta.ELOCKED after 30 seconds.
var ErrLocked = errors.New("the chunk is locked")

// Serve answers a packet in a turn. The answer is appended to out, unless it
// comes later; it may be sent when the turn is published. An error, but for
// ErrLocked, says that the packet is malformed: a stock master closes the
// connection.
func Serve(t *Turn, c *Client, number wire.Type, payload []byte, out *wire.Encoder) error {
	s := serving{t, c, wire.NewDecoder(payload), out}
	return handlers[number](&s, number)
}

// handlers answer the packets that may change the metadata.
var handlers = map[wire.Type]func(*serving, wire.Type) error{
	wire.FuseSetattr: (*serving).setattr, wire.FuseSymlink: (*serving).symlink, wire.FuseMknod: (*serving).mknod,
	wire.FuseMkdir: (*serving).mkdir, wire.FuseCreate: (*serving).create, wire.FuseUnlink: (*serving).unlink,
	wire.FuseRmdir: (*serving).unlink, wire.FuseRename: (*serving).rename, wire.FuseLink: (*serving).link,
	wire.FuseOpen: (*serving).open, wire.FuseTruncate: (*serving).truncate, wire.FuseAppendSlice: (*serving).appendSlice,
	wire.FuseSetTrashTime: (*serving).setTrashTime, wire.FuseSetClass: (*serving).setClass,
	wire.FuseSetTrashPath: (*serving).setTrashPath, wire.FuseUndel: (*serving).undel, wire.FusePurge: (*serving).purge,
	wire.FuseSnapshot: (*serving).snapshot, wire.FuseSetEattr: (*serving).setEattr, wire.FuseQuotaControl: (*serving).quota,
	wire.FuseSetXattr: (*serving).setXattr, wire.FuseSetACL: (*serving).setACL, wire.FuseArchCtl: (*serving).archive,
	wire.FuseFlock: (*serving).flock, wire.FusePosixLock: (*serving).posixLock,
	wire.FuseSustainedInodes: (*serving).openInodes, wire.FuseSustainedInodes0: (*serving).openInodes,
	wire.FuseAmtimeInodes: (*serving).times,
	wire.FuseWriteChunk:   (*serving).writeChunk, wire.FuseWriteChunkEnd: (*serving).writeEnd, wire.FuseRepair: (*serving).repair,
	wire.ClassCreate: (*serving).createClass, wire.ClassChange: (*serving).changeClass,
	wire.ClassDelete: (*serving).deleteClass, wire.ClassDuplicate: (*serving).copyClass, wire.ClassRename: (*serving).renameClass,
}

// status answers with a status alone.
func (s *serving) status(number wire.Type, msgID uint32, status meta.Status) error {
	wire.AppendStatus(s.out, number, msgID, status)
	return nil
}

// statusOnly carries out a request whose answer is a status.
func (s *serving) statusOnly(number wire.Type, msgID uint32, c changelog.Caller, r changelog.Request) error {
	_, status := s.Do(&c, r)
	return s.status(number, msgID, status)
}

// WireAttr puts attributes into the form of packets.
func WireAttr(a changelog.Attributes) wire.Attr {
	length := a.Length
	if a.Type.IsDevice() {
		length = uint64(a.Rdev) << 32
	}
	return wire.Attr{Flags: a.Flags, Type: a.Type, Mode: a.Mode, UID: a.UID, GID: a.GID,
		Atime: a.Atime, Mtime: a.Mtime, Ctime: a.Ctime, Links: a.Links, Length: length, Winattr: a.Winattr}
}

// attr returns the attributes of a node as they are now; parent is 0 or the
// directory of the name that was asked for.
func (s *serving) attr(c *changelog.Caller, ino, parent meta.Inode) wire.Attr {
	n, _ := s.st.Nodes.Get(ino)
	var dir *meta.Node
	if d, ok := s.st.Nodes.Get(parent); ok {
		dir = &d
	}
	return WireAttr(c.AttributesOf(s.st, ino, &n, dir))
}
