//! A limit of memory for all targets.
//!
//! libFuzzer checks the memory of the process only from time to time. With this limit, an allocation whose size
//! comes from the input fails at once. The limit is far above what any input of the sizes in use needs.

use std::alloc::System;

use cap::Cap;

/// Maximum number of bytes that the process may allocate in Rust, libFuzzer's inputs included.
const BYTES_MAX: usize = 512 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, BYTES_MAX);
