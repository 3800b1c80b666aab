//! Limits of conversions. Values of a record can contain themselves, and be shared so often that the
//! tree of them is larger than any memory.

/// Maximum depth of nested values that are converted.
pub(super) const DEPTH_MAX: u32 = 128;

/// Maximum number of values that are converted at once, those that are shared as often as they occur.
pub(super) const VALUES_MAX: u32 = 4 << 20;
