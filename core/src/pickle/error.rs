//! Errors in pickles.

use thiserror::Error;

/// The protocol that is written, and the highest that is read.
pub(super) const PROTOCOL: u8 = 3;

/// Bytes that are not a pickle, or one that asks for more than it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The bytes end before STOP.
    #[error("the pickle ends within the opcode or operand at byte {at}")]
    Truncated {
        /// Position of the incomplete opcode or operand.
        at: usize,
    },
    /// The pickle has a newer protocol.
    #[error("pickle protocol {protocol} exceeds the maximum of {PROTOCOL}")]
    ProtocolTooNew {
        /// The protocol in the header.
        protocol: u8,
    },
    /// The opcode is not one of protocols 0 to 3.
    #[error("unknown opcode {opcode:#04x} at byte {at}")]
    UnknownOpcode {
        /// Value of the opcode byte.
        opcode: u8,
        /// Position of the opcode.
        at: usize,
    },
    /// An opcode needs more values than there are, or than there are above the last mark.
    #[error("opcode {opcode:#04x} at byte {at} needs more values than there are")]
    StackUnderflow {
        /// Value of the opcode byte.
        opcode: u8,
        /// Position of the opcode.
        at: usize,
    },
    /// An opcode takes everything above a mark, and there is none.
    #[error("no mark for the opcode at byte {at}")]
    NoMark {
        /// Position of the opcode.
        at: usize,
    },
    /// An opcode reads a memo slot that was never written.
    #[error("memo slot {slot} is empty at byte {at}")]
    MemoMissing {
        /// Number of the slot.
        slot: u64,
        /// Position of the opcode.
        at: usize,
    },
    /// A length below zero.
    #[error("length {length} at byte {at} is negative")]
    NegativeLength {
        /// The negative length.
        length: i32,
        /// Position of the opcode.
        at: usize,
    },
    /// The line after an opcode of protocol 0 is malformed.
    #[error("the line of the opcode at byte {at} is malformed")]
    BadLine {
        /// Position of the opcode.
        at: usize,
    },
    /// A dict key has no value.
    #[error("a key without a value for the opcode at byte {at}")]
    OddItems {
        /// Position of the opcode.
        at: usize,
    },
    /// A text is not UTF-8, even with lone surrogates allowed.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// An object by its number in Python's `copyreg`.
    #[error("extension code {code} is not in any registry")]
    ExtensionCode {
        /// The number in the registry.
        code: u32,
    },
    /// Values are nested too deep, or contain themselves.
    #[error("values are nested deeper than the maximum of {limit} levels")]
    TooDeep {
        /// [`ReadLimits::depth_max`](crate::value::ReadLimits::depth_max).
        limit: u32,
    },
    /// The values take too much memory.
    #[error("values take more than the maximum of {limit} bytes of memory")]
    TooLarge {
        /// [`ReadLimits::memory_bytes_max`](crate::value::ReadLimits::memory_bytes_max).
        limit: usize,
    },
    /// The pickle is longer than the reader supports.
    #[error("the pickle has {length} bytes, which exceeds the maximum of 4 GiB")]
    TooLong {
        /// Length of the pickle in bytes.
        length: usize,
    },
}
