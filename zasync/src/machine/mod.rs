//! A worker as a machine: it takes jobs from a queue, has them executed, and stores what became of them.
//!
//! ```text
//!            ┌───────────────────── Worker ─────────────────────┐
//!  inputs ──►│ bookkeeping: register, beat, take, close, file,  │──► Keep       one transaction at a time
//!            │   expire, reap, audit, drain                     │
//!            │ executions: one for each job that it has         │──► Execute    run a function
//!            │                                                  │──► Conclude   store its outcome
//!            └──────────────────────────────────────────────────┘──► Stop, Abandon, Event, Ended
//! ```
//!
//! The driver runs each [`Operation`] as a transaction of its own, executes functions, and reports how
//! they ended. All decisions are here: what to do next, what a conflict or an unknown outcome means, when
//! to try again, and which worker is dead.
//!
//! The machine has the four methods of the other machines. It has no clock: the time is an argument,
//! and the time of the storage is that of the tids of commits, plus the time since. It has no random
//! numbers but those that follow from its seed.

mod backoff;
mod bookkeeper;
mod bookkeeping;
mod clock;
mod closing;
mod conclusion;
mod context;
mod event;
mod execution;
mod executions;
mod input;
mod operation;
mod output;
mod peers;
mod random;
mod registration;
mod settings;
mod shards;
mod upkeep;
mod worker;

pub use self::event::{Event, JobEvent, JobInfo};
pub use self::input::{Ended, Input, NotCommitted, Outcome};
pub use self::operation::{Answer, Operation};
pub use self::output::{Output, StopReason, Task};
pub use self::settings::WorkerSettings;
pub use self::worker::Worker;
