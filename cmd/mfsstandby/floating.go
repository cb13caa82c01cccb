package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/floating"
	"mfsstandby/standby/promote"
)

// roleFlags say what changes the role, and what a change of it does.
type roleFlags struct {
	addresses floating.List
	hooks     promote.Hooks
}

func addRoleFlags(f *pflag.FlagSet) *roleFlags {
	r := &roleFlags{}
	f.Var(&r.addresses, "promote-on-address", "promote when all these addresses of the master, IP or IP%INTERFACE, arrive here, demote when one leaves")
	f.StringVar(&r.hooks.OnPromote, "on-promote", "", "shell command to run when this process leads; MFSSTANDBY_* variables tell it about that")
	f.StringVar(&r.hooks.OnDemote, "on-demote", "", "shell command to run when it does not lead any more")
	f.DurationVar(&r.hooks.Limit, "hook-timeout", promote.DefaultHookLimit, "how long a command may take before it is killed")
	return r
}

// check refuses what cannot work; primary is who is followed, HOST[:9419].
func (r *roleFlags) check(listen, primary string) error {
	any := r.addresses != nil || r.hooks.OnPromote != "" || r.hooks.OnDemote != ""
	if any && listen == "" {
		return usagef("--promote-on-address, --on-promote and --on-demote need --listen-clients: without it this process cannot lead")
	}
	if r.hooks.Limit <= 0 {
		return usagef("--hook-timeout %v: give a time above 0", r.hooks.Limit)
	}
	if ip, err := netip.ParseAddr(hostOf(primary)); err == nil && r.floats(ip) {
		return usagef("--primary %s floats, so it may lead to this host itself: give the master's own address, or nobody could tell whether the master is dead", primary)
	}
	return nil
}

func (r *roleFlags) floats(ip netip.Addr) bool {
	return slices.ContainsFunc(r.addresses, func(a floating.Address) bool { return a.IP == ip.Unmap() })
}

// hostOf is the host of HOST[:PORT].
func hostOf(primary string) string {
	if host, _, err := net.SplitHostPort(primary); err == nil {
		return host
	}
	return strings.Trim(primary, "[]")
}

// followAddress adds what makes the role follow the address to the parts.
func (d *daemon) followAddress(r *roleFlags, primary string) {
	if r.addresses == nil {
		return
	}
	d.floating = floating.New(floating.Config{Addresses: r.addresses, Node: d.node, Logger: d.log, Events: d.events})
	d.parts = append(d.parts, part{"address", func(ctx context.Context) error {
		d.warnOfName(ctx, r, hostOf(primary))
		return d.floating.Run(ctx)
	}})
}

// lookupLimit is how long a name may take that is only looked up to warn.
const lookupLimit = 2 * time.Second

// warnOfName warns of a primary's name that leads to the floating address.
func (d *daemon) warnOfName(ctx context.Context, r *roleFlags, host string) {
	if host == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return // the tap tells of it
	}
	if slices.ContainsFunc(found, r.floats) {
		text := "the primary, " + host + ", is the floating address: when that has moved here, nobody can tell whether the primary is dead; name its own address"
		d.log.Warn(text)
		d.events.Add("address", slog.LevelWarn, events.Address, text)
	}
}
