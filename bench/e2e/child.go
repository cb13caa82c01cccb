package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// childVariable holds the order of a process that does a workload.
const childVariable = "E2E_WORKLOAD"

// Main does a workload and exits if this process was started for that. Every
// program that runs workloads calls it first thing; tests do so in TestMain.
//
// Workloads have their own process because of the files it keeps open on the
// mounts: each program that a process starts closes its copies of them, and that
// waits for the master. Whoever starts and stops masters must not have any.
func Main() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	os.Unsetenv(childVariable)
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", childVariable, err)
		os.Exit(2)
	}
	report, held, err := o.Workload.run(context.Background(), o.cluster())
	if err != nil {
		report.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	io.Copy(io.Discard, os.Stdin) // files stay open until the parent says so
	runtime.KeepAlive(held)
	os.Exit(0)
}

// order is what a workload process has to know.
type order struct {
	Workload     Workload
	Namespace    string
	Dir          string
	Mounts       []string
	Meta         string
	Chunkservers int
}

// cluster is the parent's cluster, without the processes that belong to it.
func (o order) cluster() *Cluster {
	c := &Cluster{cfg: Config{Dir: o.Dir}, ns: &namespace{o.Namespace}, chunk: make([]*Process, o.Chunkservers)}
	for _, path := range o.Mounts {
		c.mounts = append(c.mounts, &Mount{Path: path})
	}
	if o.Meta != "" {
		c.meta = &Mount{Path: o.Meta}
	}
	return c
}

// Running is a workload under way.
type Running struct {
	process *Process
	stdin   io.Closer
	report  chan Report // one, or closed if the process ended without
}

// Start begins the workload on the cluster's mounts in a process of its own.
func (w Workload) Start(c *Cluster) (*Running, error) {
	if len(c.mounts) == 0 {
		return nil, errors.New("a workload needs a cluster with mounts")
	}
	text, err := json.Marshal(order{w, c.ns.name, c.cfg.Dir, c.Mounts(), c.MetaMount(), len(c.chunk)})
	if err != nil {
		return nil, fmt.Errorf("describing the workload: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the own program: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the workload: %w", err)
	}
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the workload: %w", err)
	}
	defer childStdout.Close()
	cmd.Stdout = childStdout
	p, err := start(cmd, c.path("log"), "workload")
	if err != nil {
		stdout.Close()
		return nil, err
	}
	c.extra = append(c.extra, p)
	r := &Running{process: p, stdin: stdin, report: make(chan Report, 1)}
	go func() {
		defer stdout.Close()
		defer close(r.report)
		var report Report
		if json.NewDecoder(stdout).Decode(&report) == nil {
			r.report <- report
		}
	}()
	return r, nil
}

// Wait returns when all operations are done. The process goes on holding files
// open and locked until Release, or the cluster's Close.
func (r *Running) Wait(ctx context.Context) (Report, error) {
	select {
	case <-ctx.Done():
		r.process.Kill()
		return Report{}, context.Cause(ctx)
	case report, ok := <-r.report:
		switch {
		case !ok:
			<-r.process.done
			return Report{}, fmt.Errorf("the workload ended without a report; its log ends with:\n%s", r.process.LogTail())
		case report.Error != "":
			return report, errors.New(report.Error)
		}
		return report, nil
	}
}

// Release lets the process end and so close its files. The master must run.
func (r *Running) Release() error {
	r.stdin.Close()
	select {
	case <-r.process.done:
		return nil
	case <-time.After(time.Minute):
		r.process.Kill()
		return errors.New("the workload's process did not end within a minute of its release")
	}
}

// Run is Start and Wait.
func (w Workload) Run(ctx context.Context, c *Cluster) (Report, error) {
	r, err := w.Start(c)
	if err != nil {
		return Report{}, err
	}
	return r.Wait(ctx)
}
