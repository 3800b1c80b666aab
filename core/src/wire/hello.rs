//! Greetings: the first frame in each direction, in no encoding (`spec: zeo-protocol 2`).

use super::Codec;

/// What a monitoring peer sends instead of a greeting.
pub const RUOK: &[u8] = b"ruok";

impl Codec {
    /// What a server announces and a client answers.
    #[must_use]
    pub const fn greeting(self) -> &'static [u8] {
        match self {
            Self::Msgpack => b"M5",
            Self::Pickle => b"Z5",
        }
    }

    /// The encoding that a client's greeting asks for. The client decides, whatever was announced.
    /// `None` is no greeting of ours: another version, another letter, anything else.
    #[must_use]
    pub const fn chosen_by(greeting: &[u8]) -> Option<Self> {
        match greeting {
            b"M5" => Some(Self::Msgpack),
            b"Z5" => Some(Self::Pickle),
            _ => None,
        }
    }
}
