// Package failover holds tests of three standbys that lead by themselves: network
// namespaces are hosts, joined by a bridge; one has the stock master, three have a
// node each, with a disk and a clock of its own, one a stock mount that works all
// the time.
//
// TestFaults draws faults from a seed, round by round: processes are killed or
// stand still, hosts are cut off, from all or from one another, in both directions
// or one, links lose packets or are slow, clocks jump by hours, disks are full.
// MFSSTANDBY_FAILOVER_ROUNDS makes it longer, MFSSTANDBY_FAILOVER_SEED draws others;
// what it logs before each round repeats that one. MFSSTANDBY_FAILOVER_LOGS is a
// directory for the logs of a test that fails. TestTimes measures.
//
// It needs root, FUSE, amd64 and the MooseFS packages.
package failover
