package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/archive"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/control"
	"mfsstandby/standby/history"
)

// archiveFlags say where the history is archived.
type archiveFlags struct {
	dir    *string
	every  *time.Duration
	limits *retentionFlags
}

func addArchiveFlags(f *pflag.FlagSet) *archiveFlags {
	return &archiveFlags{
		dir:    f.String("archive", "", "directory to archive base images and entries to, for restore --archive (default: nowhere)"),
		every:  f.Duration("archive-every", time.Minute, "how long entries wait for others before they are archived"),
		limits: addRetentionFlags(f, "archive", 0, "the archive"),
	}
}

func (a *archiveFlags) check() error {
	if *a.every <= 0 {
		return usagef("--archive-every %v: give a time above 0", *a.every)
	}
	return a.limits.check()
}

// retentionFlags say how much history is kept, in the stream or in an archive.
type retentionFlags struct {
	prefix string
	keep   *int
	age    *time.Duration
	size   *size
}

func addRetentionFlags(f *pflag.FlagSet, prefix string, keep int, where string) *retentionFlags {
	return &retentionFlags{
		prefix: prefix,
		keep:   f.Int(prefix+"-keep", keep, "base images that "+where+" keeps at most, with the entries since the oldest; 0 is any number"),
		age:    f.Duration(prefix+"-max-age", 0, "how long history stays in "+where+"; 0 is for ever"),
		size:   sizeFlag(f, prefix+"-max-size", 0, "what the history in "+where+" may take; 0 is any size"),
	}
}

func (r *retentionFlags) check() error {
	if *r.keep < 0 || *r.age < 0 {
		return usagef("--%s-keep and --%s-max-age cannot be negative", r.prefix, r.prefix)
	}
	return nil
}

func (r *retentionFlags) limits() stream.Retention {
	return stream.Retention{Keep: *r.keep, MaxAge: *r.age, MaxSize: int64(*r.size)}
}

// kept is limits where none at all would mean the default.
func (r *retentionFlags) kept() stream.Retention {
	limits := r.limits()
	if limits == (stream.Retention{}) {
		limits.Keep = math.MaxInt
	}
	return limits
}

// keepHistory lets others of this host read the stream, and adds an archiver to
// the parts, if one is wanted.
func (d *daemon) keepHistory(a *archiveFlags, conn *stream.Conn, id uint64) error {
	d.history = func(ctx context.Context) (history.Source, error) {
		c, err := openCluster(ctx, conn, id)
		if err != nil {
			return nil, err
		}
		return history.OfStream(c), nil
	}
	if *a.dir == "" {
		return nil
	}
	w, err := archive.NewArchiver(archive.Config{Dir: *a.dir, MetaID: id, Every: *a.every, Limits: a.limits.limits(), Logger: d.log, Events: d.events}, conn)
	if err != nil {
		return err
	}
	d.parts = append(d.parts, part{"archive", w.Run})
	d.archiver = w
	others := d.status
	d.status = func(st *control.Status) {
		now := w.Status()
		st.Archive = &now
		others(st)
	}
	return nil
}

func archiveCheckCommand() command {
	return command{
		name: "archive check", args: "DIR",
		short: "check an archive: every checksum, and that no entry is missing",
		about: `Reads all files of an archive, compares them with their checksums and with one another, and tells
which versions can be restored. Exit status 1 if a file is damaged or missing.`,
		examples: `mfsstandby archive check /backup/mfs
mfsstandby archive check /backup/mfs --json`,
		setup: func(f *pflag.FlagSet) runFunc {
			asJSON := f.Bool("json", false, "print the report for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) != 1 {
					return usagef("archive check takes a directory")
				}
				return checkArchive(ctx, c, args[0], *asJSON)
			}
		},
	}
}

func checkArchive(ctx context.Context, c *console, dir string, asJSON bool) error {
	var p *progress
	rep, err := archive.Check(ctx, dir, func(done, total int64) {
		if p == nil {
			p = c.progress("checking "+dir, total)
		}
		p.at(done)
	})
	if p != nil {
		p.end()
	}
	if err != nil {
		return err
	}
	if asJSON {
		err = c.json(rep)
	} else {
		for _, problem := range rep.Problems {
			fmt.Fprintf(c.out, "%v\n", problem)
		}
		for _, s := range rep.Spans {
			fmt.Fprintf(c.out, "versions %d to %d, from epoch %d on, with %d base images\n", s.First, s.Last, s.Epoch, s.Bases)
		}
		_, err = fmt.Fprintf(c.out, "cluster %s: %d files, %s, %d entries, %d problems\n", rep.MetaID, rep.Files, formatSize(rep.Bytes), rep.Entries, len(rep.Problems))
	}
	if err == nil && len(rep.Problems) > 0 {
		err = errDiffers
	}
	return err
}
