package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

func restoreCommand() command {
	return command{
		name: "restore", args: "[CHANGELOG...]",
		short: "make the metadata of any version or time, from the stream, an archive, or changelog files",
		about: `With --at, makes the metadata as it was at a version or time: of the history in the stream, which is
asked of the process on --data or read there, of a NATS server, or of an archive. It goes to a metadata
file (-o) or becomes the image of a new data directory (--into). A time stands for the version behind
the last entry that is not later, by the master's clock. It warns of files whose chunks were deleted or
written since: data does not come back with the metadata.

With -m, brings a metadata file forward by changelog files, as mfsmetarestore did. That needs no data
directory.

Temporary images are made beside the output and removed.`,
		examples: `mfsstandby restore --at 1200000 -o metadata.mfs
mfsstandby restore --at "2026-01-02 15:04:05" -o metadata.mfs --archive /backup/mfs
mfsstandby restore --at 2026-01-02T15:04:05Z --into /var/lib/mfsstandby.then --nats nats://mfsmaster:4222
mfsstandby restore -m metadata.mfs.back -o metadata.mfs changelog.*.mfs
mfsstandby restore -m metadata.mfs.back -o at-noon.mfs --until 1200000 changelog.*.mfs`,
		setup: func(f *pflag.FlagSet) runFunc {
			r := &restorer{h: addHistoryFlags(f)}
			f.StringVar(&r.at, "at", "", "version (1200000) or time (RFC 3339, \"2006-01-02 15:04:05\" local, @UNIX, now) to go back to")
			f.Uint64Var(&r.epoch, "epoch", 0, "with --at: as the history was in this epoch, before a later one gave up some of it")
			f.StringVarP(&r.base, "metadata", "m", "", "metadata file to start from, with changelog files")
			f.StringVarP(&r.out, "output", "o", "", "metadata file to write")
			f.StringVar(&r.crc, "crc", "", "file to write the checksums to, as mfsmaster's metadata.crc")
			f.StringVar(&r.into, "into", "", "with --at: new data directory, instead of -o")
			f.BoolVar(&r.force, "force", false, "with --into: replace the image that is there")
			f.StringVar(&r.gone, "gone", "", "with --at: file for the list, a JSON object per line, of files whose chunks may be gone")
			f.Uint64Var(&r.until, "until", 0, "with -m: version to stop at (default: the end of the files)")
			f.BoolVar(&r.asJSON, "json", false, "print a summary for programs")
			return func(ctx context.Context, c *console, args []string) error {
				switch {
				case r.at != "" && (r.base != "" || len(args) > 0):
					return usagef("restore takes --at, or -m METADATA with changelog files")
				case r.at != "":
					return r.restoreAt(ctx, c)
				case r.base == "" || r.out == "":
					return usagef("restore needs --at VERSION or TIME with -o OUT or --into DIR, or -m METADATA and -o OUT")
				}
				cfg := replay.RestoreConfig{Base: r.base, Out: r.out, CRC: r.crc, Changes: args, Until: meta.Version(r.until),
					Cache: int64(*r.h.cache), Logger: c.logger()}
				return restore(ctx, c, cfg, r.asJSON)
			}
		},
	}
}

// restorer is what the flags of restore say.
type restorer struct {
	h               *historyFlags
	at              string
	epoch           uint64
	base, out, crc  string
	into, gone      string
	until           uint64
	force, asJSON   bool
	files, deleted  int // that may have lost data; that have lost chunks
	unsure          *bufio.Writer
	summary         restoreSummary
	image           history.Place
	started         time.Time
	progressOfStage *stages
}

// restoreSummary is what restore --json prints.
type restoreSummary struct {
	Output  string       `json:"output"`
	From    meta.Version `json:"from_version"`
	Version meta.Version `json:"version"`
	Entries uint64       `json:"entries"`
	Seconds float64      `json:"seconds"`
	Torn    string       `json:"torn,omitempty"`
	Time    *time.Time   `json:"time,omitempty"`       // with --at: of the last entry
	Gone    int          `json:"files_gone,omitempty"` // with --at: whose chunks were deleted or written since
}

