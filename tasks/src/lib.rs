//! Jobs in a ZODB, for programs: workers that execute them, and what applications do with them.
//!
//! The jobs, and everything that is decided about them, are in [`rzeo_zasync`]. This crate connects that with a
//! [`rzeo_client::Client`], threads and processes, on any runtime.
//!
//! | | what it is |
//! |---|---|
//! | [`Tasks`] | enqueue jobs, wait for them, cancel and list them |
//! | [`Functions`] | functions in Rust, by name |
//! | [`Worker`] | takes jobs and executes them |
//! | [`Executor`], [`python`] | executes functions of other languages |
//! | [`Database`] | transactions on the objects of a database |

mod database;
mod executor;
mod functions;
mod library;
pub mod python;
mod worker;

pub use database::{Committed, Database, Uncommitted};
pub use executor::{Done, Executor};
pub use functions::{
    AsyncFunction, Context, Function, FunctionInTransaction, FunctionWithContext, Functions,
};
pub use library::{JobReport, Tasks, TasksError, WorkerReport, new_id};
pub use rzeo_zasync;
pub use worker::{Spawn, Worker, WorkerEnd, WorkerOptions};
