//! The tests of every adapter, on smol.

use rzeo_smol as adapter;

#[path = "../../runtime-tokio/tests/sockets/mod.rs"]
mod sockets;
