// Command capture makes a replay fixture with the real MooseFS daemons:
//
//	go run ./bench/e2e/capture --seed 1 --ops 20000 --out DIR
//
// DIR gets before.mfs, changelog.mfs, after.mfs and mfsmetadump's text of both
// metadata files. It needs root and the MooseFS packages.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/bench/e2e"
)

func main() {
	e2e.Main()
	cfg := e2e.CaptureConfig{Cluster: e2e.Config{Mounts: 2, Meta: true}}
	pflag.StringVar(&cfg.Dir, "out", "", "directory for the fixture")
	pflag.StringVar(&cfg.Scratch, "scratch", "", "directory for the cluster (default: a temporary one, removed afterwards)")
	pflag.Uint64Var(&cfg.Seed, "seed", 1, "what the workload does")
	pflag.IntVar(&cfg.Warmup, "warmup", 1000, "operations before before.mfs")
	pflag.IntVar(&cfg.Ops, "ops", 20_000, "operations from before.mfs to after.mfs")
	pflag.IntVar(&cfg.Cluster.Chunkservers, "chunkservers", 3, "how many; 0: metadata only")
	pflag.BoolVar(&cfg.Cluster.FakeTime, "hours", false, "let the master's clock jump by hours (needs faketime)")
	pflag.BoolVar(&cfg.Disturb, "disturb", false, "stop and start chunkservers, change exports and the like")
	pflag.BoolVar(&cfg.Stale, "stale", false, "with --disturb: repair files to older chunk versions (the master's own replay stops there)")
	pflag.Parse()
	if cfg.Dir == "" || pflag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "capture: give --out DIR and no arguments")
		pflag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg e2e.CaptureConfig) error {
	if cfg.Scratch == "" {
		dir, err := os.MkdirTemp("", "capture")
		if err != nil {
			return fmt.Errorf("making a scratch directory: %w", err)
		}
		defer os.RemoveAll(dir)
		cfg.Scratch = dir
	}
	report, err := e2e.Capture(ctx, cfg)
	show("operation", report.Done)
	show("error", report.Failed)
	fmt.Printf("%d operations in %v\n", report.Ops(), report.Took.Round(time.Second))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(cfg.Dir + "/changelog.mfs")
	if err != nil {
		return fmt.Errorf("reading the changelog: %w", err)
	}
	show("entry", e2e.Histogram(text))
	return nil
}

func show(title string, counts map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("%-10s %8d %s\n", title, counts[name], name)
	}
}
