package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

func tapCommand() command {
	return command{
		name: "tap", args: "[CHANGELOG...]",
		short: "publish a master's changelog to a stream, for standbys elsewhere",
		about: `Follows a stock master as a metalogger does, or a directory with its changelog files, and publishes
every entry to the stream of its cluster: in the NATS server at --nats, or in one embedded here that
listens for standbys with --listen-nats. What is received goes to a spool on disk first, so neither a
stalled NATS nor a slow disk ever holds the master back. Changelog files are read to their end.`,
		examples: `mfsstandby tap --primary mfsmaster --listen-nats 0.0.0.0:4222 --data /var/lib/mfsstandby
mfsstandby tap --changelog-dir /var/lib/mfs --nats nats://nats:4222 --data /var/lib/mfsstandby
mfsstandby tap --base metadata.mfs.back changelog.*.mfs --nats nats://nats:4222`,
		setup: func(f *pflag.FlagSet) runFunc {
			d := &daemon{role: "tap"}
			data := dataFlag(f)
			id := metaidFlag(f)
			src := addSourceFlags(f, id)
			nats := addNATSFlags(f)
			page := addWebFlags(f)
			arch := addArchiveFlags(f)
			logs := addLogFlags(f)
			return func(ctx context.Context, c *console, args []string) error {
				if err := errors.Join(src.check(args), nats.check(), page.check(), arch.check()); err != nil {
					return err
				}
				if !src.any(args) {
					return usagef("tap needs a source: --primary HOST, --changelog-dir DIR, or changelog files")
				}
				if nats.client.URL == "" && nats.listen == "" && len(nats.peers) == 0 {
					return usagef("tap needs --nats URL, --peers, or --listen-nats HOST:PORT for standbys to connect to")
				}
				d.data, d.console, d.log = *data, c, logs.logger(c)
				d.reload = map[string]func(){"log-level": func() {}}
				return runTap(ctx, d, src, nats, page, arch, args)
			}
		},
	}
}

func runTap(ctx context.Context, d *daemon, src *sourceFlags, nats *natsFlags, page *webFlags, arch *archiveFlags, files []string) error {
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
	r, err := replicator.New(src.config(d, nats, files), conn)
	if err != nil {
		return err
	}
	d.addTap(r)
	if err := errors.Join(d.keepHistory(arch, conn, uint64(*src.metaid)), d.serveWeb(page)); err != nil {
		return err
	}
	return d.run(ctx)
}

// addTap adds a tap to the parts. When its source ends, all end.
func (d *daemon) addTap(r *replicator.Replicator) {
	d.tellTap(r.Status)
	d.parts = append(d.parts, part{"tap", func(ctx context.Context) error {
		d.storeReady(ctx)
		err := r.Run(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		return d.sourceEnded(ctx, r)
	}})
}

// addTapper adds a tap that stops while this process leads.
func (d *daemon) addTapper(t *tapper) {
	d.tellTap(func() replicator.Status { return t.now.Load().Status() })
	d.tap = t
	d.parts = append(d.parts, part{"tap", func(ctx context.Context) error {
		d.storeReady(ctx)
		return t.run(ctx, func(r *replicator.Replicator) error { return d.sourceEnded(ctx, r) })
	}})
}

func (d *daemon) tellTap(status func() replicator.Status) {
	others := d.status
	d.status = func(st *control.Status) {
		now := status()
		st.Tap = &now
		if others != nil {
			others(st)
		}
	}
}

// sourceEnded ends the process when all that the source had is applied.
func (d *daemon) sourceEnded(ctx context.Context, r *replicator.Replicator) error {
	d.log.Info("the source has ended", "version", r.Status().Published)
	err := d.applied(ctx, r.Status().Published)
	d.archived(ctx, r.Status().Published)
	d.end()
	return err
}

// archived waits until the archive, if there is one, has what is before a version,
// or will have it when it ends.
func (d *daemon) archived(ctx context.Context, v meta.Version) {
	if d.archiver == nil {
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for d.archiver.Status().Read < v {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// applied waits until the standby, if there is one, is at a version.
func (d *daemon) applied(ctx context.Context, v meta.Version) error {
	if d.standby == nil {
		return nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		switch st := d.standby.Status(); {
		case st.Image >= v:
			return nil
		case st.State == standby.Stopped:
			return nil // the standby's own error tells why
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
