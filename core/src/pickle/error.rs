//! Why bytes are not read as a pickle.

use thiserror::Error;

/// The protocol that is written, and the highest that is read.
pub(super) const PROTOCOL: u8 = 3;

/// Bytes that are not a pickle, or one that asks for more than it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The bytes end before STOP.
    #[error("the pickle ends too early, in what begins at byte {at}")]
    Truncated {
        /// Where the missing operand or opcode begins.
        at: usize,
    },
    /// Written for a newer Python.
    #[error("pickle protocol {protocol} is above {PROTOCOL}")]
    ProtocolTooNew {
        /// What the header says.
        protocol: u8,
    },
    /// No opcode of protocols 0 to 3.
    #[error("unknown opcode {opcode:#04x} at byte {at}")]
    UnknownOpcode {
        /// The opcode.
        opcode: u8,
        /// Where it is.
        at: usize,
    },
    /// An opcode needs more values than there are, or than there are above the last mark.
    #[error("opcode {opcode:#04x} at byte {at} finds too few values")]
    StackUnderflow {
        /// The opcode.
        opcode: u8,
        /// Where it is.
        at: usize,
    },
    /// An opcode takes everything above a mark, and there is none.
    #[error("no mark for the opcode at byte {at}")]
    NoMark {
        /// Where the opcode is.
        at: usize,
    },
    /// A memo slot is read that was never written.
    #[error("memo slot {slot} is empty at byte {at}")]
    MemoMissing {
        /// The slot.
        slot: u64,
        /// Where it is read.
        at: usize,
    },
    /// A length below zero.
    #[error("length {length} at byte {at} is negative")]
    NegativeLength {
        /// The length.
        length: i32,
        /// Where it is.
        at: usize,
    },
    /// The line after an opcode of protocol 0 is not what it should be.
    #[error("the line of the opcode at byte {at} is malformed")]
    BadLine {
        /// Where the opcode is.
        at: usize,
    },
    /// Keys and values do not pair up.
    #[error("a key without a value for the opcode at byte {at}")]
    OddItems {
        /// Where the opcode is.
        at: usize,
    },
    /// Text that is not UTF-8, even if lone surrogates are allowed.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// An object by its number in Python's `copyreg`.
    #[error("extension code {code} is not in any registry")]
    ExtensionCode {
        /// The number.
        code: u32,
    },
    /// Values within values within values; perhaps within themselves.
    #[error("values are nested deeper than {limit}")]
    TooDeep {
        /// [`ReadLimits::depth_max`].
        limit: u32,
    },
    /// What is built takes too much memory.
    #[error("values take more than {limit} bytes of memory")]
    TooLarge {
        /// [`ReadLimits::memory_bytes_max`].
        limit: usize,
    },
    /// More bytes than the machine can number.
    #[error("{length} bytes are too long for a pickle")]
    TooLong {
        /// How many.
        length: usize,
    },
}
