package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/archive"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/control"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
)

// historyFlags say where a history is read: from the process on a data directory,
// from the directory itself, from a NATS server, or from an archive.
type historyFlags struct {
	data    *string
	nats    *natsFlags
	archive *string
	metaid  *metaID
	cache   *size
	temp    *string
}

func addHistoryFlags(f *pflag.FlagSet) *historyFlags {
	h := &historyFlags{data: dataFlag(f), nats: addNATSClientFlags(f, "URL of a NATS server that has the stream (default: that of the process on --data)")}
	h.archive = f.String("archive", "", "archive to read instead of a stream")
	h.metaid = metaidFlag(f)
	h.cache = sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
	h.temp = f.String("temp", "", "directory for temporary images (default: that of the system)")
	return h
}

// origin is an opened history.
type origin struct {
	history.Source
	cluster uint64 // metaid, 0 if not known
	close   func() error
}

// open opens the history. What the command line names goes before what the
// configuration file, which is written for daemons, does.
func (h *historyFlags) open(ctx context.Context, c *console) (*origin, error) {
	given := c.config.fromArg
	if err := h.nats.check(); err != nil {
		return nil, err
	}
	switch {
	case given["archive"]:
		a, err := archive.Open(*h.archive)
		if err != nil {
			return nil, err
		}
		return &origin{history.OfArchive(a), a.MetaID(), func() error { return nil }}, nil
	case h.nats.client.URL != "" && (given["nats"] || !given["data"]):
		conn, stop, err := h.nats.connect("", c.logger(), nil)
		if err != nil {
			return nil, err
		}
		return opened(ctx, conn, uint64(*h.metaid), func() error { stop(); return nil })
	}
	var o *origin
	err := askOr(ctx, func() error {
		src := control.NewClient(*h.data).History()
		bases, err := src.Bases(ctx)
		if err != nil {
			return err
		}
		o = &origin{Source: src, close: func() error { return nil }}
		if len(bases) > 0 {
			o.cluster = bases[0].MetaID
		}
		return nil
	}, func() (err error) {
		o, err = h.openStore(ctx, c, *h.data, uint64(*h.metaid))
		return err
	})
	return o, err
}

// opened makes an origin of the stream in NATS.
func opened(ctx context.Context, conn *stream.Conn, id uint64, stop func() error) (*origin, error) {
	cluster, err := openCluster(ctx, conn, id)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &origin{history.OfStream(cluster), cluster.MetaID(), stop}, nil
}

// openCluster opens the stream of a cluster, or of the only one there is.
func openCluster(ctx context.Context, conn *stream.Conn, id uint64) (*stream.Cluster, error) {
	ids, err := conn.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(ids) == 0:
		return nil, errors.New("there is no stream yet")
	case id == 0 && len(ids) == 1:
		id = ids[0]
	case id == 0:
		return nil, fmt.Errorf("there are streams of clusters %016X: say which one with --metaid", ids)
	}
	for _, have := range ids {
		if have == id {
			return conn.Open(ctx, stream.ClusterConfig{MetaID: id})
		}
	}
	return nil, fmt.Errorf("there is no stream of cluster %016X, only of %016X", id, ids)
}

// openStore opens the stream that a data directory holds which no process uses; of a
// node of a cluster, a copy.
func (h *historyFlags) openStore(ctx context.Context, c *console, data string, id uint64) (*origin, error) {
	store := filepath.Join(data, "nats")
	if _, err := os.Stat(store); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no stream: start the process there, or give --nats URL or --archive DIR", data)
	}
	lock, err := control.Acquire(data, "history")
	if err != nil {
		return nil, err
	}
	done := lock.Release
	if stream.Clustered(store) {
		copied, remove, err := h.scratch()
		if err != nil {
			return nil, errors.Join(err, done())
		}
		done = func() error { return errors.Join(remove(), lock.Release()) }
		c.tell("copying the store of a node to " + copied)
		if err := stream.CopyNode(store, filepath.Join(copied, "nats")); err != nil {
			return nil, errors.Join(err, done())
		}
		data = copied
	}
	n := natsFlags{sync: &choice{value: "always"}}
	conn, stop, err := n.connect(data, c.logger(), nil)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	return opened(ctx, conn, id, func() error { stop(); return done() })
}

// scratch makes a directory for what is temporary, which done removes.
func (h *historyFlags) scratch() (dir string, done func() error, err error) {
	dir, err = os.MkdirTemp(*h.temp, "mfsstandby-*")
	if err != nil {
		return "", nil, fmt.Errorf("making a temporary directory (see --temp): %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// with opens the history and calls use with it, and with options for temporary
// images.
func (h *historyFlags) with(ctx context.Context, c *console, use func(*origin, history.Options) error) (err error) {
	o, err := h.open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	dir, done, err := h.scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	stages := &stages{c: c}
	defer stages.end()
	return use(o, history.Options{Dir: dir, Cache: int64(*h.cache), Logger: c.logger(), Stage: stages.begin})
}

// point reads a version or time from the command line.
func point(text string) (history.Point, error) {
	p, err := history.ParsePoint(text, time.Now())
	if err != nil {
		return p, usagef("%v", err)
	}
	return p, nil
}

// printable shows a path on one line.
func printable(path string) string {
	text, _ := history.Text(path)
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return fmt.Sprintf("%q", text)
		}
	}
	return text
}
