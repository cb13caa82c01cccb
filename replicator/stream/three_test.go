package stream

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// freePorts returns addresses that nobody listens on now.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// TestThreeServers keeps each message on three servers, and leaves it so when
// somebody opens the cluster who does not say how many.
func TestThreeServers(t *testing.T) {
	routes := freePorts(t, 3)
	clients := freePorts(t, 3)
	var urls []string
	for _, r := range routes {
		urls = append(urls, "nats://"+r)
	}
	servers := make([]*Server, 3)
	done := make(chan error)
	for i := range servers {
		go func() {
			var err error
			servers[i], err = StartServer(ServerConfig{
				StoreDir: t.TempDir(), Name: fmt.Sprint("s", i), Log: quiet, Listen: clients[i],
				Cluster: &ClusterPeers{Name: "test", Listen: routes[i], Routes: urls},
			})
			done <- err
		}()
	}
	for range servers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, s := range servers {
			s.Close()
		}
	})
	c := connect(t, servers[0])
	// What is asked before the three have elected a leader is not answered.
	var cl *Cluster
	for deadline := time.Now().Add(time.Minute); cl == nil; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		var err error
		if cl, err = c.Open(ctx, ClusterConfig{MetaID: testMetaID, Replicas: 3}); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
		cancel()
	}
	for i, s := range servers {
		cl = open(t, connect(t, s))
		if got := cl.log.CachedInfo().Config.Replicas; got != 3 {
			t.Errorf("opened at server %d: %d replicas of entries, want 3", i, got)
		}
		members, err := cl.members.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := members.Config().Replicas; got != 3 {
			t.Errorf("opened at server %d: %d replicas of the members, want 3", i, got)
		}
		bases, err := cl.bases.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := bases.Replicas(); got != 3 {
			t.Errorf("opened at server %d: %d replicas of base images, want 3", i, got)
		}
	}
}
