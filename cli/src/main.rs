//! ZEO, the database server of the ZODB, in Rust.
fn main() {}
