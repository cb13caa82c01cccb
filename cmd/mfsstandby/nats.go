package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
)

// natsFlags say which NATS server keeps the stream: one that runs elsewhere, or
// one embedded in this process.
type natsFlags struct {
	client   stream.Config
	listen   string
	sync     *choice
	node     string
	peers    list // of a cluster of embedded servers; empty: there is none
	cluster  stream.ClusterPeers
	replicas int
	patient  bool // a server elsewhere need not be there yet
}

// clusterPort is where the nodes of a cluster look for one another.
const clusterPort = "6222"

func addNATSFlags(f *pflag.FlagSet) *natsFlags {
	n := addNATSClientFlags(f, "URL of a NATS server with JetStream (default: one embedded in this process)")
	n.patient = true
	f.StringVar(&n.listen, "listen-nats", "", "HOST:PORT where the embedded server listens for other processes (default: nowhere)")
	n.sync = addSyncFlag(f)
	f.Var(&n.peers, "peers", "hosts, HOST[:6222], whose embedded servers are one cluster; the same list on all of them, this host included")
	f.StringVar(&n.cluster.Name, "cluster", "mfsstandby", "name of the cluster of --peers")
	f.StringVar(&n.cluster.Listen, "listen-cluster", "0.0.0.0:"+clusterPort, "HOST:PORT where the embedded server listens for the others of --peers")
	f.StringVar(&n.cluster.Pass, "cluster-password", "", "what the nodes of --peers show one another; better in the configuration file than here")
	f.StringVar(&n.node, "node", "", "name of this node among the others (default: that of the host)")
	f.IntVar(&n.replicas, "replicas", 0, "NATS servers that keep each entry (default: with --peers 3, or 5 of 5 and more; else as it is)")
	return n
}

// addNATSClientFlags are those of commands that only ask a server.
func addNATSClientFlags(f *pflag.FlagSet, about string) *natsFlags {
	n := &natsFlags{}
	f.StringVar(&n.client.URL, "nats", "", about)
	f.StringVar(&n.client.Creds, "nats-creds", "", "credentials file for --nats")
	f.StringVar(&n.client.NKey, "nats-nkey", "", "file with an nkey seed for --nats")
	f.StringVar(&n.client.User, "nats-user", "", "user for --nats, or that the embedded server demands")
	f.StringVar(&n.client.Pass, "nats-password", "", "password of --nats-user")
	f.StringVar(&n.client.TLSCA, "tls-ca", "", "PEM file of the authority that signed the other side's certificate")
	f.StringVar(&n.client.TLSCert, "tls-cert", "", "PEM file with this side's certificate")
	f.StringVar(&n.client.TLSKey, "tls-key", "", "PEM file with the key of --tls-cert")
	return n
}

func addSyncFlag(f *pflag.FlagSet) *choice {
	return choiceFlag(f, "sync", "when the embedded NATS server syncs entries to the disk: before each acknowledgement, or once a second", "always", "interval")
}

// check refuses combinations that cannot be meant.
func (n *natsFlags) check() error {
	switch {
	case n.client.URL != "" && n.listen != "":
		return usagef("--listen-nats is for the embedded server, which is not started with --nats")
	case n.client.URL == "" && (n.client.Creds != "" || n.client.NKey != ""):
		return usagef("--nats-creds and --nats-nkey need --nats URL")
	case (n.client.TLSCert == "") != (n.client.TLSKey == ""):
		return usagef("--tls-cert and --tls-key need each other")
	case (n.client.User == "") != (n.client.Pass == ""):
		return usagef("--nats-user and --nats-password need each other")
	case n.replicas < 0 || n.replicas > 5 || n.replicas == 2 || n.replicas == 4:
		return usagef("--replicas %d: give 1, 3 or 5", n.replicas)
	}
	n.client.Node = n.node
	if len(n.peers) > 0 {
		return n.checkPeers()
	}
	return nil
}

