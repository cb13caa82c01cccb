package stream

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ClusterConfig names one MooseFS cluster and says how its data is kept. What
// exists already keeps its settings, but for Replicas.
type ClusterConfig struct {
	MetaID   uint64 // MooseFS's metadata id
	Prefix   string // of subjects, and in capitals of streams; default "mfs"
	Replicas int    // NATS servers that keep each message: 1, 3 or 5; 0 leaves it as it is, and makes what is new with 1
}

// Validate says what is wrong.
func (c *ClusterConfig) Validate() error {
	if c.MetaID == 0 {
		return errors.New("the cluster's metaid is not known")
	}
	if c.Prefix != "" && !validPrefix.MatchString(c.Prefix) {
		return fmt.Errorf("prefix %q: use letters, digits and _", c.Prefix)
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		return fmt.Errorf("%d replicas: use 1, 3 or 5", c.Replicas)
	}
	return nil
}

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)

// dedupWindow is short because nothing depends on it: each message names the one
// before it. After a start the server reads what it spans.
const dedupWindow = time.Second

// Cluster is what NATS holds for one MooseFS cluster: the stream of entries, base
// images and members. Safe for concurrent use.
type Cluster struct {
	conn    *Conn
	metaid  uint64
	name    string // of the stream
	subject string // of its messages, without ".<epoch>"
	log     jetstream.Stream
	members jetstream.KeyValue

	bases      jetstream.ObjectStore
	bucket     string           // of bases
	baseStream jetstream.Stream // in which bases are kept
	orphanAge  time.Duration
}

// Sync makes durable what the stream holds, if the server of this process keeps
// it and is to have it on the disk. It waits for no network.
func (c *Cluster) Sync() error { return c.conn.harden(c.name) }

// Open opens the cluster's stream and buckets and creates what is missing.
func (c *Conn) Open(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "mfs"
	}
	id := fmt.Sprintf("%016X", cfg.MetaID)
	cl := &Cluster{
		conn: c, metaid: cfg.MetaID,
		name:    strings.ToUpper(cfg.Prefix) + "-" + id,
		subject: cfg.Prefix + "." + id + ".log",
	}
	var err error
	if cl.log, err = cl.openLog(ctx, cfg.Replicas); err != nil {
		return nil, fmt.Errorf("opening stream %s: %w", cl.name, err)
	}
	// The buckets are as safe as the stream, whoever opens it.
	replicas := cl.log.CachedInfo().Config.Replicas
	if err := cl.openBases(ctx, id, replicas); err != nil {
		return nil, fmt.Errorf("opening the base images of %s: %w", cl.name, err)
	}
	if cl.members, err = cl.openBucket(ctx, "-members", "members", replicas, true); err != nil {
		return nil, fmt.Errorf("opening the members of %s: %w", cl.name, err)
	}
	return cl, nil
}

// openBucket opens a key-value bucket, made unless it is only to be kept in as
// many copies as the stream. It changes settings only where they differ, as all
// that opens does: nats-server writes their file anew, and a crash may come
// meanwhile.
func (c *Cluster) openBucket(ctx context.Context, suffix, what string, replicas int, create bool) (jetstream.KeyValue, error) {
	want := jetstream.KeyValueConfig{
		Bucket: c.name + suffix, Description: what + " of MooseFS cluster " + fmt.Sprintf("%016X", c.metaid),
		Storage: jetstream.FileStorage, Replicas: replicas, History: 1,
	}
	kv, err := c.conn.js.KeyValue(ctx, want.Bucket)
	var have jetstream.KeyValueStatus
	if err == nil {
		have, err = kv.Status(ctx)
	}
	missing := errors.Is(err, jetstream.ErrBucketNotFound)
	if missing && !create {
		return nil, nil
	}
	if missing || err == nil && have.Config().Replicas != replicas {
		kv, err = c.conn.js.CreateOrUpdateKeyValue(ctx, want)
	}
	return kv, err
}

