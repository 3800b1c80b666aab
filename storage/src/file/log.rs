//! Reads the committed part of the data file, at any position, from any thread.
//!
//! A [`Log`] is a handle on the file together with the position where the committed part ended when
//! the handle was made. Bytes before that position never change, so reading through a `Log` needs
//! no lock, and a pack that replaces the file does not affect it.
//!
//! One call reads a record's header and, for most records, all of its data; see [`RecordReader`].
//! The reader checks what it reads: pointers must lead backwards, which also limits the number of
//! pointers that it follows.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rzeo_core::Oid;
use rzeo_core::storage::{Patience, StorageError};

use super::format::{
    FIRST, POINTER, RECORD_HEAD, RecordHead, TRANSACTION_HEAD, TransactionHead, be64,
};
use crate::disk::{DiskFile, failed};

/// Bytes read in the first call, for a record's header and its data.
const FIRST_READ_BYTES: usize = 2048;
/// Maximum number of older records of an object that a reader with [`Patience::Now`] visits: even
/// from the page cache, a hundred thousand revisions take long.
const NO_WAIT_STEPS_MAX: u32 = 100;

/// An open data file.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub(crate) disk_file: Arc<dyn DiskFile>,
    /// The file's name, for messages.
    pub(crate) name: String,
}

/// The committed part of a data file.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) file: Arc<DataFile>,
    /// End of the committed part. No read passes it.
    pub(crate) end: u64,
}

/// The metadata of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) user: Bytes,
    pub(crate) description: Bytes,
    pub(crate) extension: Bytes,
}

/// What follows a record's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The object's state.
    Data(Bytes),
    /// The position of an earlier record with the same state.
    Back(u64),
    /// The object does not exist as of this record.
    Deleted,
}

impl DataFile {
    /// An operation on this file, for error messages.
    pub(crate) fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.name)
    }

    /// An error: the file contradicts its format.
    pub(crate) fn corrupt(&self, position: u64, what: &str) -> StorageError {
        StorageError::Corrupt { file: self.name.clone(), position, what: what.to_owned() }
    }
}

impl Log {
    /// Reads up to the end of the committed part.
    pub(crate) fn fill(
        &self,
        buffer: &mut [u8],
        at: u64,
        patience: Patience,
    ) -> Result<usize, StorageError> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let buffer = &mut buffer[..len];
        let result = match patience {
            Patience::Now => self.file.disk_file.try_read_at(buffer, at),
            Patience::Wait => self.file.disk_file.read_at(buffer, at),
        };
        result.map_err(|error| failed(|| self.file.doing("read"), &error))
    }

    /// Fills the buffer; fails if the committed part ends before.
    pub(crate) fn exact(
        &self,
        buffer: &mut [u8],
        at: u64,
        patience: Patience,
    ) -> Result<(), StorageError> {
        let filled = self.fill(buffer, at, patience)?;
        self.enough(filled, buffer.len(), at, patience)
    }

    /// Fails if fewer bytes were read than needed.
    fn enough(
        &self,
        filled: usize,
        needed: usize,
        at: u64,
        patience: Patience,
    ) -> Result<(), StorageError> {
        if filled >= needed {
            return Ok(());
        }
        let within = at.checked_add(needed as u64).is_some_and(|end| end <= self.end);
        if within && patience == Patience::Now {
            return Err(StorageError::WouldBlock);
        }
        Err(self.corrupt(at, "a transaction or record passes the end of the file"))
    }

    /// The header of the transaction at a position.
    pub(crate) fn transaction(
        &self,
        at: u64,
        patience: Patience,
    ) -> Result<TransactionHead, StorageError> {
        let mut head = [0; TRANSACTION_HEAD];
        self.exact(&mut head, at, patience)?;
        Ok(TransactionHead::parse(&head))
    }

    /// The metadata of the transaction at a position.
    pub(crate) fn meta(
        &self,
        at: u64,
        head: TransactionHead,
        patience: Patience,
    ) -> Result<Meta, StorageError> {
        let mut all = BytesMut::zeroed(head.meta_len());
        self.exact(&mut all, at + TRANSACTION_HEAD as u64, patience)?;
        let user = all.split_to(head.user_len.into()).freeze();
        let description = all.split_to(head.description_len.into()).freeze();
        Ok(Meta { user, description, extension: all.freeze() })
    }

    /// The transaction that ends at a position, which is [`FIRST`] or a transaction's start or end;
    /// `None` at the beginning of the file. May wait.
    pub(crate) fn transaction_before(
        &self,
        end: u64,
    ) -> Result<Option<(u64, TransactionHead)>, StorageError> {
        if end <= FIRST {
            return Ok(None);
        }
        let mut trailer = [0; POINTER];
        let trailer_at = end.saturating_sub(POINTER as u64);
        self.exact(&mut trailer, trailer_at, Patience::Wait)?;
        let len = u64::from_be_bytes(trailer);
        let at = (trailer_at.checked_sub(len)).filter(|at| *at >= FIRST && *at < trailer_at);
        let Some(at) = at else {
            return Err(
                self.corrupt(trailer_at, "a trailing length does not lead to a transaction")
            );
        };
        let head = self.transaction(at, Patience::Wait)?;
        if head.len != len || head.len < head.head_len() {
            return Err(self.corrupt(at, "a transaction's two lengths differ"));
        }
        Ok(Some((at, head)))
    }

    /// An error: the file contradicts its format.
    pub(crate) fn corrupt(&self, position: u64, what: &str) -> StorageError {
        self.file.corrupt(position, what)
    }
}

