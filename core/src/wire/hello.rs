//! Handshake: the first frame in each direction, which has no encoding (`spec: zeo-protocol 2`).

use super::Codec;

/// The frame that a monitoring peer sends instead of a greeting.
pub const RUOK: &[u8] = b"ruok";

impl Codec {
    /// The greeting that a server sends, and with which a client replies.
    #[must_use]
    pub const fn greeting(self) -> &'static [u8] {
        match self {
            Self::Msgpack => b"M5",
            Self::Pickle => b"Z5",
        }
    }

    /// The encoding that a client's greeting selects, whatever the server's greeting was. `None`
    /// for an unsupported version or encoding, and for any other bytes.
    #[must_use]
    pub const fn chosen_by(greeting: &[u8]) -> Option<Self> {
        match greeting {
            b"M5" => Some(Self::Msgpack),
            b"Z5" => Some(Self::Pickle),
            _ => None,
        }
    }
}
