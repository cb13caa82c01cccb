package image

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// Names calls f with every name of a directory and what it leads to, in no
// order; name is valid during the call. It reads the store from end to end
// rather than bucket by bucket, so that a directory of a million names takes
// little more than its bytes.
func (v *View) Names(dir meta.Inode, f func(name []byte, child meta.Inode)) error {
	prefix := binary.BigEndian.AppendUint32([]byte{bucketCodec.prefix}, uint32(dir))
	return v.core.each(prefix, prefix, true, func(_, b []byte) error {
		var p bucketPage
		if err := decodeBucket(&p, b); err != nil {
			return fmt.Errorf("image is damaged: names of directory %d: %w", dir, err)
		}
		for rest := p.b; len(rest) > 0; rest = rest[edgeLen(rest):] {
			f(edgeName(rest), edgeChild(rest))
		}
		return nil
	})
}
