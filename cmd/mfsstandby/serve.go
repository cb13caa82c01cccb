package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/locate"
	"mfsstandby/standby/mastercfg"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/server"
	"mfsstandby/standby/stock"
)

// defaultListenClients is where stock clients look for a master.
const defaultListenClients = "*:9421"

// address is a flag that takes HOST:PORT, with * for all addresses, or nothing.
type address struct {
	text  string
	given bool // it is not the default
}

func (a *address) String() string { return a.text }
func (a *address) Type() string   { return "host:port" }

func (a *address) Set(text string) error {
	if text != "" {
		if _, _, err := net.SplitHostPort(text); err != nil {
			return fmt.Errorf("%q is no HOST:PORT", text)
		}
	}
	a.text, a.given = text, true
	return nil
}

// listen opens the address.
func (a *address) listen() (net.Listener, error) {
	return net.Listen("tcp", strings.TrimPrefix(a.text, "*"))
}

// clientFlags are about serving clients from the image.
type clientFlags struct {
	listen  address
	exports *string
	master  *string
	maxLag  *time.Duration
	nice    *int
	primary locate.Config
	state   string
	beside  bool // the master that is followed is on this host: the default port is that one's, even while it is down

	upstream *upstreamFlags
}

func addClientFlags(f *pflag.FlagSet) *clientFlags {
	c := &clientFlags{listen: address{text: defaultListenClients}, upstream: addUpstreamFlags(f)}
	f.Var(&c.listen, "listen-clients", "HOST:PORT to serve mounts and tools on, read-only until it is promoted; empty is nowhere")
	c.exports = f.String("exports", exports.DefaultFile, "who may mount what, as the stock master's file; SIGHUP reads it again")
	c.master = f.String("master-config", mastercfg.DefaultFile, "the stock master's options, of which a leader takes ATIME_MODE, MAX_ALLOWED_HARD_LINKS, INODE_REUSE_DELAY and SESSION_SUSTAIN_TIME; SIGHUP reads it again")
	f.StringVar(&c.primary.Address, "primary-clients", "", "client port of the primary, HOST:PORT, to ask where chunks are; by default port 9421 of --primary")
	f.StringVar(&c.primary.Path, "primary-export", locate.DefaultPath, "a directory that the primary exports to this host")
	f.StringVar(&c.primary.Password, "primary-password", "", "password of that export; better in the configuration file than here")
	c.maxLag = f.Duration("max-lag", 0, "turn mounts away, as a master that is not ready, while the image is further behind; 0 is never")
	c.nice = f.Int("nice-level", stock.DefaultNice, "nice level of the threads that serve mounts, as the stock master's: they go before others, if the process may set it; 0 leaves it alone")
	f.StringVar(&c.state, "master-list", listMaster, "what mfscli shows of this standby: \"master\", all sections, or \"follower\", its state and charts only")
	return c
}

// chartsFile is the name of the charts' file in the data directory.
const chartsFile = "charts"

// settings are those that a master has, too, by its names for them.
func (c *clientFlags) settings(data string) map[string]string {
	host, port, _ := net.SplitHostPort(c.listen.text) // checked when it was set
	if host == "" {
		host = "*"
	}
	return map[string]string{"DATA_PATH": data, "EXPORTS_FILENAME": *c.exports, "MATOCL_LISTEN_HOST": host, "MATOCL_LISTEN_PORT": port}
}

// What a standby calls itself in mfscli's list of masters.
const (
	listMaster   = "master"
	listFollower = "follower"
)

func (c *clientFlags) check() error {
	if c.state != listMaster && c.state != listFollower {
		return usagef("--master-list %s: give %s or %s", c.state, listMaster, listFollower)
	}
	if *c.maxLag < 0 {
		return usagef("--max-lag %v: give a time, or 0 for never", *c.maxLag)
	}
	if *c.nice < -20 || *c.nice > 19 {
		return usagef("--nice-level %d: give a level from -20, which goes first, to 19", *c.nice)
	}
	return c.upstream.check()
}

// setPrimary sets whom to ask what only a running master knows. primary is the
// host that is followed, HOST[:9419], if there is one.
func (c *clientFlags) setPrimary(primary string) {
	if c.primary.Address != "" || primary == "" {
		return
	}
	c.primary.Address = net.JoinHostPort(hostOf(primary), "9421")
}

// watch tells clients what an entry changed.
func (d *daemon) watch(op changelog.Op, st *meta.State) {
	if d.server != nil {
		d.server.Watch(op, st)
	}
}

// busy tells whether clients need the processors.
func (d *daemon) busy() bool { return d.server != nil && d.server.Busy() }

