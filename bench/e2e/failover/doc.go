// Package failover holds tests of three standbys that lead by themselves: network
// namespaces are hosts, joined by a bridge; one has the stock master, three have a
// node each, one a stock mount. Faults are drawn from a seed: processes are killed,
// hosts are cut off, in both directions or one, links lose packets.
//
// MFSSTANDBY_FAILOVER_ROUNDS makes the test longer, MFSSTANDBY_FAILOVER_SEED
// repeats what failed. It needs root, FUSE and the MooseFS packages.
package failover
