//! The tests of every adapter, on tokio.

use rzeo_tokio as adapter;

mod sockets;
