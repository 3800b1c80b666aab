//! Workers: programs that execute jobs, as the database knows them.
//!
//! A worker registers under an id that has a random part, so that it never inherits anything from another
//! one. Its record shows whether it takes jobs, and its tree `active` which jobs it has. The
//! transactions that take and settle jobs check that the record is current, so one that was declared gone
//! takes nothing more, however late its messages arrive.
//!
//! | function | transaction | writes | checks |
//! |---|---|---|---|
//! | [`register`] | | worker, entry in `workers` | |
//! | [`beat`] | T14 | ping | worker |
//! | [`drain`], [`leave`] | | worker | |
//! | [`claim`] | T2 | job, active | worker, ctl |
//! | [`close`] | T12 | side or job, follow-ups, active | worker |
//! | [`discard`] | | active | worker |
//! | [`mark_gone`] | T15 | worker | ping |
//! | [`reap`] | T15 | job, active | |
//! | [`forget`] | | entry in `workers` | worker |
//!
//! A dead worker is reaped in steps: any other one marks it as gone, then reaps and closes its jobs one by
//! one, and forgets it. A program that dies in between leaves the rest to the next one.
//!
//! What ends an attempt is in [`attempt`](crate::attempt): it writes the job record alone.

mod active;
mod reap;
mod record;

pub use self::active::{Closed, active, claim, close, discard};
pub use self::reap::{forget, mark_gone, reap};
pub use self::record::{
    WorkerInfo, WorkerRecord, beat, drain, leave, register, wanted_slots, workers,
};