/// Reads the records of an object, each with one call unless it is long.
pub(crate) struct RecordReader<'a> {
    log: &'a Log,
    patience: Patience,
    buffer: [u8; FIRST_READ_BYTES],
    filled: usize,
    at: u64,
    head: RecordHead,
    /// Number of older records visited.
    steps: u32,
}

impl<'a> RecordReader<'a> {
    /// Reads the record at a position, which must belong to the object.
    pub(crate) fn new(
        log: &'a Log,
        oid: Oid,
        at: u64,
        patience: Patience,
    ) -> Result<Self, StorageError> {
        let head = RecordHead::parse(&[0; RECORD_HEAD]);
        let mut reader =
            Self { log, patience, buffer: [0; FIRST_READ_BYTES], filled: 0, at, head, steps: 0 };
        reader.read(oid, at)?;
        Ok(reader)
    }

    pub(crate) fn head(&self) -> RecordHead {
        self.head
    }

    /// Position of the record.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Moves to the record that this one replaced; `false` if there is none.
    pub(crate) fn go_to_prev(&mut self) -> Result<bool, StorageError> {
        match self.head.prev {
            0 => Ok(false),
            prev => self.go_back(prev).map(|()| true),
        }
    }

    /// The content of the record itself.
    pub(crate) fn payload(&self) -> Result<Payload, StorageError> {
        if self.head.data_len > 0 {
            return self.own_data().map(Payload::Data);
        }
        Ok(match self.pointer()? {
            0 => Payload::Deleted,
            back => Payload::Back(back),
        })
    }

    /// The object's state as of this record, following back pointers; `None` if the object does not
    /// exist. Moves the reader to the record that holds the data.
    pub(crate) fn data(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.go_to_data()? { self.own_data().map(Some) } else { Ok(None) }
    }

    /// Moves to the record that holds the data of this one; `false` if the object does not exist.
    pub(crate) fn go_to_data(&mut self) -> Result<bool, StorageError> {
        while self.head.data_len == 0 {
            match self.pointer()? {
                0 => return Ok(false),
                back => self.go_back(back)?,
            }
        }
        Ok(true)
    }

    fn pointer(&self) -> Result<u64, StorageError> {
        self.log.enough(self.filled, RECORD_HEAD + POINTER, self.at, self.patience)?;
        Ok(be64(&self.buffer, RECORD_HEAD))
    }

    fn own_data(&self) -> Result<Bytes, StorageError> {
        let here = &self.buffer[RECORD_HEAD..self.filled];
        match usize::try_from(self.head.data_len) {
            Ok(len) if len <= here.len() => Ok(Bytes::copy_from_slice(&here[..len])),
            Ok(len) if self.head.end(self.at).is_some_and(|end| end <= self.log.end) => {
                let mut data = BytesMut::zeroed(len);
                data[..here.len()].copy_from_slice(here);
                let rest_at = self.at + self.filled as u64;
                self.log.exact(&mut data[here.len()..], rest_at, self.patience)?;
                Ok(data.freeze())
            }
            _ => Err(self.log.corrupt(self.at, "a record passes the end of the file")),
        }
    }

    /// Moves to an earlier record of the same object.
    pub(crate) fn go_back(&mut self, to: u64) -> Result<(), StorageError> {
        if to < FIRST || to >= self.at {
            return Err(self.log.corrupt(self.at, "a record's pointer does not lead backwards"));
        }
        self.steps = self.steps.saturating_add(1);
        if self.patience == Patience::Now && self.steps > NO_WAIT_STEPS_MAX {
            return Err(StorageError::WouldBlock);
        }
        self.read(self.head.oid, to)
    }

    fn read(&mut self, oid: Oid, at: u64) -> Result<(), StorageError> {
        self.filled = self.log.fill(&mut self.buffer, at, self.patience)?;
        self.at = at;
        self.log.enough(self.filled, RECORD_HEAD, at, self.patience)?;
        let head = self.buffer.first_chunk().expect("the buffer is longer than a header");
        self.head = RecordHead::parse(head);
        if self.head.oid != oid {
            return Err(self.log.corrupt(at, "a record belongs to another object than expected"));
        }
        if self.head.version_len != 0 {
            return Err(self.log.corrupt(at, "a record has a version"));
        }
        Ok(())
    }
}
