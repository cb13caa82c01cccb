package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mfsstandby/replicator/archive"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/failover"
	"mfsstandby/standby/floating"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/rehearse"
	"mfsstandby/standby/server"
	"mfsstandby/standby/upstream"
	"mfsstandby/standby/web"
)

// daemon is what the long-running commands have in common: a data directory of
// their own, the control socket, and parts that run side by side.
type daemon struct {
	role    string
	data    string
	cache   int64
	log     *slog.Logger
	console *console
	started time.Time
	events  *events.Log
	latency *web.Latency // nil: nothing is applied
	page    string       // URL of the status page; "" is none

	status func(*control.Status)       // adds what the parts tell
	view   func() (*image.View, error) // nil: there is no image
	reload map[string]func()           // flags that may change while it runs: what to do then
	onHUP  []func()                    // what else SIGHUP does
	parts  []part
	nodes  *stream.Conn
	store  chan struct{} // closed when the store is what taps may write to

	standby *standby.Standby // nil: there is none
	server  *server.Server   // nil: clients are not served
	tap     *tapper          // nil: there is none that a leader would have to stop
	node    *promote.Node    // nil: this process cannot lead
	history func(context.Context) (history.Source, error)
	end     context.CancelFunc

	upstream *upstream.Upstream // nil: there is nothing for metaloggers
	cascade  bool               // it runs before a promotion, too

	failover  *failoverFlags // nil: this process leads only if it is told to
	stands    *failover.Failover
	floating  *floating.Keeper    // nil: the role follows no address
	rehearser *rehearse.Rehearser // nil: there is no image
	archiver  *archive.Archiver   // nil: nothing is archived
}

// part runs until its context ends. One that ends with an error ends all.
type part struct {
	name string
	run  func(context.Context) error
}

// begin makes and locks the data directory.
func (d *daemon) begin() (*control.Lock, error) {
	var err error
	if d.data, err = filepath.Abs(d.data); err != nil {
		return nil, err
	}
	if err := makeDurable(d.data); err != nil {
		return nil, err
	}
	if err := checkRoom(d.data); err != nil {
		return nil, err
	}
	d.started = time.Now()
	lock, err := control.Acquire(d.data, d.role)
	if err != nil {
		return nil, busy(err, "one process per data directory: stop it, or give another --data")
	}
	if err := d.openEvents(); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return lock, nil
}

// eventsName is the file in the data directory that keeps the newest events.
const eventsName = "events"

// openEvents goes on with the events of earlier processes. A disk that takes
// no more of them is no reason to stop.
func (d *daemon) openEvents() error {
	log, file, err := events.Load(filepath.Join(d.data, eventsName), events.Keep)
	if err != nil {
		return err
	}
	d.events = log
	log.Add("process", slog.LevelInfo, events.Started, fmt.Sprintf("%s %s started, process %d", d.role, programVersion(), os.Getpid()))
	d.parts = append(d.parts, part{"events", func(ctx context.Context) error {
		if err := file.Run(ctx); err != nil {
			d.log.Warn("events are no longer kept on disk", "err", err)
		}
		return nil
	}})
	return nil
}

// makeDurable makes a directory that a loss of power leaves in its place.
func makeDurable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	above, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(above.Sync(), above.Close())
}

// run runs the parts until ctx ends or one of them fails.
func (d *daemon) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.end = cancel
	server := &control.Server{Dir: d.data, Failover: d.stands, Nodes: d.nodes, View: d.view, Node: d.node, Rehearser: d.rehearser, History: d.history, Cache: d.cache, Logger: d.log, Status: d.tell}
	parts := append([]part{{"control socket", server.Run}, {"signals", d.signals}, {"disk", d.watchRoom}}, d.parts...)
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			if errs[i] = p.run(ctx); errs[i] != nil && ctx.Err() == nil {
				d.log.Error("stopping", "part", p.name, "err", errs[i])
				cancel()
			}
		})
	}
	wg.Wait()
	var failed []error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// tell answers a status request.
func (d *daemon) tell() control.Status {
	st := control.Status{Role: d.role, Program: programVersion(), PID: os.Getpid(), Started: d.started, Data: d.data, Page: d.page}
	d.status(&st)
	if d.server != nil {
		now := control.Clients(d.server.Stats())
		st.Clients = &now
	}
	if d.node != nil {
		now := d.node.Role()
		st.Cluster = &now
		st.Hook = d.node.LastHook()
	}
	if d.floating != nil {
		now := d.floating.Status()
		st.Address = &now
	}
	if d.upstream != nil {
		if now := d.upstream.Status(); now.Running {
			st.Upstream = &now
		}
	}
	if d.stands != nil {
		now := d.stands.Status()
		st.Failover = &now
	}
	if d.rehearser != nil {
		st.Rehearsal = d.rehearser.Last()
	}
	return st
}

// signals reads the configuration file again at each SIGHUP.
func (d *daemon) signals(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.reloadConfig()
			for _, do := range d.onHUP {
				do()
			}
		}
	}
}

func (d *daemon) reloadConfig() {
	var safe []string
	for flag := range d.reload {
		safe = append(safe, flag)
	}
	changed, needRestart, err := d.console.config.reload(safe)
	if err != nil {
		d.log.Error("reading the configuration again: everything stays as it was", "err", err)
		return
	}
	for _, do := range d.reload {
		do()
	}
	d.events.Add("process", slog.LevelInfo, events.Configured, "configuration read again")
	d.log.Info("configuration read again", "file", d.console.config.path, "changed", changed)
	if len(needRestart) > 0 {
		d.log.Warn("changed settings that need a restart", "keys", needRestart)
	}
}

// followStandby adds a standby to the parts.
func (d *daemon) followStandby(s *standby.Standby) {
	d.view, d.standby = s.View, s
	d.parts = append(d.parts, part{"standby", s.Run})
	d.status = func(st *control.Status) {
		now := s.Status()
		st.Standby = &now
	}
}
