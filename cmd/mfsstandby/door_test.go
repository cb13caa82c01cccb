package main

import (
	"errors"
	"net"
	"testing"
)

// A door lets in who comes while it is open, and its port is free while it is not.
func TestDoor(t *testing.T) {
	d := newDoor()
	came := make(chan error)
	go func() {
		for {
			nc, err := d.Accept()
			if err == nil {
				nc.Close()
			}
			came <- err
			if err != nil {
				return
			}
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	for range 3 {
		d.swap(l)
		if d.Addr().String() != address {
			t.Fatalf("it listens at %v, want %s", d.Addr(), address)
		}
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-came; err != nil {
			t.Fatal(err)
		}
		nc.Close()
		d.swap(nil)
		if d.Addr() != nil {
			t.Fatal("it is closed, and still listens")
		}
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
	}
	l.Close()
	d.Close()
	if err := <-came; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}
