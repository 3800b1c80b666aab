//! The tests that both runtime crates run, on tokio.

use rzeo_tokio as adapter;

mod sockets;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for a runtime").block_on(future)
}
