//! The tests of every adapter, on smol.

use async_io::block_on;
use rzeo_smol as adapter;

#[path = "../../runtime-tokio/tests/sockets/mod.rs"]
mod sockets;
