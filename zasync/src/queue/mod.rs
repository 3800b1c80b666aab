//! A queue: jobs in the order in which they are taken.
//!
//! The queue stores where jobs are, never what may happen to them: that is decided by the job record. So an
//! entry is a hint. It stays where it is while a worker has the job, and is filed later, when no program
//! waits for it. Nothing here depends on workers: a program can take jobs with [`choose`] and
//! [`claim`] under any name.
//!
//! | function | transaction | writes | conflicts with |
//! |---|---|---|---|
//! | [`enqueue`] | T1 | job, entry in a shard | others that use the same shard |
//! | [`choose`] | none | nothing | nothing |
//! | [`claim`] | T2 | job | other claims, expiry and cancelling of the job |
//! | [`expire`] | T11 | job | as `claim` |
//! | [`release`] | T1 | job, entry | as `enqueue` and `claim` |
//! | [`reject`] | T11 | job | as `claim` |
//! | [`file`](file()) | T13 | entry | others that use the same shard |
//!
//! A claim has no effect on the shard, and the end of an attempt has none either, so enqueueing and
//! executing jobs do not conflict with each other.

mod choose;
mod claim;
mod enqueue;
mod file;
mod placement;

pub use self::choose::{Candidate, Choice, Entry, Search, choose};
pub use self::claim::{claim, expire, reject};
pub use self::enqueue::{Enqueued, enqueue, enqueue_held, release};
pub use self::file::{Filed, file};
pub use self::placement::Placement;
