//! Queues, jobs, workers and deferreds in a storage in memory, where every operation is a transaction of
//! its own.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod attempts;
#[path = "../../../objects/tests/objects/database.rs"]
#[expect(dead_code, reason = "the tests of objects use all of it")]
mod database;
mod deferreds;
mod enqueueing;
mod layouts;
mod taking;
mod tasks;
mod workers;
