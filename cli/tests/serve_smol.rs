//! The binary on smol.

const RUNTIME: &str = "smol";

mod serve;
