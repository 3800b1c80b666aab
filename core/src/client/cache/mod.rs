//! The client's cache: records by object and range of tids.
//!
//! ```text
//!              serial        end
//!   non-current  |────────────|              any number for an object: what older snapshots read
//!   current                   |───────────   at most one for an object
//! ```
//!
//! A revision is true in its range for ever. That the current one has no end is what the cache believes
//! as of [`Cache::last_tid`]; the client keeps that true by ending revisions in the order of its
//! server's stream. Here is only what follows from the ranges. What contradicts them is not believed:
//! a "current" revision is not taken when a later one, or its own end, is known, and is forgotten when
//! another one turns out to have ended later.
//!
//! When the cache is full, S3-FIFO chooses what is evicted (see `queues.rs`): a hit only marks its entry,
//! and records that are asked for once, as a scan does by the thousand, pass through a tenth of the
//! cache. A new revision of an object takes the place that the old one had earned.
//!
//! [`Cache::keep_journal`] makes it survive its process: every change goes to a log, any beginning of
//! which can be replayed to something that was true (see `journal.rs` and `docs/client-cache.md`).
//!
//! The cache has its own copy of each record, unless the caller says that the one that is stored is no
//! slice of a buffer with many others. So its size is what it takes in memory: the records, and
//! [`ENTRY_BYTES`] for each.

mod entry;
mod index;
mod journal;
mod queues;
mod records;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::entry::ENTRY_BYTES;
pub use self::journal::{HEADER, MAGIC};
pub use self::records::{Cache, Statistics};
pub use self::replay::Replay;
pub use self::snapshot::Snapshot;
