package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	runtimepprof "runtime/pprof"
	"strings"
)

// startProfile profiles the whole run: to the directory where, or served at
// http://where/debug/pprof/. It returns what ends it.
func startProfile(where string) (stop func() error, err error) {
	switch {
	case where == "":
		return func() error { return nil }, nil
	case strings.Contains(where, ":") && !strings.Contains(where, "/"):
		return serveProfile(where)
	}
	if err := os.MkdirAll(where, 0o755); err != nil {
		return nil, fmt.Errorf("directory for profiles: %w", err)
	}
	cpu, err := os.Create(filepath.Join(where, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := runtimepprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		runtimepprof.StopCPUProfile()
		heap, err := os.Create(filepath.Join(where, "heap.pprof"))
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		runtime.GC()
		return errors.Join(runtimepprof.WriteHeapProfile(heap), heap.Close(), cpu.Close())
	}, nil
}

func serveProfile(addr string) (func() error, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serving profiles: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	server := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}
