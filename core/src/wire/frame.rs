//! Cuts a stream of bytes into frames.
//!
//! A frame is four bytes of length, big-endian, and as many bytes of payload. The bytes read from a
//! socket are copied once, into one growing buffer; the frames are slices of it and keep it alive,
//! so a record is not copied again before the storage gets it.
//!
//! The length prefix does not determine the size of the buffer: it grows with the bytes received,
//! by doubling. So a peer cannot make it allocate more than a multiple of what it sends, and the
//! cost of a frame does not depend on how its bytes are split.

use bytes::{Buf, Bytes, BytesMut};

use super::Malformed;

/// Minimum bytes of a frame that gets a buffer of its own: otherwise a small part of the next frame
/// would keep this one in memory.
pub(crate) const ALONE_FROM: usize = 128 * 1024;

/// Bytes of the length prefix.
pub(super) const PREFIX: usize = 4;

/// Cuts a stream into frames.
#[derive(Debug)]
pub struct Deframer {
    buffer: BytesMut,
    frame_bytes_max: u32,
}

impl Deframer {
    /// Starts at the beginning of a stream. `frame_bytes_max` is the maximum length of a frame.
    #[must_use]
    pub fn new(frame_bytes_max: u32) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Changes the maximum length of a frame.
    pub const fn allow(&mut self, frame_bytes_max: u32) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Appends received bytes, in chunks of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload of the next frame, once it is complete.
    ///
    /// # Errors
    /// [`Malformed::FrameTooLong`] or [`Malformed::Tls`], at every call: the rest of the stream cannot be
    /// cut into frames.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix);
        if length > self.frame_bytes_max {
            if is_tls_record(*prefix) {
                return Err(Malformed::Tls);
            }
            return Err(Malformed::FrameTooLong { length, limit: self.frame_bytes_max });
        }
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= rest.len())
        else {
            return Ok(None);
        };
        self.buffer.advance(PREFIX);
        let frame = self.buffer.split_to(length).freeze();
        if length >= ALONE_FROM {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(Some(frame))
    }

    /// Takes the received bytes after the last frame taken: to record a stream that cannot be cut
    /// into frames, or that has ended within a frame.
    #[must_use]
    pub fn take_rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Number of received bytes after the last frame taken. If not zero at the end of a stream, the
    /// stream ended within a frame.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

/// Whether these bytes start a TLS record: a content type (change cipher spec, alert, handshake or
/// application data), then a version from SSL 3.0 to TLS 1.3. Read as the length of a frame they
/// exceed 320 MB.
fn is_tls_record(bytes: [u8; PREFIX]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, _])
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<Bytes> {
        let mut deframer = Deframer::new(1 << 20);
        let mut frames = Vec::new();
        for chunk in chunks {
            deframer.push(chunk.as_ref());
            while let Some(frame) = deframer.next_frame().expect("no frame is too long") {
                frames.push(frame);
            }
        }
        assert_eq!(deframer.buffered(), 0);
        frames
    }

    #[test]
    fn a_promised_length_takes_no_memory() {
        let mut deframer = Deframer::new(u32::MAX);
        deframer.push(b"\xff\xff\xff\xffonly this");
        assert_eq!(deframer.next_frame(), Ok(None));
        assert!(deframer.buffer.capacity() < 1024);
    }

    #[test]
    fn tls_is_recognized() {
        let limit = 128 << 20;
        let next = |bytes: &[u8]| {
            let mut deframer = Deframer::new(limit);
            deframer.push(bytes);
            deframer.next_frame()
        };
        // A client's hello, and an alert.
        assert_eq!(next(b"\x16\x03\x01\x02\x00"), Err(Malformed::Tls));
        assert_eq!(next(b"\x15\x03\x03\x00\x02\x02\x46"), Err(Malformed::Tls));
        let http = Malformed::FrameTooLong { length: u32::from_be_bytes(*b"GET "), limit };
        assert_eq!(next(b"GET / HTTP/1.1"), Err(http));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_has_arrived() {
        let mut deframer = Deframer::new(255);
        deframer.push(b"\0\0\0\x01x\0\0\x01\0");
        assert_eq!(deframer.next_frame(), Ok(Some(Bytes::from_static(b"x"))));
        let refused = Err(Malformed::FrameTooLong { length: 256, limit: 255 });
        assert_eq!(deframer.next_frame(), refused);
        assert_eq!(deframer.next_frame(), refused);
        assert_eq!(
            (deframer.take_rest(), deframer.buffered()),
            (Bytes::from_static(b"\0\0\x01\0"), 0)
        );
    }

    #[test]
    fn what_follows_a_long_frame_does_not_keep_its_memory() {
        let mut deframer = Deframer::new(u32::MAX);
        let length = u32::try_from(ALONE_FROM).expect("a short length");
        deframer.push(&[&length.to_be_bytes()[..], &vec![7; ALONE_FROM]].concat());
        deframer.push(b"\0\0\0\x02ab\0");
        let long = deframer.next_frame().expect("no limit").expect("it is complete");
        let short = deframer.next_frame().expect("no limit").expect("it is complete");
        assert_eq!((long.len(), &short[..]), (ALONE_FROM, &b"ab"[..]));
        assert!(long.is_unique());
        assert_eq!(deframer.buffered(), 1);
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        assert_eq!(frames([b"\0\0\0\0\0\0\0\0"].iter()), [Bytes::new(), Bytes::new()]);
    }

    proptest! {
        #[test]
        fn chopping_does_not_matter(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            chop in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(payload);
            }
            prop_assert_eq!(frames(core::iter::once(&stream)), payloads.clone());
            prop_assert_eq!(frames(stream.chunks(chop)), payloads);
        }
    }
}