// locator adds the part that asks the primary where chunks are. Without a
// primary nobody is asked, and files cannot be read.
func (d *daemon) locator(c *clientFlags, s *standby.Standby) (*locate.Locator, error) {
	cfg := c.primary
	if cfg.Address == "" {
		d.log.Info("nobody tells where chunks are, so clients cannot read files: give --primary-clients")
		return nil, nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	cfg.Dir, cfg.Host, cfg.Logger, cfg.Events = d.data, host, d.log, d.events
	cfg.Alone = func() bool {
		st := s.Status()
		return st.State == standby.Leading
	}
	cfg.MetaID = func() uint64 {
		img, err := s.Image()
		if err != nil {
			return 0
		}
		return img.MetaID()
	}
	cfg.Moved = func() { d.server.ForgetChunks() }
	l, err := locate.New(cfg)
	if err != nil {
		return nil, err
	}
	d.parts = append(d.parts, part{"locations", l.Run})
	return l, nil
}

// primarySpace gives the server what the primary told of its chunkservers.
type primarySpace struct{ from *locate.Locator }

func (p primarySpace) Space() server.Space { return server.Space(p.from.Space()) }

// serveClients adds a server of the standby's image to the parts, and what is for
// metaloggers.
func (d *daemon) serveClients(c *clientFlags, r *roleFlags, primary string, s *standby.Standby) error {
	if err := d.addUpstream(c.upstream, s); err != nil {
		return err
	}
	if c.listen.text == "" {
		return nil
	}
	port := &clientPort{address: &c.listen, log: d.log, door: newDoor()}
	handed, err := d.handedOver()
	if err != nil {
		return err
	}
	waits := false
	switch {
	case handed != nil && handed.Left: // the port is that of the stock master
	case c.beside && !c.listen.given:
		waits = true
	default:
		err = port.Listen()
		waits = errors.Is(err, syscall.EADDRINUSE) && !c.listen.given
	}
	switch {
	case waits:
		d.log.Warn("clients are not served unless this process is promoted: the port is in use, or the master's on this host; give another with --listen-clients",
			"address", c.listen.text)
	case err != nil:
		return fmt.Errorf("serving clients on %s: %w; give another address with --listen-clients", c.listen.text, err)
	}
	err = d.addServer(c, r, primary, s, port)
	if err != nil && waits {
		d.log.Warn("this process cannot be promoted", "err", err)
		return nil
	}
	if err != nil {
		return errors.Join(err, port.door.Close())
	}
	return nil
}

// clientPort is where clients connect. It can be opened late: while a master on
// the same host lives, the port is that one's. It is a promote.Server.
type clientPort struct {
	*server.Server
	address *address
	log     *slog.Logger
	door    *door

	mu sync.Mutex // held while it is opened or closed
}

// Listen opens the port unless it is open.
func (p *clientPort) Listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.door.Addr() != nil {
		return nil
	}
	l, err := p.address.listen()
	if err != nil {
		return err
	}
	p.log.Info("serving clients", "address", l.Addr().String())
	p.door.swap(l)
	return nil
}

// Leave closes the port, with all connections, if it has that number.
func (p *clientPort) Leave(port string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.door.Addr()
	if at == nil {
		_, own, err := net.SplitHostPort(p.address.text)
		return own == port, err
	}
	_, own, err := net.SplitHostPort(at.String())
	if err != nil || own != port {
		return false, err
	}
	p.door.swap(nil)
	p.Lead(nil)
	return true, nil
}

// serve serves while the port is open.
func (p *clientPort) serve(ctx context.Context) error { return p.Serve(ctx, p.door) }

// pollers is how many serve clients. Each keeps one of the runtime's processors
// busy for as long as clients ask, so there shall be more of them: whatever else
// has work need not wait for it, nor it for that.
func pollers() int {
	n := server.DefaultPollers()
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	return n
}

// addServer adds the server, and what makes this process able to lead.
func (d *daemon) addServer(c *clientFlags, r *roleFlags, primary string, s *standby.Standby, port *clientPort) error {
	file, err := exports.Open(*c.exports, d.log)
	if err != nil {
		return err
	}
	options, err := mastercfg.Open(*c.master, d.log)
	if err != nil {
		return err
	}
	c.setPrimary(primary)
	locator, err := d.locator(c, s)
	if err != nil {
		return err
	}
	cfg := server.Config{Image: s.Image, Exports: file.List, Lag: s.Lag, MaxLag: *c.maxLag, Logger: d.log, Follower: c.state == listFollower, Metaloggers: d.metaloggers,
		ChartsFile: filepath.Join(d.data, chartsFile), Settings: c.settings(d.data), Pollers: pollers(), Nice: *c.nice}
	if locator != nil {
		cfg.Locator, cfg.Primary, cfg.Asker = locator, primarySpace{locator}, locate.NewAsker(c.primary.Address, nil)
	}
	srv, err := server.New(cfg)
	if err != nil {
		return err
	}
	port.Server = srv
	cfgNode := promote.Config{Dir: d.data, Standby: s, Server: port, Rules: options.Rules, Beside: d.besideLeader, Metaloggers: d.upstream, Hooks: r.hooks, Logger: d.log, Events: d.events}
	if d.tap != nil {
		cfgNode.Tap = d.tap
	}
	if d.failover != nil {
		if d.stands, err = d.failover.make(d, c.primary.Address, s); err != nil {
			return err
		}
		cfgNode.Lease = d.stands
	}
	if d.node, err = promote.New(cfgNode); err != nil {
		return err
	}
	if d.stands != nil {
		d.stands.SetNode(d.node)
		d.parts = append(d.parts, part{"fail-over", d.stands.Run})
	}
	d.server = srv
	d.onHUP = append(d.onHUP, func() {
		if err := options.Reload(); err != nil {
			d.log.Error("the master's options stay as they were", "err", err)
		}
		if err := file.Reload(); err != nil {
			d.log.Error("the exports stay as they were", "err", err)
			return
		}
		srv.Reload()
	})
	d.parts = append(d.parts, part{"client server", port.serve}, part{"role", d.node.Run})
	d.followAddress(r, primary)
	return nil
}
