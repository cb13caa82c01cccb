// Command genlog writes a data directory with a fresh metadata.mfs and a
// synthetic changelog.0.mfs that replays onto it:
//
//	go run ./bench/genlog --mix mixed --entries 3000000 --dir /tmp/data
//	mfsmaster -a ... with DATA_PATH = /tmp/data
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"mfsstandby/bench"
)

func main() {
	var o bench.Options
	mix := pflag.String("mix", string(bench.Mixed), fmt.Sprintf("one of %v", bench.Mixes()))
	dir := pflag.String("dir", "", "directory for metadata.mfs and changelog.0.mfs (made if missing)")
	pflag.Uint64Var(&o.Seed, "seed", 1, "equal seeds give equal files")
	pflag.IntVar(&o.Entries, "entries", 1_000_000, "lines of the changelog")
	pflag.IntVar(&o.Rate, "rate", 20_000, "entries per second of the changelog's clock")
	pflag.Parse()
	if *dir == "" || pflag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "genlog: give --dir DIR and no arguments")
		pflag.Usage()
		os.Exit(2)
	}
	o.Mix, o.Base = bench.Mix(*mix), bench.DefaultBase
	if err := run(*dir, o); err != nil {
		fmt.Fprintln(os.Stderr, "genlog:", err)
		os.Exit(1)
	}
}

func run(dir string, o bench.Options) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	err := write(filepath.Join(dir, "metadata.mfs"), func(w io.Writer) error {
		return bench.FreshMetadata(w, o.Base)
	})
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "changelog.0.mfs"), func(w io.Writer) error {
		return bench.Generate(w, o)
	})
}

func write(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating output: %w", err)
	}
	if err := fill(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing output: %w", err)
	}
	return nil
}
