//! The binary on tokio.

const RUNTIME: &str = "tokio";

mod serve;
