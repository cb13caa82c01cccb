// Package leader lets a standby that was promoted write: it takes the requests
// of clients, one after the other, and for each of them
//
//	checks it against the state   changelog.Request.Plan, which changes nothing
//	makes the entry and applies   changelog.Originate, the code that replays entries
//	publishes the entry           stream.Writer, compare and set, in its own epoch
//	answers
//
// An answer means that the entry is in the stream. Package server is the caller:
// Serve answers packets within a turn (Do).
//
// # Order
//
// The entry of a request depends on the state after the entry before, so an
// entry is applied before the one before it is known to be stored. What is
// applied may therefore never become true: the stream may refuse it because
// another writer has opened an epoch. Three rules follow.
//
// One batch is on the way at a time. Requests that come while it is are the next
// batch (group commit): a slow stream makes batches longer, not more of them, and
// waiting for the stream does not hold up its own queue.
//
// The image takes a batch by Propose: it can not be committed before the stream
// has it, so the image on the disk never holds an entry that is not in the
// stream. If publishing fails, the image is void, and Reset takes it to the last
// commit, from where it follows the stream again. If the batch is in the stream
// after all, because only the answer was lost, it comes back from there.
//
// Readers are not kept out while a batch is published; what they see may be
// newer than the stream. So an answer that was read at version v is held back by
// Wait until the stream has all entries before v. Read does so. The alternative,
// to show readers the state before the batch, would need two versions of each
// page in memory; the wait costs a reader what a writer waits, one fsync, and
// only if a write is on the way.
//
// # Losing the lead
//
// Whatever goes wrong (fenced, no lease: its holder ends Run's ctx, a full disk)
// ends Run: every request that waits fails with ErrLost, those that come later
// fail at once, and nothing is written any more. Then nobody knows whether the
// last batch is in the stream, neither its clients nor this leader; the stream
// does.
//
// # Times
//
// The time of an entry is the clock's, or that of the entry before if the clock
// has gone back since: entries of one leader never go back, nor do they against
// those of the primary before it.
package leader
