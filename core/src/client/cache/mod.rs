//! The client's cache: records by object and range of tids.
//!
//! ```text
//!              serial        end
//!   non-current  |────────────|              any number for an object: what older snapshots read
//!   current                   |───────────   at most one for an object
//! ```
//!
//! A revision never changes within its range. The current one has no end
//! as of [`Cache::last_tid`]; the client keeps that true by ending revisions in the order of its
//! server's stream. The cache enforces only what follows from the ranges:
//! a "current" revision is not stored when a later one, or its own end, is known, and is dropped when
//! another one turns out to have ended later.
//!
//! When the cache is full, S3-FIFO chooses what is evicted (see `queues.rs`): a hit only marks its entry,
//! and records that are loaded once, as a scan does by the thousand, pass through a tenth of the
//! cache. A new revision of an object goes to the queue of the old one.
//!
//! [`Cache::keep_journal`] makes the cache persistent: every change goes to a journal, and every prefix of
//! it can be replayed to a correct cache (see `journal.rs` and `docs/client-cache.md`).
//!
//! The cache copies each record, unless the caller states that the record does not share its
//! buffer with others. So its size is its use of memory: the records, and
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
