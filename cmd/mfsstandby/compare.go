package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby/history"
)

func compareCommand() command {
	return command{
		name: "compare", args: "DIR",
		short: "tell whether the data directory of an old master holds what the stream does not",
		about: `Compares the entries in the data directory of a mfsmaster that was replaced, or of a mfsstandby that
does not run, with the stream, by version and text. It tells whether the directory holds entries that
nobody else has, lists them by version, time, path and user, and saves them to a file: the lost tail.
Nothing is merged. A directory that was restored from an older dump is recognised as another history.

The files of a mfsmaster are only read. A mfsstandby's are opened as when it starts: its NATS store
recovers, and half a record at the end of its spool is cut off; of entries that it wrote in full none is
lost. To keep such a directory as it was left, compare a copy. Of a node of a cluster (--peers), a copy in
--temp is opened; what its stream had not stored, because no majority had it, does not count, as nobody
was told that it is stored.

Exit status: 0 nothing is lost, 1 there are such entries, or failed.`,
		examples: `mfsstandby compare /mnt/old-master/var/lib/mfs
mfsstandby compare /mnt/old-leader/var/lib/mfsstandby --nats nats://standby:4222
mfsstandby compare /mnt/old-master/var/lib/mfs --archive /backup/mfs --save lost.mfs --json`,
		setup: func(f *pflag.FlagSet) runFunc {
			h := addHistoryFlags(f)
			save := f.String("save", "", "file for the lost entries, as lines of a changelog file (default: lost-DATE-TIME.mfs here); it must not be there")
			asJSON := f.Bool("json", false, "print all of it, for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) != 1 {
					return usagef("compare takes a directory")
				}
				return compare(ctx, c, h, args[0], *save, *asJSON)
			}
		},
	}
}

func compare(ctx context.Context, c *console, h *historyFlags, dir, save string, asJSON bool) error {
	var res history.Comparison
	var list []history.LostEntry
	err := h.with(ctx, c, func(o *origin, opt history.Options) (err error) {
		cfg := history.CompareConfig{Cluster: o.cluster, Save: save, Options: opt}
		held, err := openHeld(ctx, c, h, dir, &cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, held.Close()) }()
		if save == "" {
			cfg.Save = fmt.Sprintf("lost-%s.mfs", time.Now().Format("20060102-150405"))
		}
		res, err = history.Compare(ctx, o, held, cfg, func(e history.LostEntry) error {
			if asJSON {
				list = append(list, e)
				return nil
			}
			to := ""
			if e.To != "" {
				to = " -> " + printable(e.To)
			}
			_, err := fmt.Fprintf(c.out, "%d  %s  %s%s%s\n          %s\n", e.Version, e.Time, printable(e.Path), to,
				whoText(e.UID, e.GID, e.Session, e.OpenBy), printable(e.Entry))
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		err = c.json(struct {
			history.Comparison
			Entries []history.LostEntry `json:"entries,omitempty"`
		}{res, list})
	} else {
		_, err = fmt.Fprint(c.out, compareText(&res))
	}
	if err == nil && res.Verdict != history.NothingLost {
		err = errDiffers
	}
	return err
}

func compareText(r *history.Comparison) string {
	text := fmt.Sprintf("%s: ", r.Verdict)
	switch r.Verdict {
	case history.AnotherCluster:
		return text + fmt.Sprintf("the directory is of cluster %s, the stream of %s\n", r.MetaID, r.Cluster)
	case history.NotComparable:
		return text + fmt.Sprintf("the directory holds versions %d to %d, the stream begins at %d and ends before %d: look in an archive\n", r.First, r.Next-1, r.Oldest, r.End)
	case history.NothingLost:
		text += fmt.Sprintf("%d entries are the same", r.Same)
	case history.Ahead:
		text += fmt.Sprintf("%d entries from version %d on are behind the end of the stream; let a tap follow the directory (--changelog-dir) to bring them", r.Lost, r.LostFrom)
	case history.LostTail:
		text += fmt.Sprintf("%d entries from version %d on, where another writer took over, are only here", r.Lost, r.LostFrom)
	case history.AnotherHistory:
		text += fmt.Sprintf("%d entries from version %d on are others than the cluster's, and no other writer took over there: it was restored from an older dump. Do not start it as a master of this cluster", r.Lost, r.LostFrom)
	}
	if r.Unknown > 0 {
		text += fmt.Sprintf("; %d entries could not be compared, since the stream does not have these versions", r.Unknown)
	}
	if r.NotInLog > 0 {
		text += fmt.Sprintf("; its metadata file holds %d more versions, of which there are no entries", r.NotInLog)
	}
	if r.SavedTo != "" {
		text += fmt.Sprintf("\nsaved to %s", r.SavedTo)
	}
	return text + "\n"
}

// openHeld opens what a directory holds: of a master its changelog files, of a
// mfsstandby its stream and what its tap had not shipped.
func openHeld(ctx context.Context, c *console, h *historyFlags, dir string, cfg *history.CompareConfig) (history.Held, error) {
	store, spool := filepath.Join(dir, "nats"), filepath.Join(dir, "tap", "spool")
	hasStore, hasSpool := isDir(store), isDir(spool)
	if !hasStore && !hasSpool {
		cfg.Dir = dir
		return history.HeldFiles(dir)
	}
	var held history.Held
	if hasStore {
		o, err := h.openStore(ctx, c, dir, 0)
		if err != nil {
			return nil, busy(err, "stop it first")
		}
		cfg.MetaID = o.cluster
		held = &heldStore{history.HeldSource(o), o}
	}
	if !hasSpool {
		return held, nil
	}
	rest, err := history.HeldSpool(spool)
	if err != nil {
		if held != nil {
			err = errors.Join(err, held.Close())
		}
		return nil, err
	}
	if held == nil {
		return rest, nil
	}
	return history.HeldBoth(held, rest), nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// heldStore closes the store with what was read from it.
type heldStore struct {
	history.Held
	o *origin
}

func (h *heldStore) Close() error { return errors.Join(h.Held.Close(), h.o.close()) }
