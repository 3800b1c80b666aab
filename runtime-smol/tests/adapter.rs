//! The tests that both runtime crates run, on smol.

use rzeo_smol as adapter;
use smol::block_on;

mod blocking;
#[path = "../../runtime-tokio/tests/sockets/mod.rs"]
mod sockets;
