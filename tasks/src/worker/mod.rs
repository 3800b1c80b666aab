//! A worker: it takes jobs from a queue and executes them.
//!
//! ```text
//!   subscription, timer, ends of transactions and functions
//!        │ inputs
//!        ▼
//!   rzeo_zasync::machine::Worker      decides everything
//!        │ outputs
//!        ▼
//!   bookkeeper's client ── one transaction at a time
//!   clients of the pool ── ends of attempts, functions in transactions
//!   threads, tasks, executor ── functions
//! ```
//!
//! The bookkeeper has a client of its own: a client commits one transaction after the other, and a large
//! one of a function would delay the beats until others take the worker for dead.

mod execute;
mod log;
mod run;
mod settings;

pub use self::run::{Worker, WorkerEnd};
pub use self::settings::{Spawn, WorkerOptions};