func (c *Cluster) openBases(ctx context.Context, id string, replicas int) (err error) {
	c.bucket, c.orphanAge = c.name+"-base", orphanAge
	want := jetstream.ObjectStoreConfig{
		Bucket: c.bucket, Description: "base images of MooseFS cluster " + id,
		Storage: jetstream.FileStorage, Replicas: replicas,
	}
	var have jetstream.ObjectStoreStatus
	if c.bases, err = c.conn.js.ObjectStore(ctx, want.Bucket); err == nil {
		have, err = c.bases.Status(ctx)
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) || err == nil && have.Replicas() != replicas {
		c.bases, err = c.conn.js.CreateOrUpdateObjectStore(ctx, want)
	}
	if err != nil {
		return err
	}
	c.baseStream, err = c.conn.js.Stream(ctx, "OBJ_"+c.bucket)
	return err
}

// MetaID is the MooseFS cluster's id.
func (c *Cluster) MetaID() uint64 { return c.metaid }

// Name is the name of the stream.
func (c *Cluster) Name() string { return c.name }

// compression is that of the stream. A server that takes back messages which were
// not acknowledged, as one of several may have to after an election, can compress
// the block that it goes on writing to (nats-server 2.15.3, Truncate), and then
// nothing of that block can be read any more.
func compression(replicas int) jetstream.StoreCompression {
	if replicas > 1 {
		return jetstream.NoCompression
	}
	return jetstream.S2Compression
}

// logConfig is how the stream of entries is kept.
func (c *Cluster) logConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        c.name,
		Description: "changelog of MooseFS cluster " + strings.TrimPrefix(c.name, strings.SplitN(c.name, "-", 2)[0]+"-"),
		Subjects:    []string{c.subject + ".*"},
		Storage:     jetstream.FileStorage,
		Compression: compression(replicas),
		Replicas:    max(replicas, 1),
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxMsgSize:  maxPayload,
		Duplicates:  dedupWindow,
		AllowDirect: true,
		DenyDelete:  true, // entries go in order, by Trim, or not at all
	}
}

