//! Inputs of a client from its adapter.

use alloc::string::String;

use bytes::Bytes;

use super::ids::{ConnId, TxnId};

/// What happened to a client.
#[derive(Debug)]
pub enum Input<'a> {
    /// A requested connection is made.
    Connected(ConnId),
    /// It could not be made; the text says why, for the log.
    Failed(ConnId, String),
    /// Bytes arrived from the server.
    Bytes(ConnId, &'a [u8]),
    /// The socket took this many of the transmitted bytes.
    Sent(ConnId, usize),
    /// The connection is lost; the text says why, for the log.
    Gone(ConnId, String),
    /// The next bytes of a blob upload, as requested by [`Output::ReadBlob`](super::Output::ReadBlob);
    /// empty at its end. An error fails the transaction's vote with its text.
    BlobBytes(TxnId, Result<Bytes, String>),
    /// The application closes the client: all calls fail, all connections are closed.
    Close,
}
