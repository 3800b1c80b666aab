//! Base64 of tids: the form of transaction ids in `undoLog` and `undoa`.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::Tid;

/// Encodes a tid as twelve characters, of which the last is `=`.
#[must_use]
pub fn encode(tid: Tid) -> String {
    STANDARD.encode(tid.to_bytes())
}

/// Why a transaction id could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotATid {
    /// Not base64; Python raises `binascii.Error`.
    Base64,
    /// Base64 of a length other than eight bytes; Python fails an assertion.
    Length,
}

/// Decodes a tid. Skips characters outside the alphabet, as Python does.
///
/// # Errors
/// [`NotATid`].
pub fn decode(text: &[u8]) -> Result<Tid, NotATid> {
    let of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let text: Vec<u8> = text.iter().copied().filter(of_alphabet).collect();
    let bytes = STANDARD.decode(text).map_err(|_| NotATid::Base64)?;
    Tid::from_slice(&bytes).ok_or(NotATid::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_example() {
        let tid = Tid(0x040d_2855_fdad_8ccc);
        assert_eq!(encode(tid), "BA0oVf2tjMw=");
        assert_eq!(decode(b"BA0oVf2tjMw="), Ok(tid));
        assert_eq!(decode(b"BA0oVf2tjMw=\n"), Ok(tid));
    }

    #[test]
    fn what_is_not_a_tid() {
        assert_eq!(decode(b"BA0oVf2tjMw"), Err(NotATid::Base64));
        assert_eq!(decode(b"A"), Err(NotATid::Base64));
        assert_eq!(decode(b"AAAA"), Err(NotATid::Length));
        assert_eq!(decode(b""), Err(NotATid::Length));
    }
}