func (c *Cluster) openLog(ctx context.Context, replicas int) (jetstream.Stream, error) {
	want := c.logConfig(replicas)
	s, err := c.conn.js.Stream(ctx, c.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return c.conn.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo().Config
	if by := have.Metadata[copyMark]; by != "" {
		return nil, fmt.Errorf("%w, %s", errCopying, by)
	}
	if err := checkConfig(&have, &want); err != nil {
		return nil, err
	}
	if replicas == 0 {
		replicas = have.Replicas
	}
	if have.Replicas == replicas && have.Compression == compression(replicas) {
		return s, nil
	}
	have.Replicas, have.Compression = replicas, compression(replicas)
	more, err := c.conn.js.UpdateStream(ctx, have)
	if tooFew(err) { // Grow does it when they are there
		return s, nil
	}
	return more, err
}

// growEvery is how often Grow looks.
const growEvery = 5 * time.Second

// Grow makes of everything that is kept for all clusters as many copies as are
// wanted, as soon as there are servers for them. It returns when that is so, or
// ctx ends.
func (c *Conn) Grow(ctx context.Context, replicas int) {
	for told := ""; ; {
		done, err := c.grown(ctx, replicas)
		if done {
			return
		}
		if err != nil && err.Error() != told && ctx.Err() == nil {
			told = err.Error()
			c.log.Warn("waiting for servers to keep copies", "wanted", replicas, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(growEvery):
		}
	}
}

// grown tries to.
func (c *Conn) grown(ctx context.Context, replicas int) (bool, error) {
	ids, err := c.Clusters(ctx)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		cl, err := c.Open(ctx, ClusterConfig{MetaID: id, Replicas: replicas})
		if err != nil {
			return false, err
		}
		if _, err := cl.openBucket(ctx, registers, "who leads", replicas, false); err != nil {
			return false, err
		}
		if have := cl.log.CachedInfo().Config.Replicas; have != replicas {
			return false, fmt.Errorf("%d servers keep %s, and no others are there", have, cl.name)
		}
	}
	return len(ids) > 0, nil
}

// checkConfig refuses settings, made by hand, with which entries could vanish.
func checkConfig(have, want *jetstream.StreamConfig) error {
	switch {
	case !slices.Equal(have.Subjects, want.Subjects):
		return fmt.Errorf("its subjects are %v, want %v", have.Subjects, want.Subjects)
	case have.Storage != jetstream.FileStorage:
		return errors.New("it is kept in memory; delete it, or use another prefix")
	case have.Retention != jetstream.LimitsPolicy:
		return errors.New("its retention policy drops messages that were read")
	case have.MaxAge != 0 || have.MaxMsgs > 0 || have.MaxMsgsPerSubject > 0 || have.MaxBytes > 0 && have.Discard != jetstream.DiscardNew:
		return errors.New("its limits drop old messages; entries are dropped by base images only: remove the limits")
	case have.NoAck:
		return errors.New("it does not acknowledge")
	case have.PersistMode == jetstream.AsyncPersistMode:
		return errors.New("it acknowledges before it has written")
	}
	return nil
}

// epochSubject is the subject of one epoch's messages.
func (c *Cluster) epochSubject(e Epoch) string {
	return c.subject + "." + strconv.FormatUint(uint64(e), 10)
}

// fetch gets and decodes one message. The error is a *CorruptError or
// *ForeignError if there is a message at seq and it is no good.
func (c *Cluster) fetch(ctx context.Context, seq Seq) (message, *jetstream.RawStreamMsg, error) {
	raw, err := c.getMsg(ctx, seq)
	if err != nil {
		return message{}, nil, fmt.Errorf("getting message %d: %w", seq, err)
	}
	m, err := c.decodeRaw(raw)
	return m, raw, err
}

// getMsg gets a message that is stored. Where several servers keep the stream,
// any of them answers, also one that is some moments behind: it is asked again.
func (c *Cluster) getMsg(ctx context.Context, seq Seq, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	for try := 0; ; try++ {
		raw, err := c.log.GetMsg(ctx, uint64(seq), opts...)
		if !errors.Is(err, jetstream.ErrMsgNotFound) || c.log.CachedInfo().Config.Replicas == 1 || try == behindTries {
			return raw, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(behindWait):
		}
	}
}

// behindTries times behindWait is how far a server may be behind.
const (
	behindTries = 100
	behindWait  = 20 * time.Millisecond
)

// decodeRaw decodes a message from the store.
func (c *Cluster) decodeRaw(raw *jetstream.RawStreamMsg) (message, error) {
	m, err := c.decode(Seq(raw.Sequence), raw.Data)
	if err == nil && raw.Subject != c.epochSubject(m.Epoch) {
		err = &CorruptError{Seq: m.Seq, Version: m.First, Err: fmt.Errorf("it is of epoch %d on subject %s", m.Epoch, raw.Subject)}
	}
	return m, err
}

// climb gives the last message of the newest epoch, if that is newer than m's;
// else m. The stream's last message need not be of the newest epoch: a client
// that ignores the Writer's rules may have put it there.
func (c *Cluster) climb(ctx context.Context, m message) (message, error) {
	for {
		raw, err := c.log.GetLastMsgForSubject(ctx, c.epochSubject(m.Epoch+1))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return m, nil
		}
		if err != nil {
			return m, fmt.Errorf("looking for epoch %d: %w", m.Epoch+1, err)
		}
		newer, err := c.decodeRaw(raw)
		if damaged(err) {
			return m, nil // readers stop there, if it is not stale
		}
		if err != nil {
			return m, err
		}
		m = newer
	}
}

// decode decodes a message of this cluster.
func (c *Cluster) decode(seq Seq, data []byte) (message, error) {
	m, err := decodeMessage(seq, data)
	if err == nil && m.metaid != c.metaid {
		err = &ForeignError{What: fmt.Sprintf("message %d", seq), Want: c.metaid, Got: m.metaid}
	}
	return m, err
}
