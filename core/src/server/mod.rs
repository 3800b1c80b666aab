//! The server's side of ZEO.

pub mod vote;
