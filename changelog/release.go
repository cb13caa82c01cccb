package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// SetRelease notes which release the primary has from the next entry on, if r
// is not 0: the same entry can have another effect in another release. The
// error says that a State of one cannot become one of the other here; what the
// new release makes of the metadata is then to be had from its metadata file.
func SetRelease(st *meta.State, r meta.Release) error {
	if r == 0 || r == st.Release {
		return nil
	}
	switch now := st.Release; {
	case now.Since(meta.Release2) && !now.Since(meta.Release3) && r.Since(meta.Release3) && !r.Since(meta.Release4):
		from2to3(st)
	case now.Since(meta.Release2) == r.Since(meta.Release2) && now.Since(meta.Release3) == r.Since(meta.Release3) && now.Since(meta.Release4) == r.Since(meta.Release4):
	default:
		return fmt.Errorf("the primary has become MooseFS %s, the image is one of %s: load the metadata that the new primary stores", r, now)
	}
	st.Release = r
	return nil
}

// from2to3 makes of the State what 3.0.117 makes of the metadata file that 2.0
// stores when it is stopped: trash times are in hours, and an access list
// without a mask gets one that permits all. That 3.0 renumbers edges then, if 2.0
// gave their ids out of order, is an entry of its own.
func from2to3(st *meta.State) {
	var changed []meta.Inode
	for from := meta.Inode(0); ; {
		changed = changed[:0]
		for ino, n := range st.Nodes.Scan(from) {
			if n.Flags&meta.TrashSeconds != 0 {
				changed = append(changed, ino)
			}
			if len(changed) == migrated {
				break
			}
		}
		for _, ino := range changed {
			if n, ok := st.Nodes.Edit(ino); ok {
				n.Flags &^= meta.TrashSeconds
				n.Rdev = 0
			}
		}
		if len(changed) < migrated {
			break
		}
		from = changed[len(changed)-1] + 1
		st.MakeRoom()
	}
	var repair []meta.ACLKey
	for key, a := range st.ACLs.Scan(meta.ACLKey{}) {
		if a.Mask == 0 {
			repair = append(repair, key)
		}
	}
	for _, key := range repair {
		a, _ := st.ACLs.Edit(key)
		n, ok := st.Nodes.Get(key.Inode)
		if a != nil && ok {
			a.Repair(n.Mode)
		}
	}
}

// migrated is how many nodes are changed at once.
const migrated = 1024
