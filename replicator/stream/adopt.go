package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server that was alone and is one of a cluster from now on finds in its store
// what the cluster does not know, and would drop it. So that store is put aside
// (checkLayout), and copied into the cluster (Adopt), message by message at the
// same sequence. While that goes on, nobody can open the stream (errCopying); a
// crash in between does no harm, the copy goes on where it was.

const (
	aloneName = "alone" // directory below StoreDir: what the server stored while it was alone
	storeName = "jetstream"

	copyMark   = "mfsstandby-copied-by" // in the stream's metadata while it is filled
	copyWindow = 64                     // messages on the way
)

var errCopying = errors.New("the stream is being copied from a server that was alone before")

// checkLayout puts the store of a server that was alone aside, and refuses to
// use that of one of a cluster alone.
func checkLayout(cfg *ServerConfig) error {
	store, alone := filepath.Join(cfg.StoreDir, storeName), filepath.Join(cfg.StoreDir, aloneName)
	clustered := Clustered(cfg.StoreDir)
	streams, err := os.ReadDir(filepath.Join(store, "$G", "streams"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case cfg.Cluster == nil && clustered:
		return fmt.Errorf("the store in %s is that of a node of a cluster: start it as one, or give another data directory", cfg.StoreDir)
	case cfg.Cluster == nil || clustered || len(streams) == 0:
		return nil
	}
	if err := os.MkdirAll(alone, 0o755); err != nil {
		return err
	}
	if err := os.Rename(store, filepath.Join(alone, storeName)); err != nil {
		return fmt.Errorf("putting aside what this server stored while it was alone: %w", err)
	}
	return errors.Join(syncFile(alone), syncFile(cfg.StoreDir))
}

// Clustered tells whether a directory is the store of a node of a cluster.
func Clustered(storeDir string) bool {
	_, err := os.Stat(filepath.Join(storeDir, storeName, "$SYS", "_js_", "_meta_"))
	return err == nil
}

// CopyNode copies the streams of a node of a cluster that does not run, so that a
// server can be started alone on the copy, as if it had always kept them alone. It
// leaves out what the node only had been asked to store: no majority had that, so
// nobody was told that it is stored.
func CopyNode(storeDir, to string) error {
	streams := filepath.Join(storeName, "$G", "streams")
	from, to := filepath.Join(storeDir, streams), filepath.Join(to, streams)
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, s := range list {
		if removed(from, s.Name()) {
			continue
		}
		if err := copyStream(filepath.Join(from, s.Name()), filepath.Join(to, s.Name()), s.Name()); err != nil {
			return fmt.Errorf("copying stream %s of a node: %w", s.Name(), err)
		}
	}
	return nil
}

// removed tells whether nats-server 2.x was removing a stream: it takes away the
// configuration first, then renames the directory, then removes that.
func removed(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name, server.JetStreamMetaFile))
	return strings.HasPrefix(name, ".") || errors.Is(err, fs.ErrNotExist)
}

// copyStream copies what nats-server 2.x keeps of a stream: its messages, and its
// configuration with a checksum, but no consumers.
func copyStream(from, to, name string) error {
	if err := os.CopyFS(filepath.Join(to, "msgs"), os.DirFS(filepath.Join(from, "msgs"))); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(from, server.JetStreamMetaFile))
	if err != nil {
		return err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", server.JetStreamMetaFile, err)
	}
	config["num_replicas"] = json.RawMessage("1") // a server alone refuses more
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(name))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	sum.Write(text)
	return errors.Join(os.WriteFile(filepath.Join(to, server.JetStreamMetaFile), text, 0o600),
		os.WriteFile(filepath.Join(to, server.JetStreamMetaFileSum), hex.AppendEncode(nil, sum.Sum(nil)), 0o600))
}

// Adopt brings what the embedded server stored while it was alone into its
// cluster, with so many copies, and forgets it then. It waits until enough
// servers are there; ready is called as soon as nothing that others open can
// get in the way. It does nothing if there is nothing to bring.
func (c *Conn) Adopt(ctx context.Context, replicas int, ready func()) error {
	defer func() {
		if ready != nil {
			ready()
		}
	}()
	if c.server == nil || c.server.peers == nil {
		return nil
	}
	dir := filepath.Join(c.server.root(), aloneName)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	old, stop, err := openAlone(dir, c.log)
	if err != nil {
		return fmt.Errorf("opening what this server stored while it was alone: %w", err)
	}
	defer stop()
	ids, err := old.Clusters(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		from, err := old.Open(ctx, ClusterConfig{MetaID: id})
		if err != nil {
			return err
		}
		a := &adoption{from: from, conn: c, replicas: replicas, begun: ready}
		if err := a.patiently(ctx); err != nil {
			return fmt.Errorf("copying %s into the cluster: %w; what it was copied from is kept in %s", from.name, err, dir)
		}
	}
	stop()
	return os.RemoveAll(dir)
}

func (s *Server) root() string { return s.files.root }

