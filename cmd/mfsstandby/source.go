package main

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/replicator"
)

// sourceFlags say where a tap gets entries from.
type sourceFlags struct {
	cfg      replicator.Config
	spoolMax *size
	metaid   *metaID
}

const defaultSpool = 8 << 30

func addSourceFlags(f *pflag.FlagSet, metaid *metaID) *sourceFlags {
	s := &sourceFlags{metaid: metaid}
	f.StringVar(&s.cfg.Primary, "primary", "", "stock master to follow, HOST[:9419]")
	f.StringVar(&s.cfg.ChangelogDir, "changelog-dir", "", "follow the changelog files in this directory of a master or metalogger")
	f.StringVar(&s.cfg.MetadataDir, "metadata-dir", "", "follow a directory to which metadata.mfs.back and changelog files are copied time and again (cron and scp)")
	f.StringVar(&s.cfg.Base, "base", "", "metadata file that changelog files given as arguments continue")
	f.BoolVar(&s.cfg.TakeOver, "take-over", false, "follow the primary even though a standby was promoted since; what it accepted may be given up")
	s.spoolMax = sizeFlag(f, "spool-max", defaultSpool, "most that is kept on disk while the stream does not take it")
	return s
}

// onThisHost tells whether the master that is followed runs here: its address is
// one of this host's and does not float, or the directory is a master's own.
func (s *sourceFlags) onThisHost(r *roleFlags) bool {
	if s.cfg.ChangelogDir != "" {
		own, _ := filepath.Glob(filepath.Join(s.cfg.ChangelogDir, "changelog.*.mfs")) // a metalogger's are changelog_ml.*.mfs
		return len(own) > 0
	}
	if s.cfg.Primary == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpLimit)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostOf(s.cfg.Primary))
	if err != nil {
		return false // the tap tells it, and asks again
	}
	here, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(found, func(ip netip.Addr) bool {
		ip = ip.Unmap()
		return !r.floats(ip) && (ip.IsLoopback() || slices.ContainsFunc(here, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr().Unmap() == ip
		}))
	})
}

// lookUpLimit is how long a name server may take to say where the master is.
const lookUpLimit = 5 * time.Second

// check refuses combinations that cannot be meant; files are the arguments.
func (s *sourceFlags) check(files []string) error {
	sources := 0
	for _, given := range []bool{s.cfg.Primary != "", s.cfg.ChangelogDir != "", s.cfg.MetadataDir != "", len(files) > 0} {
		if given {
			sources++
		}
	}
	switch {
	case sources > 1:
		return usagef("give one source only: --primary HOST, --changelog-dir DIR, --metadata-dir DIR, or changelog files")
	case len(files) > 0 && s.cfg.Base == "":
		return usagef("changelog files need the metadata file that they continue: --base FILE")
	case len(files) == 0 && s.cfg.Base != "":
		return usagef("--base is for changelog files given as arguments; another source has metadata files of its own")
	}
	return nil
}

// any tells whether a source is given.
func (s *sourceFlags) any(files []string) bool {
	return s.cfg.Primary != "" || s.cfg.ChangelogDir != "" || s.cfg.MetadataDir != "" || len(files) > 0
}

// config completes the tap's Config. Its spool is synced every now and then
// only: what a power failure takes of it, the stream or the primary has.
func (s *sourceFlags) config(d *daemon, nats *natsFlags, files []string) replicator.Config {
	cfg := s.cfg
	cfg.Files = files
	cfg.Dir = filepath.Join(d.data, "tap")
	cfg.SpoolMax = int64(*s.spoolMax)
	cfg.MetaID = uint64(*s.metaid)
	cfg.Who, cfg.Replicas = nats.node, nats.replicas
	cfg.Shared = len(nats.peers) > 0 && len(files) == 0
	if d.failover != nil {
		cfg.Silence = 3 * time.Second // the least there is: the primary says something each second then
	}
	cfg.Logger, cfg.Events = d.log, d.events
	cfg.Busy = d.busy
	return cfg
}
