package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// leastFree is what a data directory's disk must have free. The image is
	// written through memory maps, where a full disk kills the process: all that
	// writes ends before.
	leastFree = 96 << 20
	lookEvery = 100 * time.Millisecond
)

// checkRoom says that a disk is nearly full.
func checkRoom(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("looking at the disk of %s: %w", dir, err)
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < leastFree {
		return fmt.Errorf("the disk of data directory %s is full: %s are free, %s are needed to work; make room and start again, nothing is lost",
			dir, formatSize(free), formatSize(leastFree))
	}
	return nil
}

// watchRoom ends with an error when the disk is nearly full.
func (d *daemon) watchRoom(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := checkRoom(d.data); err != nil {
				return err
			}
		}
	}
}
