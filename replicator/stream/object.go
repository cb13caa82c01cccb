package stream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Objects are written and read here, in the layout of NATS's object store, and
// listed and deleted with its library. The library's own Put does not bound what
// is on the way (a large image overruns the server's queue), cannot store the
// checksum together with the name, and its Get gives up after the time of one
// request.
//
//	$O.<bucket>.C.<id>          the chunks, in order
//	$O.<bucket>.M.<base64 name> the newest ObjectInfo as JSON: the object exists from then on
const (
	objectChunk   = 1 << 20          // bytes; each chunk is synced
	objectWindow  = 8                // chunks on the way at once
	objectTimeout = 30 * time.Second // without a chunk
	orphanAge     = time.Hour        // chunks that nobody has named for so long were left by a crash

	// objectHeartbeat is how often a server says that it still has to send chunks:
	// one that misses two has lost the consumer.
	objectHeartbeat = 3 * time.Second
)

func (c *Cluster) chunkSubject(id string) string { return "$O." + c.bucket + ".C." + id }

// chunkPut is a chunk on the way. Its memory is used again when it is stored.
type chunkPut struct {
	future jetstream.PubAckFuture
	data   []byte
}

// putObject stores what r gives under name. describe is called when all is read.
// An object of the same name is replaced at once.
func (c *Cluster) putObject(ctx context.Context, name string, r io.Reader, describe func() map[string]string) (*jetstream.ObjectInfo, error) {
	c.dropOrphans(ctx)
	old, err := c.bases.GetInfo(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, err
	}
	info := &jetstream.ObjectInfo{Bucket: c.bucket, NUID: nuid.Next()}
	if err := c.putChunks(ctx, info, r); err != nil {
		c.dropChunks(ctx, info.NUID)
		return nil, err
	}
	info.ObjectMeta = jetstream.ObjectMeta{Name: name, Metadata: describe(), Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(c.chunkSize())}}
	data, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	_, err = c.conn.js.PublishMsg(ctx, &nats.Msg{
		Subject: "$O." + c.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name)),
		Header:  nats.Header{jetstream.MsgRollup: []string{jetstream.MsgRollupSubject}},
		Data:    data,
	})
	if err != nil {
		// Not known whether it is stored: the chunks stay, for dropOrphans.
		return nil, err
	}
	if err := c.conn.harden("OBJ_" + c.bucket); err != nil {
		return nil, err
	}
	if old != nil {
		c.dropChunks(ctx, old.NUID)
	}
	return c.bases.GetInfo(ctx, name) // with the server's time
}

func (c *Cluster) chunkSize() int { return min(objectChunk, int(c.conn.nc.MaxPayload())) }

