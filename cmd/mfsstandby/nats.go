package main

import (
	"log/slog"
	"path/filepath"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
)

// natsFlags say which NATS server keeps the stream: one that runs elsewhere, or
// one embedded in this process.
type natsFlags struct {
	client stream.Config
	listen string
	sync   *choice
}

func addNATSFlags(f *pflag.FlagSet) *natsFlags {
	n := &natsFlags{}
	f.StringVar(&n.client.URL, "nats", "", "URL of a NATS server with JetStream (default: one embedded in this process)")
	f.StringVar(&n.client.Creds, "nats-creds", "", "credentials file for --nats")
	f.StringVar(&n.client.NKey, "nats-nkey", "", "file with an nkey seed for --nats")
	f.StringVar(&n.listen, "listen-nats", "", "HOST:PORT where the embedded server listens for other processes (default: nowhere)")
	f.StringVar(&n.client.User, "nats-user", "", "user for --nats, or that the embedded server demands")
	f.StringVar(&n.client.Pass, "nats-password", "", "password of --nats-user")
	f.StringVar(&n.client.TLSCA, "tls-ca", "", "PEM file of the authority that signed the other side's certificate")
	f.StringVar(&n.client.TLSCert, "tls-cert", "", "PEM file with this side's certificate")
	f.StringVar(&n.client.TLSKey, "tls-key", "", "PEM file with the key of --tls-cert")
	n.sync = addSyncFlag(f)
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
	}
	return nil
}

// connect starts the embedded server, if that is what is wanted, and connects.
// stop undoes both. A server elsewhere need not be there yet.
func (n *natsFlags) connect(data string, log *slog.Logger, told *events.Log) (conn *stream.Conn, stop func(), err error) {
	cfg := n.client
	cfg.Log, cfg.Events = log, told
	stop = func() {}
	if cfg.URL == "" {
		cfg.Server, err = stream.StartServer(stream.ServerConfig{
			StoreDir: filepath.Join(data, "nats"), SyncAlways: n.sync.value == "always", Listen: n.listen,
			TLSCert: cfg.TLSCert, TLSKey: cfg.TLSKey, TLSCA: cfg.TLSCA, User: cfg.User, Pass: cfg.Pass, Log: log,
		})
		if err != nil {
			return nil, stop, err
		}
		stop = cfg.Server.Close
		if n.listen != "" {
			log.Info("the embedded NATS server listens", "url", cfg.Server.URL())
		}
		cfg.User, cfg.Pass, cfg.TLSCA, cfg.TLSCert, cfg.TLSKey = "", "", "", "", "" // within the process none are needed
	}
	cfg.Patient = cfg.Server == nil
	if conn, err = stream.Connect(cfg); err != nil {
		stop()
		return nil, func() {}, err
	}
	stopServer := stop
	return conn, func() { conn.Close(); stopServer() }, nil
}