// openAlone opens a store with a server of its own.
func openAlone(dir string, log *slog.Logger) (*Conn, func(), error) {
	s, err := StartServer(ServerConfig{StoreDir: dir, Name: "alone", SyncAlways: true, Log: log})
	if err != nil {
		return nil, nil, err
	}
	conn, err := Connect(Config{Server: s, Log: log})
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); s.Close() }, nil
}

// adoption is the copy of one cluster's data.
type adoption struct {
	from     *Cluster
	conn     *Conn
	replicas int
	begun    func()
}

// patiently copies, again while NATS is away.
func (a *adoption) patiently(ctx context.Context) error {
	for told := ""; ; {
		err := a.copy(ctx)
		if err == nil || ctx.Err() != nil || !Away(err) {
			return err
		}
		if err.Error() != told {
			told = err.Error()
			a.conn.log.Warn("what this server stored while it was alone waits for the cluster", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (a *adoption) copy(ctx context.Context) error {
	info, err := a.from.log.Info(ctx)
	if err != nil {
		return err
	}
	to, err := a.target(ctx, info)
	if err != nil {
		return err
	}
	a.begun()
	if to.CachedInfo().Config.Metadata[copyMark] == "" {
		return nil // an earlier process has come as far as here
	}
	if err := a.messages(ctx, info, to); err != nil {
		return err
	}
	// The images are there before anybody looks for one.
	bases, err := a.from.ListBases(ctx)
	if err != nil {
		return err
	}
	there := &Cluster{conn: a.conn, metaid: a.from.metaid, name: a.from.name, subject: a.from.subject, log: to}
	if err := there.openBases(ctx, fmt.Sprintf("%016X", a.from.metaid), to.CachedInfo().Config.Replicas); err != nil {
		return err
	}
	for _, b := range bases {
		if err := a.base(ctx, there, b); err != nil {
			return err
		}
	}
	cfg := to.CachedInfo().Config
	delete(cfg.Metadata, copyMark)
	_, err = a.conn.js.UpdateStream(ctx, cfg)
	return err
}

// target is the stream of the cluster, made if need be, where no other node has.
func (a *adoption) target(ctx context.Context, from *jetstream.StreamInfo) (jetstream.Stream, error) {
	to, err := a.conn.js.Stream(ctx, a.from.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		want := a.from.logConfig(a.replicas)
		want.FirstSeq = from.State.FirstSeq
		want.Metadata = map[string]string{copyMark: a.conn.server.nats.Name()}
		return a.conn.js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	mark := to.CachedInfo().Config.Metadata[copyMark]
	if mark == a.conn.server.nats.Name() {
		return to, nil
	}
	if mark == "" && to.CachedInfo().State.LastSeq >= from.State.LastSeq && a.same(ctx, to, from.State.LastSeq) {
		return to, nil
	}
	return nil, fmt.Errorf("the cluster has a stream of that name already, another one (marked %q): move the directory away if that is the right one", mark)
}

// same tells whether both streams have the same message at a sequence.
func (a *adoption) same(ctx context.Context, to jetstream.Stream, seq uint64) bool {
	there, err := to.GetMsg(ctx, seq)
	if err != nil {
		return errors.Is(err, jetstream.ErrMsgNotFound) // trimmed since
	}
	here, err := a.from.log.GetMsg(ctx, seq)
	return err == nil && string(here.Data) == string(there.Data)
}

// messages copies what the target lacks.
func (a *adoption) messages(ctx context.Context, from *jetstream.StreamInfo, to jetstream.Stream) error {
	now, err := to.Info(ctx)
	if err != nil {
		return err
	}
	var way []jetstream.PubAckFuture
	settle := func(n int) error {
		for len(way) > n {
			select {
			case <-way[0].Ok():
			case err := <-way[0].Err():
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
			way = way[1:]
		}
		return nil
	}
	for seq := max(now.State.LastSeq+1, from.State.FirstSeq); seq <= from.State.LastSeq; seq++ {
		raw, err := a.from.log.GetMsg(ctx, seq)
		if err != nil {
			return fmt.Errorf("reading message %d: %w", seq, err)
		}
		msg := &nats.Msg{Subject: raw.Subject, Data: raw.Data, Header: nats.Header{
			jetstream.ExpectedLastSeqHeader: []string{fmt.Sprint(seq - 1)},
		}}
		for _, kept := range []string{jetstream.MsgIDHeader, roleHeader} {
			if v := raw.Header.Get(kept); v != "" {
				msg.Header.Set(kept, v)
			}
		}
		f, err := a.conn.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		if way = append(way, f); len(way) >= copyWindow {
			if err := settle(copyWindow / 2); err != nil {
				return err
			}
		}
	}
	return settle(0)
}

// base copies a base image.
func (a *adoption) base(ctx context.Context, to *Cluster, b Base) error {
	r, w := io.Pipe()
	go func() { // ends with the image, or when nobody reads any more
		_, err := a.from.GetBase(ctx, b.Version, w)
		w.CloseWithError(err)
	}()
	_, err := to.PutBase(ctx, b, r)
	r.Close()
	return err
}
