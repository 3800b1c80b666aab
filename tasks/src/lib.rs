//! Workers that execute the jobs of a ZODB.

mod executor;
pub mod python;

pub use executor::{Done, Executor};
