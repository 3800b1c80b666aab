//! A small networking layer for protocols that are state machines.
//!
//! A protocol implements [`Protocol`]: bytes in, bytes out, a deadline, events from outside. It owns no
//! socket, so it is tested by calling it. [`drive`] carries its bytes over a [`Stream`] on a [`Runtime`]:
//!
//! | module | feature | runtime | streams |
//! |---|---|---|---|
//! | `tokio` | `tokio` | tokio | sockets, and all that has tokio's traits |
//! | `smol` | `smol` | smol, or any other executor | sockets, and all that has the traits of futures-io |
//! | [`memory`] | | none: the test moves the clock | pipes in memory |
//!
//! There is one loop for all of them. It reads up to 64 KiB at once, gathers all output of what was read
//! into one vectored write, reads and writes at the same time, and allocates nothing per event.
//!
//! An [`Address`] says where a server is, as users write it; [`listen`] binds it. What this crate does
//! not do: TLS (a TLS stream is a stream), reconnecting, and any decision about a protocol.
//!
//! `tests/line_protocol.rs` is an example: a protocol of 60 lines, served and used on tokio, on smol and
//! in memory.

mod address;
mod drive;
mod listen;
pub mod memory;
mod protocol;
mod runtime;
#[cfg(feature = "smol")]
pub mod smol;
mod stream;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use address::{Address, AddressError, LOOPBACK};
pub use drive::{LINGER, drive};
pub use listen::{AcceptedStream, BoundSockets, ListenError, Listener, bind, listen, prepare_tcp};
pub use protocol::{Protocol, READ_BYTES_MAX, Status};
pub use runtime::{Runtime, Timer, race, sleep};
pub use stream::Stream;
