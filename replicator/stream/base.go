package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// Base describes a base image: a metadata.mfs that replicas start from. It is
// kept compressed (zstd) in the cluster's object store as base-<version>. The
// fields are stored as the object's metadata, readable with `nats object info`;
// the SHA-256
// that the store wants is that of the compressed bytes.
type Base struct {
	MetaID  uint64
	Version meta.Version // of the image: the first entry to apply to it
	Epoch   Epoch        // of the entries before it; Rebase sets that which it opens
	Chain   Chain        // at Version, so that followers can tell that the history is this one; zero if not known
	Release string       // of the primary
	Size    int64        // bytes, not compressed
	Stored  int64        // bytes, compressed
	Sum     Chain        // XXH3-128 of the image
	Created time.Time
}

// Position is where a replica that loaded the image starts.
func (b *Base) Position() Position {
	return Position{Version: b.Version, Epoch: b.Epoch, Chain: b.Chain}
}

// Keys of the object's metadata.
const (
	keyMetaID  = "metaid"
	keyVersion = "version"
	keyEpoch   = "epoch"
	keyChain   = "chain"
	keyRelease = "release"
	keySize    = "size"
	keySum     = "xxh3-128"
)

func baseName(v meta.Version) string { return fmt.Sprintf("base-%020d", v) }

// PutBase stores the image that r gives, of b's Version, Epoch and Release, and
// completes b. It appears when it is complete; one of the same version is
// replaced then.
func (c *Cluster) PutBase(ctx context.Context, b Base, r io.Reader) (Base, error) {
	if b.Version == 0 {
		return b, errors.New("a base image needs a version")
	}
	b.MetaID = c.metaid
	if err := c.put(ctx, &b, r); err != nil {
		return b, fmt.Errorf("storing base image %d: %w", b.Version, err)
	}
	return b, nil
}

func (c *Cluster) put(ctx context.Context, b *Base, r io.Reader) error {
	image := &summing{r: r, h: xxh3.New128()}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() { // ends when the image does or nobody reads any more
		defer close(done)
		pw.CloseWithError(compress(pw, image))
	}()
	info, err := c.putObject(ctx, baseName(b.Version), pr, func() map[string]string {
		b.Size, b.Sum = image.n, image.sum()
		return b.metadata()
	})
	pr.Close()
	<-done
	if err != nil {
		return err
	}
	b.Stored, b.Created = int64(info.Size), info.ModTime
	return nil
}

func compress(w io.Writer, r io.Reader) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		z.Close()
		return err
	}
	return z.Close()
}

// summing counts and hashes what is read through it.
type summing struct {
	r io.Reader
	h *xxh3.Hasher128
	n int64
}

func (s *summing) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *summing) sum() Chain {
	sum := s.h.Sum128()
	return Chain{Hi: sum.Hi, Lo: sum.Lo}
}

func (b *Base) metadata() map[string]string {
	return map[string]string{
		keyMetaID:  fmt.Sprintf("%016X", b.MetaID),
		keyVersion: strconv.FormatUint(uint64(b.Version), 10),
		keyEpoch:   strconv.FormatUint(uint64(b.Epoch), 10),
		keyChain:   b.Chain.String(),
		keyRelease: b.Release,
		keySize:    strconv.FormatInt(b.Size, 10),
		keySum:     b.Sum.String(),
	}
}

// parseBase reads the metadata of an object.
func parseBase(info *jetstream.ObjectInfo) (b Base, err error) {
	md := info.Metadata
	num := func(key string, base int) uint64 {
		n, e := strconv.ParseUint(md[key], base, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("object %s: %s is %q: %w", info.Name, key, md[key], ErrCorrupt)
		}
		return n
	}
	chain := func(key string) Chain {
		c, e := fence.ParseChain(md[key])
		if e != nil && err == nil {
			err = fmt.Errorf("object %s: %s is %q: %w", info.Name, key, md[key], ErrCorrupt)
		}
		return c
	}
	b = Base{
		MetaID: num(keyMetaID, 16), Version: meta.Version(num(keyVersion, 10)), Epoch: Epoch(num(keyEpoch, 10)),
		Release: md[keyRelease], Size: int64(num(keySize, 10)), Stored: int64(info.Size), Created: info.ModTime,
	}
	b.Sum, b.Chain = chain(keySum), chain(keyChain)
	if err == nil && info.Name != baseName(b.Version) {
		err = fmt.Errorf("object %s says that it is of version %d: %w", info.Name, b.Version, ErrCorrupt)
	}
	return b, err
}

