// Package stream keeps the replicated log of one MooseFS cluster in NATS
// JetStream. It is the only package that knows NATS: the embedded server
// (Server), the connection (Conn), and for each cluster (Cluster) the stream of
// entries with its Writer and Reader, the base images and the members.
//
// # The stream
//
// One JetStream stream per cluster, MFS-<metaid>, on the subjects
// mfs.<metaid>.log.<epoch>. A message is a batch of consecutive entries or a
// control record that opens an epoch; its layout is described at message.
//
// Invariants:
//
//   - Each message is stored only directly behind the one its writer sent
//     before (Nats-Expected-Last-Msg-Id; the id holds the checksum of the
//     content) and at the sequence the writer expects
//     (Nats-Expected-Last-Sequence). Therefore a batch is in the stream once,
//     however often it was sent, nothing of a fenced writer enters behind the
//     record that fences it, and several messages may be on the way at once.
//   - What counts is decided by package fence, for writing and reading alike.
//   - A position is a version with a hash chain over the entries before it. The
//     sequence is a hint where to look, and never believed.
//
// # Durability
//
// With SyncAlways the embedded server's file store calls fsync after each message
// and before it acknowledges (server/filestore.go, flushPendingMsgsLocked; seen
// with strace: each pwrite of a block is followed by its fsync). It does not sync
// the directory when it starts a new block file; the Writer does that (nameSyncer)
// before it counts the message as acknowledged. With SyncInterval what was
// acknowledged within the interval may be lost with the power; the tap then
// appends it again from its spool.
package stream
