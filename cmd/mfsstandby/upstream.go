package main

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/server"
	"mfsstandby/standby/upstream"
)

// defaultListenMetaloggers is where metaloggers look for a master.
const defaultListenMetaloggers = "*:9419"

// upstreamFlags are about being a master to metaloggers. Those of files are
// named as the stock master's settings.
type upstreamFlags struct {
	listen  address
	cascade bool
	cfg     upstream.Config
}

func addUpstreamFlags(f *pflag.FlagSet) *upstreamFlags {
	u := &upstreamFlags{listen: address{text: defaultListenMetaloggers}}
	f.Var(&u.listen, "listen-metaloggers", "HOST:PORT to serve metaloggers on after a promotion; empty is nowhere")
	f.StringVar(&u.cfg.Dir, "upstream-dir", "", "directory for changelog.N.mfs and metadata.mfs.back as a master writes them; by default mfs in the data directory")
	f.BoolVar(&u.cascade, "cascade", false, "write these files and serve metaloggers before a promotion, too")
	f.IntVar(&u.cfg.BackLogs, "back-logs", upstream.DefaultBackLogs, "changelog files to keep beside the current one; there is a new one each hour")
	f.IntVar(&u.cfg.SaveEvery, "metadata-save-freq", upstream.DefaultSaveEvery, "hours between two metadata.mfs.back")
	f.IntVar(&u.cfg.KeepPrevious, "back-meta-keep-previous", upstream.DefaultPrevious, "metadata.mfs.back.N to keep")
	return u
}

func (u *upstreamFlags) check() error {
	cfg := u.cfg
	if cfg.Dir == "" {
		cfg.Dir = "mfs"
	}
	if err := cfg.Validate(); err != nil {
		return usagef("%v (--back-logs, --metadata-save-freq, --back-meta-keep-previous)", err)
	}
	return nil
}

// addUpstream makes what is kept and served for metaloggers. It runs while this
// process leads (besideLeader), or all the time.
func (d *daemon) addUpstream(f *upstreamFlags, s *standby.Standby) error {
	cfg := f.cfg
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(d.data, "mfs")
	}
	cfg.Cluster, cfg.View, cfg.Logger, cfg.Events = s.Cluster, s.View, d.log, d.events
	cfg.Release = func() string { return s.Status().Release }
	cfg.Options = map[string]string{
		"BACK_LOGS":               strconv.Itoa(cfg.BackLogs),
		"METADATA_SAVE_FREQ":      strconv.Itoa(cfg.SaveEvery),
		"BACK_META_KEEP_PREVIOUS": strconv.Itoa(cfg.KeepPrevious),
	}
	if f.listen.text != "" {
		cfg.Listen = f.listen.listen
		_, cfg.Port, _ = net.SplitHostPort(f.listen.text) // checked when it was set
	}
	u, err := upstream.New(cfg)
	if err != nil {
		return err
	}
	handed, err := d.handedOver()
	if err != nil {
		return err
	}
	if handed != nil && handed.Started {
		_, port, err := net.SplitHostPort(handed.Metaloggers)
		if err != nil {
			return err
		}
		u.Leave(port)
	}
	d.upstream, d.cascade = u, f.cascade
	if f.cascade {
		d.parts = append(d.parts, part{"upstream", func(ctx context.Context) error {
			u.Run(ctx)
			return nil
		}})
	}
	return nil
}

// besideLeader runs what is for metaloggers while this process leads.
func (d *daemon) besideLeader(ctx context.Context, l *leader.Leader) {
	d.upstream.Lead(l)
	defer d.upstream.Lead(nil)
	if d.cascade {
		<-ctx.Done()
		return
	}
	d.upstream.Run(ctx)
}

// metaloggers are those of this process, while it leads.
func (d *daemon) metaloggers() ([]server.Metalogger, bool) {
	var list []server.Metalogger
	for _, m := range d.upstream.Status().Metaloggers {
		list = append(list, server.Metalogger{Release: m.Release, IP: ipv4(m.Address)})
	}
	return list, d.upstream.Leads()
}

// ipv4 is the IP of an IP:PORT, 0 if it is none of 4 bytes.
func ipv4(address string) uint32 {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	ip, err := netip.ParseAddr(host)
	if ip = ip.Unmap(); err != nil || !ip.Is4() {
		return 0
	}
	b := ip.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
