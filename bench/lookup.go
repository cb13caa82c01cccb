package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// lookUp reads what a client asks for most: the attributes of an inode, which
// may be gone.
func lookUp(img *image.Image, ino meta.Inode) error {
	return img.Read(func(st *meta.State, _ image.Position) error {
		if n, ok := st.Nodes.Get(ino); ok && n.Type == meta.TypeNone {
			return fmt.Errorf("inode %d has no type", ino)
		}
		return nil
	})
}

// reader looks inodes up while entries are applied.
type reader struct {
	img   *image.Image
	every time.Duration
	took  []latency
	err   error
}

// run looks up random inodes until ctx ends.
func (r *reader) run(ctx context.Context) {
	rng := rand.New(rand.NewPCG(1, 1))
	for pause(ctx, r.every) == nil {
		var greatest meta.Inode
		r.err = r.img.Read(func(st *meta.State, _ image.Position) error {
			greatest = st.MaxInode
			return nil
		})
		if r.err != nil {
			return
		}
		begin := time.Now()
		if r.err = lookUp(r.img, meta.Inode(rng.Uint32N(uint32(greatest)+1))); r.err != nil {
			return
		}
		r.took = append(r.took, latency{time.Since(begin), 1})
	}
}
