package server

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// foresight tells the image what a batch of requests will look up, so that the
// processor waits for their memory together and not for one after the other.
type foresight struct {
	wants meta.Wants
	near  image.Near
}

// Where requests hold what they are about: behind the message id.
const (
	inodeAt = wire.HeaderSize + 4
	nameAt  = inodeAt + 4
)

// add takes a packet as a hint; nothing depends on whether it is right.
func (f *foresight) add(t wire.Type, packet []byte) {
	if len(packet) < nameAt+1 {
		if t == wire.FuseGetattr && len(packet) >= nameAt {
			f.wants.Node(meta.Inode(binary.BigEndian.Uint32(packet[inodeAt:])))
		}
		return
	}
	ino := meta.Inode(binary.BigEndian.Uint32(packet[inodeAt:]))
	switch t {
	case wire.FuseLookup:
		if name := packet[nameAt+1:]; len(name) >= int(packet[nameAt]) {
			f.wants.Name(ino, name[:packet[nameAt]])
		}
	case wire.FuseGetattr, wire.FuseAccess, wire.FuseOpen, wire.FuseReadlink:
		f.wants.Node(ino)
	}
}

func (f *foresight) reset() { f.wants.Reset() }

// see looks at the requests that were received, as far as they are answered in
// one batch.
func (f *foresight) see(received []byte) {
	for range batchPackets {
		if len(received) < wire.HeaderSize {
			break
		}
		size := wire.HeaderSize + int(binary.BigEndian.Uint32(received[4:]))
		if len(received) < size {
			break
		}
		f.add(wire.Type(binary.BigEndian.Uint32(received)), received[:size])
		received = received[size:]
	}
}

// bring is called by the function given to Read.
func (f *foresight) bring(img *image.Image) {
	if len(f.wants.Nodes) > 1 {
		img.Bring(&f.near, &f.wants)
	}
}
