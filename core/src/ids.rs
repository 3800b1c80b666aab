//! Object ids and transaction ids.
//!
//! Both are eight bytes on the wire and on disk, big-endian, compared as numbers (which is the same
//! as comparing the bytes). A tid also encodes a time, see [`crate::time`].

use core::fmt;

/// Identifies an object in one storage. The root object is [`Oid::ROOT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Oid(pub u64);

/// Identifies a committed transaction; as `serial`, the revision of an object that it wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tid(pub u64);

/// An id as Python's ZODB prints it in messages and file names: `0x` and lowercase digits without
/// leading zeros, but an even number of them and at least two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (u64::BITS - self.0.leading_zeros()).div_ceil(8).max(1);
        let digits = 2 * usize::try_from(bytes).expect("a u64 has at most eight bytes");
        write!(f, "0x{:0digits$x}", self.0)
    }
}

impl Oid {
    /// The root object, never allocated by `new_oids`.
    pub const ROOT: Self = Self(0);
}

impl Tid {
    /// Eight zero bytes: "no transaction", and the serial of an object that is new.
    pub const ZERO: Self = Self(0);
    /// The value that clients pass as `before` to load the current revision (`maxtid` in ZODB).
    pub const MAX: Self = Self(0x7fff_ffff_ffff_ffff);

    /// The smallest tid greater than this one; saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! eight_bytes {
    ($name:ident) => {
        impl $name {
            /// The eight bytes used on the wire and on disk.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// Reads the eight bytes used on the wire and on disk.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 8]) -> Self {
                Self(u64::from_be_bytes(bytes))
            }

            /// Reads a slice; `None` unless it holds exactly eight bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_bytes)
            }

            /// The id as Python's messages show it, like `0x04d2`.
            #[must_use]
            pub const fn short(self) -> Short {
                Short(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#018x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

eight_bytes!(Oid);
eight_bytes!(Tid);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn short_ids_have_whole_bytes() {
        assert_eq!(Oid(0).short().to_string(), "0x00");
        assert_eq!(Oid(4).short().to_string(), "0x04");
        assert_eq!(Oid(1234).short().to_string(), "0x04d2");
        assert_eq!(Tid::MAX.short().to_string(), "0x7fffffffffffffff");
    }
}