// putChunks stores the content and completes info with size, count and digest.
func (c *Cluster) putChunks(ctx context.Context, info *jetstream.ObjectInfo, r io.Reader) error {
	sum := sha256.New()
	var flights []chunkPut
	settle := func(n int) (free []byte, err error) {
		for len(flights) > n {
			f := flights[0]
			flights = flights[1:]
			select {
			case <-f.future.Ok():
				free = f.data
			case err := <-f.future.Err():
				return nil, err
			case <-c.conn.fault().found:
				return nil, c.conn.fault().err()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return free, nil
	}
	for {
		buf, err := settle(objectWindow - 1)
		if err != nil {
			return err
		}
		if buf == nil {
			buf = make([]byte, c.chunkSize())
		}
		n, err := io.ReadFull(r, buf[:cap(buf)])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n > 0 {
			sum.Write(buf[:n])
			future, err := c.conn.js.PublishMsgAsync(&nats.Msg{Subject: c.chunkSubject(info.NUID), Data: buf[:n]}, jetstream.WithRetryAttempts(0))
			if err != nil {
				return err
			}
			flights = append(flights, chunkPut{future, buf})
			info.Size += uint64(n)
			info.Chunks++
		}
		if err != nil {
			break
		}
	}
	if _, err := settle(0); err != nil {
		return err
	}
	info.Digest = digest(sum)
	return nil
}

func digest(sum hash.Hash) string {
	return "SHA-256=" + base64.URLEncoding.EncodeToString(sum.Sum(nil))
}

// dropChunks frees the chunks of an object that nothing names any more. If that
// does not work they are only in the way until dropOrphans.
func (c *Cluster) dropChunks(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.baseStream.Purge(ctx, jetstream.WithPurgeSubject(c.chunkSubject(id))); err != nil {
		c.conn.log.Warn("chunks of a base image are left behind", "id", id, "err", err)
	}
}

// dropOrphans frees the chunks that a crash within putObject left.
func (c *Cluster) dropOrphans(ctx context.Context) {
	if err := c.findOrphans(ctx); err != nil {
		c.conn.log.Warn("looking for remains of base images", "err", err)
	}
}

func (c *Cluster) findOrphans(ctx context.Context) error {
	info, err := c.baseStream.Info(ctx, jetstream.WithSubjectFilter(c.chunkSubject("*")))
	if err != nil {
		return err
	}
	objects, err := c.bases.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return err
	}
	for _, o := range objects {
		delete(info.State.Subjects, c.chunkSubject(o.NUID))
	}
	for subject := range info.State.Subjects {
		last, err := c.baseStream.GetLastMsgForSubject(ctx, subject)
		if err != nil || info.TimeStamp.Sub(last.Time) < c.orphanAge {
			continue // gone, or being written
		}
		c.conn.log.Info("dropping remains of a base image that was not completed", "subject", subject)
		if err := c.baseStream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
	}
	return nil
}

// errBrokenOff says that an object is there and its chunks did not come: a server
// ended, or another became the leader. It is read anew.
var errBrokenOff = errors.New("the reading was broken off")

// objectReader reads the chunks of an object.
type objectReader struct {
	ctx  context.Context
	info *jetstream.ObjectInfo
	it   jetstream.MessagesContext
	sum  hash.Hash
	left uint32 // chunks
	rest []byte // of the chunk at hand
}

// getObject starts to read an object. Its checksum is compared at the end: Read
// gives ErrCorrupt instead of io.EOF if it is another.
func (c *Cluster) getObject(ctx context.Context, info *jetstream.ObjectInfo) (*objectReader, error) {
	r := &objectReader{ctx: ctx, info: info, sum: sha256.New(), left: info.Chunks}
	if r.left == 0 {
		return r, nil
	}
	con, err := c.baseStream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: c.chunkSubject(info.NUID), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: objectTimeout,
	})
	if err != nil {
		return nil, err
	}
	if n := con.CachedInfo().NumPending; n < uint64(r.left) {
		why := ErrCorrupt
		if c.baseStream.CachedInfo().Config.Replicas > 1 {
			why = errBrokenOff // the server that was asked may not have the rest yet
		}
		return nil, fmt.Errorf("%d of %d chunks are there: %w", n, r.left, why)
	}
	r.it, err = con.Messages(jetstream.PullMaxMessagesWithBytesLimit(16, 2*maxPayload), jetstream.PullHeartbeat(objectHeartbeat))
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close ends the reading.
func (r *objectReader) Close() {
	if r.it != nil {
		r.it.Stop()
	}
}

func (r *objectReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.left == 0 {
			return 0, r.end()
		}
		ctx, cancel := context.WithTimeout(r.ctx, objectTimeout)
		msg, err := r.it.Next(jetstream.NextContext(ctx))
		cancel()
		if err != nil && r.ctx.Err() == nil {
			err = fmt.Errorf("%w, %d of %d chunks were missing: %w", errBrokenOff, r.left, r.info.Chunks, err)
		}
		if err != nil {
			return 0, err
		}
		r.rest = msg.Data()
		r.sum.Write(r.rest)
		r.left--
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *objectReader) end() error {
	if got := digest(r.sum); got != r.info.Digest {
		return fmt.Errorf("digest is %s, want %s: %w", got, r.info.Digest, ErrCorrupt)
	}
	return io.EOF
}