func (r *restorer) restoreAt(ctx context.Context, c *console) (err error) {
	if (r.out == "") == (r.into == "") {
		return usagef("restore --at needs -o OUT or --into DIR")
	}
	at, err := point(r.at)
	if err != nil {
		return err
	}
	at.Epoch = stream.Epoch(r.epoch)
	r.started, r.progressOfStage = time.Now(), &stages{c: c}
	defer r.progressOfStage.end()
	o, err := r.h.open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	dir, done, err := r.room()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	opt := history.Options{Dir: dir, Cache: int64(*r.h.cache), Logger: c.logger(), Stage: r.progressOfStage.begin}
	if r.image, err = history.Locate(ctx, o, at, r.progressOfStage.begin("looking for "+at.String(), 0)); err != nil {
		return err
	}
	img, err := history.Build(ctx, o, r.image, opt)
	if err != nil {
		return err
	}
	err = errors.Join(r.use(ctx, o, img), img.Close())
	r.progressOfStage.end()
	if err != nil {
		return err
	}
	return r.tell(c)
}

// room is where the image is made: a directory that done removes, or that stays.
func (r *restorer) room() (dir string, done func() error, err error) {
	if r.into == "" {
		dir, err = os.MkdirTemp(filepath.Dir(r.out), ".mfsstandby-restore-*")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(r.into, 0o755); err != nil {
		return "", nil, err
	}
	lock, err := control.Acquire(r.into, "restore")
	if err != nil {
		return "", nil, busy(err, "restore into another directory")
	}
	if _, err := os.Stat(standby.ImageDir(r.into)); err == nil && !r.force {
		return "", nil, errors.Join(fmt.Errorf("%s holds an image already: replace it with --force, or give another directory", r.into), lock.Release())
	}
	return r.into, lock.Release, nil
}

// use writes the metadata file, if one is wanted, and looks which files may have
// lost data.
func (r *restorer) use(ctx context.Context, o *origin, img *image.Image) (err error) {
	view, err := img.View()
	if err != nil {
		return err
	}
	defer view.Close()
	pos := view.Position()
	r.summary = restoreSummary{Output: r.out + r.into, From: r.image.Base.Version, Version: pos.Version, Entries: uint64(pos.Version - r.image.Base.Version)}
	if pos.Time != 0 {
		t := time.Unix(int64(pos.Time), 0)
		r.summary.Time = &t
	}
	if r.out != "" {
		if err := standby.WriteView(view, r.out, r.crc, r.progressOfStage.begin("writing "+r.out, 0)); err != nil {
			return err
		}
	}
	if r.gone != "" {
		f, err := os.Create(r.gone)
		if err != nil {
			return err
		}
		r.unsure = bufio.NewWriter(f)
		defer func() { err = errors.Join(err, r.unsure.Flush(), f.Close()) }()
	}
	from := stream.Position{Version: pos.Version, Epoch: stream.Epoch(pos.Epoch), Chain: stream.ChainOf(pos.Chain)}
	return history.FindGone(ctx, o, view.State(), from, r.progressOfStage.begin("looking for chunks that are gone", 0), func(g history.Gone) error {
		r.files++
		if g.Deleted > 0 {
			r.deleted++
		}
		if r.unsure == nil {
			return nil
		}
		return json.NewEncoder(r.unsure).Encode(g)
	})
}

func (r *restorer) tell(c *console) error {
	r.summary.Seconds, r.summary.Gone = time.Since(r.started).Seconds(), r.files
	if r.files > 0 {
		more := "; --gone FILE lists them"
		if r.gone != "" {
			more = "; they are listed in " + r.gone
		}
		fmt.Fprintf(c.err, "mfsstandby: warning: the data of %d files has changed since, of %d of them chunks were deleted: what is restored is their metadata%s\n", r.files, r.deleted, more)
	}
	if r.asJSON {
		return c.json(r.summary)
	}
	last := ""
	if r.summary.Time != nil {
		last = ", the last entry is of " + r.summary.Time.Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(c.out, "%s: version %d%s (base image %d and %d entries)\n", r.summary.Output, r.summary.Version, last, r.summary.From, r.summary.Entries)
	return err
}

func restore(ctx context.Context, c *console, cfg replay.RestoreConfig, asJSON bool) error {
	stages := stages{c: c}
	cfg.Stage = stages.begin
	start := time.Now()
	res, err := replay.Restore(ctx, cfg)
	stages.end()
	if err != nil {
		return err
	}
	if asJSON {
		sum := restoreSummary{Output: cfg.Out, From: res.To - meta.Version(res.Entries), Version: res.To,
			Entries: res.Entries, Seconds: time.Since(start).Seconds()}
		if res.Torn != nil {
			sum.Torn = res.Torn.Error()
		}
		return c.json(sum)
	}
	reportReplay(c, &res)
	_, err = fmt.Fprintf(c.out, "%s: version %d\n", cfg.Out, res.To)
	return err
}
