//! What all targets have: memory comes to an end early.
//!
//! libFuzzer looks at the memory of the process from time to time. A length that is believed is found at
//! once if the allocation fails: the limit is far above what any input of the sizes in use needs.

use std::alloc::System;

use cap::Cap;

/// All that an input may take, together with libFuzzer's own idea of Rust's memory.
const BYTES_MAX: usize = 512 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, BYTES_MAX);
