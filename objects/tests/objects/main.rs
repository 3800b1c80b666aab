//! Objects, snapshots, transactions and conversions, on a storage that is a map.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod conversions;
mod database;
mod records;
mod snapshots;
mod transactions;
