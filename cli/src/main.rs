//! ZEO, the database server of the ZODB, in Rust.

mod config;
mod logging;

fn main() {}
