package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"mfsstandby/bench/sample"
	"mfsstandby/replicator"
	"mfsstandby/standby"
)

func runCommand() command {
	return command{
		name: "run", args: "[CHANGELOG...]",
		short: "the whole job on one machine: follow a master into an image",
		about: `Follows a stock master and keeps an exact image of its metadata: the tap, a NATS server and the standby
in one process. All state is in the data directory; killed at any moment, it goes on where it was.
Stock mounts and tools can read the image at --listen-clients.

Without a source and without a configuration file it follows a built-in sample primary, for trying it
out. Changelog files are read to their end, then it leaves.

SIGTERM: commits and leaves within 5 seconds. SIGHUP: reads the configuration file again.`,
		examples: `mfsstandby run --data ./data                                            # sample primary
mfsstandby run --primary mfsmaster --data /var/lib/mfsstandby
mfsstandby run --changelog-dir /var/lib/mfs --data /var/lib/mfsstandby
mfsstandby run --base metadata.mfs.back changelog.*.mfs --data ./data
mfsstandby run --config /etc/mfs/mfsstandby.cfg                         # as the systemd unit does`,
		setup: func(f *pflag.FlagSet) runFunc {
			r := &runner{daemon: daemon{role: "run"}}
			data := dataFlag(f)
			r.img = addImageFlags(f)
			r.clients = addClientFlags(f)
			r.stock = addStockFlags(f)
			r.roles = addRoleFlags(f)
			r.src = addSourceFlags(f, r.img.metaid)
			f.BoolVar(&r.sample, "sample", false, "follow the built-in sample primary even though there is a configuration file")
			r.rate = rateFlag(f)
			r.nats = addNATSFlags(f)
			r.stand = addFailoverFlags(f)
			r.web = addWebFlags(f)
			r.arch = addArchiveFlags(f)
			logs := addLogFlags(f)
			return func(ctx context.Context, c *console, args []string) error {
				r.data, r.console, r.log = *data, c, logs.logger(c)
				if err := r.check(args); err != nil {
					return err
				}
				return r.follow(ctx, args)
			}
		},
	}
}

// runner is what the command run needs.
type runner struct {
	daemon
	src     *sourceFlags
	nats    *natsFlags
	img     *imageFlags
	clients *clientFlags
	stock   *stockFlags
	roles   *roleFlags
	web     *webFlags
	stand   *failoverFlags
	arch    *archiveFlags
	sample  bool
	rate    *int
}

func (r *runner) check(files []string) error {
	if err := errors.Join(r.src.check(files), r.nats.check(), r.img.check(), r.clients.check(), r.stock.check(), r.roles.check(r.clients.listen.text, r.src.cfg.Primary), r.web.check(), r.stand.validate(r.roles), r.arch.check()); err != nil {
		return err
	}
	switch given := r.src.any(files); {
	case given && r.sample:
		return usagef("--sample is a source of its own: give no other")
	case !given && !r.sample && r.console.config.path != "":
		return usagef("%s names no primary: set PRIMARY or CHANGELOG_DIR there, or try things out with --sample", r.console.config.path)
	case !given:
		r.sample = true
	}
	return nil
}

func (r *runner) follow(ctx context.Context, files []string) error {
	lock, err := r.begin()
	if err != nil {
		return err
	}
	defer lock.Release()
	r.reload = map[string]func(){"log-level": func() {}}
	r.stand.use(&r.daemon)
	if r.sample {
		if err := r.startSample(); err != nil {
			return err
		}
	}
	conn, stop, err := r.connect(r.nats)
	if err != nil {
		return err
	}
	defer stop()
	if r.src.cfg.TakeOver {
		if err := r.dropHandOver(); err != nil {
			return err
		}
	}
	tap, err := newTapper(func() (*replicator.Replicator, error) {
		cfg := r.src.config(&r.daemon, r.nats, files)
		handed, err := r.handedOver()
		if err != nil {
			return nil, err
		}
		if handed != nil && handed.Started { // not what it was told to follow before
			cfg.Primary, cfg.ChangelogDir, cfg.MetadataDir, cfg.Files, cfg.Base = handed.Metaloggers, "", "", nil, ""
			cfg.Term, cfg.Shared = handed.Term, false // nobody else can follow it
		}
		return replicator.New(cfg, conn)
	})
	if err != nil {
		return err
	}
	cfg := r.img.config(&r.daemon)
	cfg.Received = tap.Received
	s, err := standby.New(cfg, conn)
	if err != nil {
		return err
	}
	r.followStandby(s)
	r.addTapper(tap)
	r.clients.beside = !r.sample && r.src.onThisHost(r.roles)
	if err := errors.Join(r.keepHistory(r.arch, conn, uint64(*r.img.metaid)), r.serveClients(r.clients, r.roles, r.src.cfg.Primary, s), r.rehearse(r.stock, s), r.serveWeb(r.web)); err != nil {
		return errors.Join(err, s.Close())
	}
	r.greet()
	return errors.Join(r.run(ctx), s.Close())
}

// startSample adds the sample primary to the parts.
func (r *runner) startSample() error {
	dir := filepath.Join(r.data, "sample")
	p, err := sample.New(sample.Config{Dir: dir, Rate: *r.rate, Logger: r.log})
	if err != nil {
		return err
	}
	r.src.cfg.ChangelogDir = dir
	if *r.img.metaid == 0 {
		*r.img.metaid = metaID(p.MetaID()) // a data directory used for another cluster is refused at once
	}
	r.parts = append(r.parts, part{"sample primary", p.Run})
	r.reload["rate"] = func() { p.SetRate(*r.rate) }
	return nil
}

// greet tells what to do next.
func (r *runner) greet() {
	what := "the files"
	switch {
	case r.sample:
		what = fmt.Sprintf("a built-in sample primary that writes %d entries/s; follow your master with --primary HOST", *r.rate)
	case r.src.cfg.Primary != "":
		what = r.src.cfg.Primary
	case r.src.cfg.ChangelogDir != "":
		what = r.src.cfg.ChangelogDir
	}
	program := os.Args[0]
	if !strings.ContainsRune(program, filepath.Separator) {
		program = "mfsstandby"
	}
	page := ""
	if r.page != "" {
		page = "Open in a browser: " + r.page + "\n"
	}
	fmt.Fprintf(r.console.out, `Following %s.
%[4]sType in a second terminal:
  %[2]s status --watch --data %[3]s
  %[2]s export -o metadata.mfs --data %[3]s
Ctrl-C ends it.
`, what, program, r.data, page)
}
