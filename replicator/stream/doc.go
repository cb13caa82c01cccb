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
//     Where several servers keep the stream, only one is, and the sequence alone
//     says behind which it belongs.
//   - What counts is decided by package fence, for writing and reading alike.
//   - A position is a version with a hash chain over the entries before it. The
//     sequence is a hint where to look, and never believed.
//
// # Durability
//
// With SyncAlways nothing is acknowledged (Writer.Acked, Flush) before it is on
// the disk. Where only this process writes to the embedded server, its Writers
// see to that beside it (fileSyncer): readers need not wait for the disk, and one
// sync serves all that came while the last one ran. A loss of power can then take
// what readers have seen, but not what was acknowledged; the tap appends it again,
// and followers find that they have it already. Where others connect, the server's
// file store calls fsync after each message and before it acknowledges or shows it
// (server/filestore.go, flushPendingMsgsLocked; seen with strace). It does not
// sync the directory when it starts a new block file; the Writer does that
// (nameSyncer). With SyncInterval what was
// acknowledged within the interval may be lost with the power; the tap then
// appends it again from its spool.
package stream
