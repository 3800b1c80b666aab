//! Work that may have to wait for other processes, in a thread of its own.

use futures_channel::oneshot;

/// Runs work that may have to wait for other processes.
pub(crate) fn in_own_thread(work: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new().name("zeo-blobs".to_owned()).spawn(work);
    started.expect("the system can start one more thread");
}

/// The result of work that may have to wait for other processes.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = oneshot::channel();
    // The future may have been dropped.
    in_own_thread(move || drop(sender.send(work())));
    result.await.expect("the work sends its result or panics")
}
