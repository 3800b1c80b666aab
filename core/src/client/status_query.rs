//! Asking a server for its figures without becoming its client, as monitoring does.
//!
//! The server announces its protocol, the query sends `ruok`, and the server answers with one frame: the
//! figures of all its storages, by name, as JSON. A query needs no storage's name, is in no figure, and
//! shows at once whether the other side is a ZEO server at all.

use alloc::string::String;

use bytes::Bytes;
use thiserror::Error;

use crate::wire::hello::RUOK;
use crate::wire::{Deframer, Malformed, Outgoing};

/// Maximum bytes of an answer. Python's server writes about 500 for each storage.
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// Maximum bytes of an announcement: a letter and a version.
const ANNOUNCEMENT_BYTES_MAX: usize = 8;

/// The content types of TLS records that a server may send first: an alert, a handshake.
const TLS_RECORDS: [u8; 2] = [0x15, 0x16];

/// One query, for one connection.
#[derive(Debug)]
pub struct StatusQuery {
    deframer: Deframer,
    is_announced: bool,
    has_begun: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum StatusQueryError {
    /// The server answers with a TLS record.
    #[error("the server speaks TLS")]
    Tls,
    /// The server announces no version of ZEO's protocol.
    #[error("not a ZEO server: it announces {0:?}")]
    NotZeo(String),
    /// The answer cannot be cut into frames.
    #[error("not a ZEO server: {0}")]
    Malformed(#[from] Malformed),
}

impl Default for StatusQuery {
    fn default() -> Self {
        Self::new()
    }
}

impl StatusQuery {
    /// A query on a connection on which nothing has been received yet.
    #[must_use]
    pub fn new() -> Self {
        Self { deframer: Deframer::new(FRAME_BYTES_MAX), is_announced: false, has_begun: false }
    }

    /// The bytes to send. They can be sent before the server has announced itself.
    #[must_use]
    pub fn request() -> Bytes {
        let mut out = Outgoing::new();
        out.push_frame(RUOK);
        out.take_chunk().expect("a frame was pushed")
    }

    /// Takes bytes from the server; returns the answer, a JSON object, once it is complete.
    ///
    /// # Errors
    /// If the other side is not a ZEO server.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, StatusQueryError> {
        if !self.has_begun
            && let Some(first) = bytes.first()
        {
            self.has_begun = true;
            if TLS_RECORDS.contains(first) {
                return Err(StatusQueryError::Tls);
            }
        }
        self.deframer.push(bytes);
        while let Some(frame) = self.deframer.next_frame()? {
            if self.is_announced {
                return Ok(Some(frame));
            }
            if frame.len() > ANNOUNCEMENT_BYTES_MAX {
                let shown = String::from_utf8_lossy(&frame[..20.min(frame.len())]).into_owned();
                return Err(StatusQueryError::NotZeo(shown));
            }
            self.is_announced = true;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    const CONVERSATION: &[u8] = b"\0\0\0\x02M5\0\0\0\x02{}";

    #[test]
    fn an_answer_follows_the_announcement_however_it_is_chopped() {
        assert_eq!(&StatusQuery::request()[..], b"\0\0\0\x04ruok");
        let mut whole = StatusQuery::new();
        assert_eq!(whole.handle_bytes(CONVERSATION), Ok(Some(Bytes::from_static(b"{}"))));
        let mut query = StatusQuery::new();
        for (index, byte) in CONVERSATION.iter().enumerate() {
            let answer = query.handle_bytes(&[*byte]).unwrap();
            assert_eq!(answer.is_some(), index + 1 == CONVERSATION.len());
        }
    }

    #[test]
    fn other_servers_are_recognized() {
        let error = |bytes: &[u8]| StatusQuery::new().handle_bytes(bytes).unwrap_err();
        assert_eq!(error(b"\x15\x03\x03\0\x02\x02\x46"), StatusQueryError::Tls);
        assert!(error(b"HTTP/1.1 400").to_string().starts_with("not a ZEO server: "));
        let shown = error(b"\0\0\0\x0aSSH-2.0-op").to_string();
        assert_eq!(shown, "not a ZEO server: it announces \"SSH-2.0-op\"");
        assert_eq!(StatusQuery::new().handle_bytes(b""), Ok(None));
    }
}
