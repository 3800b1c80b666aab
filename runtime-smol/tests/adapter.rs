//! The tests of every adapter, on smol.

use async_io::block_on;
use rzeo_smol as adapter;

mod blocking;
#[path = "../../runtime-tokio/tests/sockets/mod.rs"]
mod sockets;
