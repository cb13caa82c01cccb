package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// imageFlags are about the image that a standby keeps.
type imageFlags struct {
	cache       *size
	commitEvery *time.Duration
	baseEvery   *time.Duration
	keep        *retentionFlags
	metaid      *metaID
}

func addImageFlags(f *pflag.FlagSet) *imageFlags {
	i := &imageFlags{
		cache:       sizeFlag(f, "cache", image.DefaultCache, cacheAbout),
		commitEvery: f.Duration("commit-every", time.Second, "how often the image is made durable; what is newer comes again from the stream"),
		baseEvery:   f.Duration("base-every", 6*time.Hour, "how often the image is stored as a base image, so that the stream can drop old entries; 0 is never"),
		keep:        addRetentionFlags(f, "base", 2, "the stream"),
		metaid:      metaidFlag(f),
	}
	return i
}

func (i *imageFlags) check() error {
	if *i.cache < image.MinCache {
		return usagef("a cache of %s is too small: give at least %s", i.cache, formatSize(image.MinCache))
	}
	if *i.baseEvery < 0 {
		return usagef("--base-every %v: give a time, or 0 for never", *i.baseEvery)
	}
	if *i.commitEvery <= 0 {
		return usagef("--commit-every %v: give a time above 0", *i.commitEvery)
	}
	return i.keep.check()
}

func standbyCommand() command {
	return command{
		name:  "standby",
		short: "keep an image up to date from the stream of a tap elsewhere",
		about: `Keeps an image in the data directory up to date from the stream that a tap writes, in the NATS server
at --nats, or in one embedded here that listens for the tap with --listen-nats. A standby without an
image begins with the newest base image in the stream. Stock mounts and tools can read it at --listen-clients.`,
		examples: `mfsstandby standby --nats nats://primary:4222 --data /var/lib/mfsstandby
mfsstandby standby --listen-nats 0.0.0.0:4222 --data /var/lib/mfsstandby
mfsstandby standby --nats tls://nats:4222 --nats-creds /etc/mfs/standby.creds --tls-ca /etc/mfs/ca.pem`,
		setup: func(f *pflag.FlagSet) runFunc {
			d := &daemon{role: "standby"}
			data := dataFlag(f)
			nats := addNATSFlags(f)
			img := addImageFlags(f)
			clients := addClientFlags(f)
			stock := addStockFlags(f)
			roles := addRoleFlags(f)
			stand := addFailoverFlags(f)
			page := addWebFlags(f)
			arch := addArchiveFlags(f)
			delay := f.Duration("delay", 0, "stay so far behind on purpose, so that a mistake can be taken back; see promote")
			logs := addLogFlags(f)
			return func(ctx context.Context, c *console, args []string) error {
				if err := errors.Join(noArgs(args), nats.check(), img.check(), clients.check(), stock.check(), roles.check(clients.listen.text, ""), page.check(), stand.validate(roles), arch.check()); err != nil {
					return err
				}
				if nats.client.URL == "" && nats.listen == "" && len(nats.peers) == 0 {
					return usagef("standby needs --nats URL, --peers, or --listen-nats HOST:PORT for the tap to connect to")
				}
				if *delay < 0 {
					return usagef("--delay %v: give a time, or 0 for none", *delay)
				}
				d.data, d.console, d.log = *data, c, logs.logger(c)
				d.reload = map[string]func(){"log-level": func() {}}
				stand.use(d)
				return runStandby(ctx, d, nats, img, clients, stock, roles, page, arch, *delay)
			}
		},
	}
}

func runStandby(ctx context.Context, d *daemon, nats *natsFlags, img *imageFlags, clients *clientFlags, stock *stockFlags, roles *roleFlags, page *webFlags, arch *archiveFlags, delay time.Duration) error {
	lock, err := d.begin()
	if err != nil {
		return err
	}
	defer lock.Release()
	conn, stop, err := d.connect(nats)
	if err != nil {
		return err
	}
	defer stop()
	cfg := img.config(d)
	cfg.Delay = delay
	s, err := standby.New(cfg, conn)
	if err != nil {
		return err
	}
	d.followStandby(s)
	if err := errors.Join(d.keepHistory(arch, conn, uint64(*img.metaid)), d.serveClients(clients, roles, "", s), d.rehearse(stock, s), d.serveWeb(page)); err != nil {
		return errors.Join(err, s.Close())
	}
	return errors.Join(d.run(ctx), s.Close())
}

func (i *imageFlags) config(d *daemon) standby.Config {
	d.cache = int64(*i.cache)
	return standby.Config{Dir: d.data, Cache: d.cache, CommitEvery: *i.commitEvery, BaseEvery: *i.baseEvery, Keep: i.keep.kept(),
		MetaID: uint64(*i.metaid), Logger: d.log, Events: d.events, Applied: d.measureLatency().Applied, Watch: d.watch, Busy: d.busy}
}
