//! The wire protocol, from bytes to messages.

mod arguments;
pub mod base64;
pub(crate) mod call;
mod codec;
mod frame;
pub(crate) mod hello;
pub(crate) mod load;
pub mod msgpack;
mod outgoing;
pub(crate) mod refusal;
pub mod reply;
pub(crate) mod status;

use thiserror::Error;

pub use self::arguments::{NotACall, TxnHandle};
pub use self::call::{Call, QueryCall, TxnCall};
pub use self::codec::{Codec, Envelope, Flag};
pub(crate) use self::frame::ALONE_FROM;
pub use self::frame::Deframer;
pub use self::hello::RUOK;
pub use self::outgoing::{Outgoing, SHARED_FROM};
pub use self::refusal::Refusal;
pub use self::reply::{Reply, Status};
use crate::pickle;
pub use crate::pickle::emit::Unwritable;

/// The port that ZEO servers listen on by convention.
pub const DEFAULT_PORT: u16 = 8100;

/// Bytes that cannot be read as a message. The connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The length prefix exceeds the maximum.
    #[error("a frame of {length} bytes exceeds the maximum of {limit}")]
    FrameTooLong {
        /// The length in the prefix.
        length: u32,
        /// The maximum, in bytes.
        limit: u32,
    },
    /// A TLS record where a frame is expected.
    #[error("the peer speaks TLS and this side does not; use TLS on both sides or on neither")]
    Tls,
    /// A pickle that is malformed or exceeds the limits.
    #[error("unreadable pickle: {0}")]
    Pickle(#[source] pickle::Unreadable),
    /// A msgpack value that is malformed or exceeds the limits.
    #[error("unreadable msgpack: {0}")]
    Msgpack(#[source] msgpack::Unreadable),
    /// The message is not a tuple.
    #[error("a message must be a tuple, not {kind}")]
    NotATuple {
        /// The type found instead.
        kind: &'static str,
    },
    /// The tuple does not have id, flag, name and arguments.
    #[error("a message must have four items, not {parts}")]
    NotFourParts {
        /// Number of items that it has.
        parts: usize,
    },
    /// The id of a call is too long to be kept until the call is answered.
    #[error("the id of a call has {length} bytes, which exceeds the maximum of {limit}")]
    IdTooLong {
        /// Length of the encoded id in bytes.
        length: usize,
        /// The maximum, in bytes.
        limit: usize,
    },
    /// The name of the method is not text.
    #[error("the name of a method must be text, not {kind}")]
    NameNotText {
        /// The type found instead.
        kind: &'static str,
    },
}
