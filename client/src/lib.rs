//! A ZEO client.

pub mod blobs;