// ListBases gives the base images, oldest first in the order of the history: by
// epoch, then version.
func (c *Cluster) ListBases(ctx context.Context) ([]Base, error) {
	infos, err := c.bases.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing base images: %w", err)
	}
	var bases []Base
	for _, info := range infos {
		b, err := parseBase(info)
		if err != nil {
			return nil, err
		}
		if b.MetaID != c.metaid {
			return nil, &ForeignError{What: "base image " + info.Name, Want: c.metaid, Got: b.MetaID}
		}
		bases = append(bases, b)
	}
	slices.SortFunc(bases, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Version, b.Version))
	})
	return bases, nil
}

// GetBase writes the image of version v to w. What was written is good only if
// there is no error: the checksums come at the end.
func (c *Cluster) GetBase(ctx context.Context, v meta.Version, w io.Writer) (Base, error) {
	b, err := c.get(ctx, v, w)
	if err != nil {
		return b, fmt.Errorf("reading base image %d: %w", v, err)
	}
	return b, nil
}

func (c *Cluster) get(ctx context.Context, v meta.Version, w io.Writer) (b Base, err error) {
	info, err := c.bases.GetInfo(ctx, baseName(v))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return b, ErrNoBase
	}
	if err != nil {
		return b, err
	}
	if b, err = parseBase(info); err != nil {
		return b, err
	}
	if b.MetaID != c.metaid {
		return b, &ForeignError{What: "base image " + info.Name, Want: c.metaid, Got: b.MetaID}
	}
	obj, err := c.getObject(ctx, info)
	if err != nil {
		return b, err
	}
	defer obj.Close()
	z, err := zstd.NewReader(obj, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return b, err
	}
	defer z.Close()
	image := &summing{r: z, h: xxh3.New128()}
	if _, err := io.Copy(w, image); err != nil {
		return b, err
	}
	if sum := image.sum(); image.n != b.Size || sum != b.Sum {
		return b, fmt.Errorf("%d bytes with checksum %v, want %d with %v: %w", image.n, sum, b.Size, b.Sum, ErrCorrupt)
	}
	return b, nil
}

// moveBase says of the image of version v that it stands at the beginning of an
// epoch.
func (c *Cluster) moveBase(ctx context.Context, v meta.Version, epoch Epoch, chain Chain) error {
	info, err := c.bases.GetInfo(ctx, baseName(v))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return ErrNoBase
	}
	if err != nil {
		return err
	}
	b, err := parseBase(info)
	if err != nil {
		return err
	}
	b.Epoch, b.Chain = epoch, chain
	if err := c.bases.UpdateMeta(ctx, info.Name, jetstream.ObjectMeta{Name: info.Name, Metadata: b.metadata()}); err != nil {
		return err
	}
	return c.conn.harden("OBJ_" + c.bucket)
}

// Trim deletes the oldest base images as long as limits say so, and the entries
// that only they needed; of what is needed from version floor on, if that is not
// 0, nothing. It gives what was deleted.
func (c *Cluster) Trim(ctx context.Context, limits Retention, floor meta.Version) (deleted []Base, err error) {
	for {
		bases, err := c.ListBases(ctx)
		if err != nil {
			return deleted, err
		}
		info, err := c.log.Info(ctx)
		if err != nil {
			return deleted, err
		}
		bytes := int64(info.State.Bytes)
		for i := range bases {
			bytes += bases[i].Stored
		}
		if !limits.DropOldest(bases, time.Now(), bytes) || floor != 0 && bases[1].Version > floor {
			return deleted, nil
		}
		// First the image: entries without an image are of no use, but the other
		// way round a replica would start and not get on.
		if err := c.bases.Delete(ctx, baseName(bases[0].Version)); err != nil {
			return deleted, fmt.Errorf("deleting base image %d: %w", bases[0].Version, err)
		}
		deleted = append(deleted, bases[0])
		if err := c.purge(ctx, info.State, bases[1]); err != nil {
			return deleted, err
		}
	}
}

// purge drops the entries before a base image.
func (c *Cluster) purge(ctx context.Context, st jetstream.StreamState, oldest Base) error {
	seq, err := c.seek(ctx, st, oldest.Position())
	if errors.Is(err, ErrGap) {
		return nil // they are gone already
	}
	if err != nil {
		return err
	}
	// The last message stays in any case: it says where the stream ends.
	seq = min(seq, Seq(st.LastSeq))
	if err := c.log.Purge(ctx, jetstream.WithPurgeSequence(uint64(seq))); err != nil {
		return fmt.Errorf("dropping entries before version %d: %w", oldest.Version, err)
	}
	return nil
}
