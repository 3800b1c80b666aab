//! Jobs that are stored in a ZODB: deferreds, queues and workers, without I/O.
//!
//! A transaction of any program stores a job together with its own data. Workers in other processes take
//! it, execute it, and store the result where the program finds it. All objects are mappings and BTrees, so
//! Python programs enqueue, read and cancel jobs with nothing but ZODB.
//!
//! The crate has functions on a [`Snapshot`](rzeo_objects::Snapshot) of the database. Each changes objects in
//! it or returns an [`Error`], in which case it has changed nothing. Time and random numbers are arguments.
//! A [`Transaction`](rzeo_objects::Transaction) loads what a function needs, and commits what it changed.
//!
//! | module | what it is | depends on |
//! |---|---|---|
//! | [`deferred`] | an outcome that is known later, and what follows it | |
//! | [`queue`] | jobs in the order in which they are taken | deferreds |
//! | [`attempt`] | the end of an attempt at a job | the job record |
//! | [`worker`] | programs that execute jobs, as the database has them | all of them |
//! | [`machine`] | what such a program does, and when | all of them |
//!
//! # Guarantees
//!
//! The record of a job decides what happens to it; every transaction that changes its state writes it, so
//! of two that race one conflicts.
//!
//! - A job that was committed ends in exactly one final state, which never changes.
//! - What a function changes in the transaction of its result happens exactly once: an attempt that has lost
//!   the job, because its worker was taken for dead, is refused ([`Refusal::Fenced`]).
//! - A function with other effects is executed at least once, and with [`Retry::Never`] at most once.
//! - Follow-ups are dispatched exactly once.
//! - A job is never executed before it is due, nor after it has expired, by the clock of the storage.
//!
//! An application that undoes the transaction of a result has the job executed again.
//!
//! # Example
//!
//! ```
//! use rzeo_core::{Oid, Tid, UnixTime};
//! use rzeo_objects::{PersistentMapping, PyValue, Snapshot};
//! use rzeo_zasync::queue::{self, Placement};
//! use rzeo_zasync::{Deferred, Error, JobState, Lease, NewJob, Queue, attempt, layout};
//!
//! # fn main() -> Result<(), Error> {
//! let mut snapshot = Snapshot::new(Tid(1));
//! snapshot.add(Oid::ROOT, &PersistentMapping::class(), PersistentMapping::new());
//! layout::create(&mut snapshot)?;
//! layout::create_queue(&mut snapshot, "default")?;
//! let queue = Queue::open(&mut snapshot, "default")?;
//!
//! let now = UnixTime(1_800_000_000.0);
//! let placement = Placement { queue: &queue, shard: 7, now, random: 0x5eed };
//! let mut job = NewJob::new("d3b07384", "app.mail:welcome");
//! job.call.args.push("ann".into());
//! let job = queue::enqueue(&mut snapshot, &placement, &job)?.job();
//!
//! let lease = Lease(0x1234_5678_9abc_def0);
//! let claimed = queue::claim(&mut snapshot, &queue, job, "a program", lease, now)?;
//! assert_eq!(claimed.call, "app.mail:welcome");
//! attempt::finish(&mut snapshot, job, lease, PyValue::from("sent"), now)?;
//! assert_eq!(Deferred::read(&mut snapshot, job)?.state, JobState::Done);
//! # Ok(())
//! # }
//! ```

#![no_std]

extern crate alloc;

pub mod attempt;
pub mod deferred;
mod deferred_record;
mod entry_key;
mod error;
mod failure;
mod fields;
mod follow_up;
mod job;
pub mod layout;
pub mod machine;
pub mod queue;
mod retry;
mod state;
mod tree;
pub mod worker;

pub use deferred::Deferred;
pub use entry_key::{PRIORITY_DEFAULT, PRIORITY_MAX};
pub use error::{Error, LayoutError, Refusal};
pub use failure::Failure;
pub use follow_up::{Call, FollowUp, FollowUpQueue};
pub use job::{Job, JobOptions, Lease, NewJob};
pub use layout::{Place, Queue, ShardTree};
pub use retry::Retry;
pub use state::{JobState, WorkerState};
