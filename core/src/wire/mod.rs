//! What goes over the wire, from bytes to messages.

mod arguments;
pub mod base64;
pub mod call;
mod codec;
mod frame;
pub mod hello;
pub(crate) mod load;
pub mod msgpack;
mod outgoing;
pub mod refusal;
pub mod reply;
pub mod status;

use thiserror::Error;

pub use self::codec::{Codec, Envelope, Flag};
pub(crate) use self::frame::ALONE_FROM;
pub use self::frame::Deframer;
pub use self::outgoing::{Outgoing, SHARED_FROM};
use crate::pickle;
pub use crate::pickle::emit::Unwritable;

/// The port that ZEO servers listen on by convention.
pub const DEFAULT_PORT: u16 = 8100;

/// Bytes that cannot be read as a message. Only closing is left.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The length prefix promises more than we agreed to hold.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    FrameTooLong {
        /// What the prefix says.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// A TLS record where a frame is expected.
    #[error("the peer speaks TLS and this side does not; use TLS on both sides or on neither")]
    Tls,
    /// A pickle that is none, or is too much.
    #[error("unreadable pickle: {0}")]
    Pickle(#[source] pickle::Unreadable),
    /// Msgpack that is none, or is too much.
    #[error("unreadable msgpack: {0}")]
    Msgpack(#[source] msgpack::Unreadable),
    /// A message must be a tuple.
    #[error("a message is a tuple, not {kind}")]
    NotATuple {
        /// What it is instead.
        kind: &'static str,
    },
    /// A message has an id, a flag, a name and arguments.
    #[error("a message has four parts, not {parts}")]
    NotFourParts {
        /// How many there are.
        parts: usize,
    },
    /// The id of a call is kept until it is answered.
    #[error("the id of a call has {length} bytes, at most {limit} are allowed")]
    IdTooLong {
        /// How long it is when written.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The name of a method is text.
    #[error("the name of a method is text, not {kind}")]
    NameNotText {
        /// What it is instead.
        kind: &'static str,
    },
}
