//! ZEO without I/O: the protocol, the server's state machines, and the formats of a ZODB.

#![no_std]

extern crate alloc;

pub mod client;
pub mod ids;
pub mod pickle;
pub mod record;
pub mod resolve;
pub mod server;
pub mod storage;
pub mod time;
pub mod value;
pub mod wire;
