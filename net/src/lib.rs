//! Networking for protocols that are state machines: addresses and listening sockets.
//!
//! Nothing here depends on a protocol or on an async runtime.

mod address;
mod listen;

pub use address::{Address, AddressError, LOOPBACK};
pub use listen::{AcceptedStream, ListenError, Listener, listen, prepare_tcp};
