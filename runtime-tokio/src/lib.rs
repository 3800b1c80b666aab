//! Serves rzeo storages on tokio.
