//! The types that keys and values of BTrees have.
//!
//! An object (`O`) is any value, and a key only if it can be ordered. The other letters are types of C.

use core::fmt;

/// What the keys or the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemType {
    /// `O`: any value.
    Object,
    /// `I`: a signed integer of 32 bits.
    I32,
    /// `U`: an unsigned integer of 32 bits.
    U32,
    /// `L`: a signed integer of 64 bits.
    I64,
    /// `Q`: an unsigned integer of 64 bits.
    U64,
    /// `F`: a floating-point number of single precision. Only values can be of this type.
    F32,
}

impl ItemType {
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Object => 'O',
            Self::I32 => 'I',
            Self::U32 => 'U',
            Self::I64 => 'L',
            Self::U64 => 'Q',
            Self::F32 => 'F',
        }
    }

    pub(super) const fn of_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'O' => Self::Object,
            b'I' => Self::I32,
            b'U' => Self::U32,
            b'L' => Self::I64,
            b'Q' => Self::U64,
            b'F' => Self::F32,
            _ => return None,
        })
    }

    /// Smallest and largest integer.
    pub(super) const fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::I32 => (i32::MIN as i128, i32::MAX as i128),
            Self::U32 => (0, u32::MAX as i128),
            Self::I64 => (i64::MIN as i128, i64::MAX as i128),
            Self::U64 => (0, u64::MAX as i128),
            Self::Object | Self::F32 => return None,
        })
    }
}

impl fmt::Display for ItemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::I32 => "an integer of 32 bits",
            Self::U32 => "an unsigned integer of 32 bits",
            Self::I64 => "an integer of 64 bits",
            Self::U64 => "an unsigned integer of 64 bits",
            Self::F32 => "a number",
        })
    }
}
