//! Limits on what a configuration can make the reader do.

/// Maximum bytes of one file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Maximum number of files that include one another.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Maximum number of included files in all.
pub const INCLUDES_MAX: usize = 256;
/// Maximum number of sections within one another.
pub const SECTION_DEPTH_MAX: usize = 32;
/// Maximum bytes of a value after substitution.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
