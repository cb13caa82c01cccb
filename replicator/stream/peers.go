package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClusterPeers makes several embedded servers one NATS cluster. Each node may be
// started and stopped alone: it serves while more than half of them are there.
type ClusterPeers struct {
	Name   string   // the same on all nodes
	Listen string   // HOST:PORT for the other nodes
	Peers  []string // HOST:PORT of the nodes; the same list on all of them, this one is found out
	Pass   string   // that nodes show one another; with TLSCert of ServerConfig over TLS
}

func (p *ClusterPeers) validate() error {
	switch {
	case p.Name == "" || strings.ContainsAny(p.Name, " \t"):
		return fmt.Errorf("a NATS cluster needs a name without spaces, %q is none", p.Name)
	case p.Listen == "" || len(p.Peers) == 0:
		return errors.New("a NATS cluster needs an address to listen on and those of its nodes")
	}
	return nil
}

// routeUser is who nodes say they are to one another.
const routeUser = "mfsstandby-node"

func clusterOptions(opts *server.Options, peers *ClusterPeers) error {
	var err error
	opts.Cluster.Name = peers.Name
	if opts.Cluster.Host, opts.Cluster.Port, err = hostPort(peers.Listen); err != nil {
		return err
	}
	user := (*url.Userinfo)(nil)
	if peers.Pass != "" {
		user = url.UserPassword(routeUser, peers.Pass)
		opts.Cluster.Username, opts.Cluster.Password, opts.Cluster.AuthTimeout = routeUser, peers.Pass, 5
	}
	for _, peer := range peers.Peers {
		if _, _, err := hostPort(peer); err != nil {
			return fmt.Errorf("node %q of the cluster: %w", peer, err)
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: peer, User: user})
	}
	if opts.TLSConfig != nil {
		routes := opts.TLSConfig.Clone()
		routes.ClientAuth = tls.NoClientCert
		if routes.ClientCAs != nil { // each node shows its certificate to the other
			routes.RootCAs, routes.ClientAuth = routes.ClientCAs, tls.RequireAndVerifyClientCert
		}
		opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = routes, 5
	}
	return nil
}

// nats-server has these as variables for its own tests, and no options. By
// default a stream whose leader's host has died takes nothing for 4 to 9 s: too
// long where a standby is to lead after 3. Heartbeats of 200 ms are cheap among
// three nodes, and a follower misses at least five of them before it wants to
// lead. A name that is gone with another release does not link.
//
//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var (
	hbInterval         time.Duration
	minElectionTimeout time.Duration
	maxElectionTimeout time.Duration
	lostQuorumInterval time.Duration
	lostQuorumCheck    time.Duration
)

func init() {
	hbInterval = 200 * time.Millisecond
	minElectionTimeout = time.Second
	maxElectionTimeout = 2 * time.Second
	lostQuorumInterval = 2 * time.Second
	lostQuorumCheck = 500 * time.Millisecond
}

// Node is a server that keeps a copy of the stream.
type Node struct {
	Name    string        `json:"name"`
	Leads   bool          `json:"leads,omitempty"` // the copies of the others follow it
	Current bool          `json:"current"`         // has all that is stored
	Offline bool          `json:"offline,omitempty"`
	Lag     uint64        `json:"lag,omitempty"`    // messages it lacks
	Active  time.Duration `json:"active,omitempty"` // since it was heard by the one that leads
}

// Nodes tells which servers keep copies of the stream, by name; none if that is
// one server that is not in a cluster.
func (c *Cluster) Nodes(ctx context.Context) ([]Node, error) {
	info, err := c.log.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who keeps stream %s: %w", c.name, err)
	}
	if info.Cluster == nil || info.Cluster.Name == "" {
		return nil, nil
	}
	var nodes []Node
	if info.Cluster.Leader != "" {
		nodes = append(nodes, Node{Name: info.Cluster.Leader, Leads: true, Current: true})
	}
	for _, p := range info.Cluster.Replicas {
		nodes = append(nodes, Node{Name: p.Name, Current: p.Current, Offline: p.Offline, Lag: p.Lag, Active: p.Active})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, nil
}

// RemoveNode takes a server that will not come back out of the cluster of
// embedded servers. Where there is another one, that gets its copies.
func (s *Server) RemoveNode(ctx context.Context, name string) error {
	if s.peers == nil {
		return errors.New("this server is not one of a cluster")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s.nats), nats.UserInfo(systemUser, s.pass), nats.Name("mfsstandby"))
	if err != nil {
		return fmt.Errorf("removing node %s: %w", name, err)
	}
	defer nc.Close()
	ask, err := json.Marshal(map[string]string{"peer": name})
	if err != nil {
		return err
	}
	msg, err := nc.RequestWithContext(ctx, server.JSApiRemoveServer, ask)
	if err != nil {
		return fmt.Errorf("removing node %s: %w; more than half of the nodes have to be there", name, err)
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("removing node %s: %w", name, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("removing node %s: %w", name, answer.Error)
	}
	return nil
}

// Nodes is Cluster.Nodes for the only cluster that NATS holds a stream of.
func (c *Conn) Nodes(ctx context.Context) ([]Node, error) {
	ids, err := c.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, fmt.Errorf("there are streams of %d clusters", len(ids))
	}
	cl, err := c.Open(ctx, ClusterConfig{MetaID: ids[0]})
	if err != nil {
		return nil, err
	}
	return cl.Nodes(ctx)
}

// RemoveNode is Server.RemoveNode for the server of this process.
func (c *Conn) RemoveNode(ctx context.Context, name string) error {
	if c.server == nil {
		return errors.New("the NATS servers run elsewhere: use their own tools")
	}
	return c.server.RemoveNode(ctx, name)
}

// Failed is closed, and Failure says why, when the server of this process has
// stopped to write. It never is for servers elsewhere.
func (c *Conn) Failed() <-chan struct{} { return c.fault().found }

// Failure is why Failed is closed.
func (c *Conn) Failure() error { return c.fault().err() }

// errors of a cluster of NATS servers.
const (
	errNoPeers = 10005 // too few of them are there
	errNoRoom  = 10023
)

// tooFew tells whether there are not as many servers as copies are wanted.
func tooFew(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == errNoPeers || api.ErrorCode == errNoRoom)
}