// checkPeers refuses what is no cluster, and completes what is.
func (n *natsFlags) checkPeers() error {
	switch {
	case n.client.URL != "":
		return usagef("--peers is for embedded servers, which are not started with --nats")
	case len(n.peers) < 3:
		return usagef("--peers names %d hosts: a cluster that goes on when one dies needs three", len(n.peers))
	case n.cluster.Pass == "":
		return usagef("--peers needs --cluster-password (CLUSTER_PASSWORD in the configuration file), the same on all hosts: who can join may write")
	case n.replicas > len(n.peers):
		return usagef("--replicas %d needs as many --peers", n.replicas)
	}
	n.cluster.Peers = nil
	for _, peer := range n.peers {
		if _, _, err := net.SplitHostPort(peer); err != nil {
			peer = net.JoinHostPort(strings.Trim(peer, "[]"), clusterPort)
		}
		n.cluster.Peers = append(n.cluster.Peers, peer)
	}
	if n.replicas == 0 {
		n.replicas = 3
		if len(n.peers) >= 5 {
			n.replicas = 5
		}
	}
	return nil
}

// connect starts NATS and adds what it takes to keep it to the parts.
func (d *daemon) connect(n *natsFlags) (*stream.Conn, func(), error) {
	conn, stop, err := n.connect(d.data, d.log, d.events)
	if err != nil {
		return nil, stop, err
	}
	d.store, d.nodes = make(chan struct{}), conn
	d.parts = append(d.parts, part{"store", func(ctx context.Context) error { return n.keep(ctx, d, conn) }})
	return conn, stop, nil
}

// keep makes the store what it is to be. Taps wait for d.store until nothing
// that they make can be in the way of what this host had before.
func (n *natsFlags) keep(ctx context.Context, d *daemon, conn *stream.Conn) error {
	ready := sync.OnceFunc(func() { close(d.store) })
	if err := conn.Adopt(ctx, n.replicas, ready); err != nil && ctx.Err() == nil {
		return err
	}
	if n.replicas > 0 {
		conn.Grow(ctx, n.replicas)
	}
	if len(n.peers) == 0 {
		return nil
	}
	select { // one that cannot write must not lead, and the others go on without it
	case <-conn.Failed():
		return conn.Failure()
	case <-ctx.Done():
		return nil
	}
}

// storeReady waits until taps may begin.
func (d *daemon) storeReady(ctx context.Context) {
	select {
	case <-d.store:
	case <-ctx.Done():
	}
}

// connect starts the embedded server, if that is what is wanted, and connects.
// stop undoes both.
func (n *natsFlags) connect(data string, log *slog.Logger, told *events.Log) (conn *stream.Conn, stop func(), err error) {
	cfg := n.client
	cfg.Log, cfg.Events = log, told
	stop = func() {}
	if cfg.URL == "" {
		server := stream.ServerConfig{
			StoreDir: filepath.Join(data, "nats"), Name: n.node, SyncAlways: n.sync.value == "always", Listen: n.listen,
			TLSCert: cfg.TLSCert, TLSKey: cfg.TLSKey, TLSCA: cfg.TLSCA, User: cfg.User, Pass: cfg.Pass, Log: log,
		}
		if len(n.peers) > 0 {
			server.Cluster = &n.cluster
		}
		cfg.Server, err = stream.StartServer(server)
		if err != nil {
			return nil, stop, err
		}
		stop = cfg.Server.Close
		if n.listen != "" {
			log.Info("the embedded NATS server listens", "url", cfg.Server.URL())
		}
		cfg.User, cfg.Pass, cfg.TLSCA, cfg.TLSCert, cfg.TLSKey = "", "", "", "", "" // within the process none are needed
	}
	cfg.Patient = n.patient && cfg.Server == nil
	if conn, err = stream.Connect(cfg); err != nil {
		stop()
		return nil, func() {}, err
	}
	stopServer := stop
	return conn, func() { conn.Close(); stopServer() }, nil
}
