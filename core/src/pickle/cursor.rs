//! Reads the operands of opcodes from the bytes of a pickle.

use core::ops::Range;

use super::Unreadable;

/// A position in the bytes of one or more pickles.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Number of bytes read so far.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn u8(&mut self) -> Result<u8, Unreadable> {
        let byte = *self.bytes.get(self.at).ok_or(Unreadable::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Unreadable> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, Unreadable> {
        self.array().map(f64::from_be_bytes)
    }

    /// The range of the next `len` bytes.
    pub(super) fn span(&mut self, len: usize) -> Result<Range<usize>, Unreadable> {
        let start = self.at;
        match start.checked_add(len) {
            Some(end) if end <= self.bytes.len() => {
                self.at = end;
                Ok(start..end)
            }
            _ => Err(Unreadable::Truncated { at: start }),
        }
    }

    /// The range of bytes after one byte of length.
    pub(super) fn span_u8(&mut self) -> Result<Range<usize>, Unreadable> {
        let len = self.u8()?;
        self.span(len.into())
    }

    /// The range of bytes after four bytes of length.
    pub(super) fn span_u32(&mut self) -> Result<Range<usize>, Unreadable> {
        let at = self.at;
        let len = self.u32()?;
        self.span(usize::try_from(len).map_err(|_| Unreadable::Truncated { at })?)
    }

    /// The range of bytes after four bytes of signed length.
    pub(super) fn span_i32(&mut self) -> Result<Range<usize>, Unreadable> {
        let at = self.at;
        let length = self.i32()?;
        let len = usize::try_from(length).map_err(|_| Unreadable::NegativeLength { length, at })?;
        self.span(len)
    }

    /// The rest of the line, without its newline.
    pub(super) fn line(&mut self) -> Result<Range<usize>, Unreadable> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let len = rest.iter().position(|byte| *byte == b'\n');
        let len = len.ok_or(Unreadable::Truncated { at: start })?;
        self.at += len + 1;
        Ok(start..start + len)
    }

    pub(super) fn bytes(&self, span: Range<usize>) -> &'a [u8] {
        &self.bytes[span]
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let rest = &self.bytes[self.at..];
        let (array, _) = rest.split_first_chunk().ok_or(Unreadable::Truncated { at: self.at })?;
        self.at += N;
        Ok(*array)
    }
}
