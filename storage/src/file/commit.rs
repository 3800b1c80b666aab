//! Commit: makes voted transactions durable, then visible.
//!
//! A FileStorage has no checksums. After a power cut, a transaction of which half is on the disk
//! can look exactly like a complete one. Two syncs prevent this:
//!
//! ```text
//!   0. give the group's blobs, if any, their final names, durably
//!   1. write the group, every header saying  c, up to the end of the group
//!   2. sync          after a crash before this, the next opening cuts off the group
//!   3. rewrite each header's length and status to the true ones
//!   4. sync          at every instant of 3 each transaction is complete, and either committed or not
//!   5. publish: index, end of the file, last tid
//! ```
//!
//! Step 3 changes up to nine bytes, 8 to 16 of a header, and a disk writes whole sectors. If a
//! sector boundary lies between bytes that change, a crash can leave half of the old and half of
//! the new value. Such a transaction becomes the last of a *round*: its header then has the true
//! length from the beginning, and only the status changes. The rest of the group follows in a round
//! of its own.
//!
//! If a step fails, the file is cut back to its previous length, and the whole group is refused. If
//! that fails too, the content of the disk is unknown, and the storage refuses commits until it is
//! opened again.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use rzeo_core::storage::{Committed, Finishing, Info, RecordData, Scratch, StorageError};
use rzeo_core::{Oid, Tid};

use super::FileStorage;
use super::format::{LEN_AND_STATUS, POINTER, RecordHead, Status, TransactionHead};
use super::log::Log;
use super::state::VisibleState;
use super::vote::{Content, Planned, VotedTransaction};
use crate::blob;
use crate::disk::{DiskFile, SECTOR_BYTES, failed};

/// Maximum bytes of a spooled record in memory at once.
const SPOOLED_PIECE_BYTES: usize = 1 << 20;
/// Data shorter than this are copied into one buffer; longer data are written without a copy.
const COPIED_BYTES: usize = 1024;

pub(super) fn commit(
    storage: &FileStorage,
    group: Vec<Finishing>,
) -> Result<Vec<Committed>, StorageError> {
    let mut append = storage.append.lock();
    if let Some(why) = &append.broken {
        return Err(StorageError::Broken(why.clone()));
    }
    let log = storage.log();
    let positioned = assign_positions(log.end, group);
    let blobs = place_blobs(storage, &positioned)?;
    if let Err(error) = write_group(storage, &log, &positioned) {
        match roll_back(&log) {
            Ok(()) => {
                storage.disk_space.renew(&log);
                if let Some(blobs) = blobs {
                    blobs.roll_back();
                }
            }
            Err(again) => {
                append.broken = Some(format!("{error}; cutting the file back failed too: {again}"));
                if let Some(blobs) = blobs {
                    blobs.in_doubt();
                }
            }
        }
        return Err(failed(|| log.file.doing("append to"), &error));
    }
    if let Some(blobs) = blobs {
        blobs.keep();
    }
    // Dropping `positioned` releases the reservations, after the end of the file has moved past their
    // bytes.
    Ok(publish(storage, &positioned))
}

/// Renames the group's blobs, if any, to their final names.
fn place_blobs<'a>(
    storage: &'a FileStorage,
    group: &[PositionedTransaction],
) -> Result<Option<blob::PlacedFiles<'a>>, StorageError> {
    let with_blobs = |positioned: &'_ PositionedTransaction| positioned.ready.blobs.is_some();
    let Some(blobs) = storage.blobs.as_ref().filter(|_| group.iter().any(with_blobs)) else {
        return Ok(None);
    };
    let prepared: Vec<_> = (group.iter())
        .filter_map(|positioned| Some((positioned.tid, positioned.ready.blobs.as_ref()?)))
        .collect();
    blobs.place(&prepared).map(Some)
}

/// A transaction with its position in the file.
struct PositionedTransaction {
    at: u64,
    tid: Tid,
    ready: Box<VotedTransaction>,
}

/// Gives transactions consecutive positions, starting at `from`.
fn assign_positions(from: u64, group: Vec<Finishing>) -> Vec<PositionedTransaction> {
    let mut at = from;
    let position = |Finishing { tid, voted }| {
        let ready: Box<VotedTransaction> =
            voted.0.downcast().expect("only our own votes are committed");
        let positioned = PositionedTransaction { at, tid, ready };
        at = positioned.end();
        positioned
    };
    group.into_iter().map(position).collect()
}

impl PositionedTransaction {
    fn end(&self) -> u64 {
        self.at + self.ready.bytes
    }

    /// The header of the committed transaction.
    fn head(&self) -> TransactionHead {
        TransactionHead { tid: self.tid, ..self.ready.frame.head }
    }

    /// The header before the first sync, with a length that spans up to `end`.
    fn pending_head(&self, end: u64) -> TransactionHead {
        let len = end - POINTER as u64 - self.at;
        TransactionHead { len, status: Status::VOTED, ..self.head() }
    }

    /// The records with their positions.
    fn records(&self) -> impl Iterator<Item = (u64, &Planned)> {
        let mut next = self.at + self.ready.frame.head.head_len();
        self.ready.records.iter().map(move |record| {
            let at = next;
            next += record.bytes();
            (at, record)
        })
    }

    /// Whether a sector boundary lies between the header bytes that step 3 changes in a round up to
    /// `end`. Both lengths are at most the bytes left until `end`, so their leading bytes are zero.
    fn may_tear(&self, end: u64) -> bool {
        let same = u64::from((end - self.at).leading_zeros() / 8);
        let first = self.at + LEN_AND_STATUS.start as u64 + same;
        let last = self.at + LEN_AND_STATUS.end as u64 - 1;
        first / SECTOR_BYTES != last / SECTOR_BYTES
    }
}

/// Steps 1 to 4, round by round.
fn write_group(
    storage: &FileStorage,
    log: &Log,
    group: &[PositionedTransaction],
) -> io::Result<()> {
    let Some(end) = group.last().map(PositionedTransaction::end) else {
        return Ok(());
    };
    let mut earlier = BTreeMap::new();
    for round in group.split_inclusive(|positioned| positioned.may_tear(end)) {
        let bytes = RoundBytes::new(&storage.state.read(), round, &mut earlier);
        write_round(log, round, &bytes)?;
    }
    Ok(())
}

fn write_round(
    log: &Log,
    round: &[PositionedTransaction],
    bytes: &RoundBytes<'_>,
) -> io::Result<()> {
    let file = &log.file.disk_file;
    bytes.write(&**file, round[0].at)?;
    file.sync()?;
    for positioned in round {
        let head = positioned.head().to_bytes();
        file.write_at(&[&head[LEN_AND_STATUS]], positioned.at + LEN_AND_STATUS.start as u64)?;
    }
    file.sync()
}

/// Cuts the file back to its length before the group.
fn roll_back(log: &Log) -> io::Result<()> {
    log.file.disk_file.set_len(log.end)?;
    log.file.disk_file.sync()
}

/// Step 5: makes the group visible to loads.
fn publish(storage: &FileStorage, group: &[PositionedTransaction]) -> Vec<Committed> {
    let mut state = storage.state.write();
    let mut committed = Vec::with_capacity(group.len());
    for positioned in group {
        for (at, record) in positioned.records() {
            state.index.insert(record.oid, at);
        }
        state.log.end = positioned.end();
        state.last_tid = positioned.tid;
        let info = Info { length: state.index.len(), size: state.log.end };
        committed.push(Committed { tid: positioned.tid, info });
    }
    committed
}

/// The bytes of a round before step 3.
#[derive(Default)]
struct RoundBytes<'a> {
    /// Headers, pointers, lengths and short data, one after the other.
    small: Vec<u8>,
    pieces: Vec<Piece<'a>>,
}

enum Piece<'a> {
    Small(Range<usize>),
    Data(&'a [u8]),
    /// Data in a spool file.
    Spooled {
        file: &'a Arc<dyn Scratch>,
        at: u64,
        len: usize,
    },
}

impl<'a> RoundBytes<'a> {
    /// `earlier` has the records of earlier rounds, which are not in the index yet.
    fn new(
        state: &VisibleState,
        round: &'a [PositionedTransaction],
        earlier: &mut BTreeMap<Oid, u64>,
    ) -> Self {
        let mut bytes = Self::default();
        let end = round.last().map_or(0, PositionedTransaction::end);
        for positioned in round {
            bytes.put(&positioned.pending_head(end).to_bytes());
            let meta = &positioned.ready.frame.meta;
            bytes.put_data(&meta.user);
            bytes.put_data(&meta.description);
            bytes.put_data(&meta.extension);
            for (_, record) in positioned.records() {
                let prev = earlier.get(&record.oid).copied();
                let prev = prev.or_else(|| state.index.position(record.oid)).unwrap_or(0);
                bytes.put_record(positioned, record, prev);
            }
            bytes.put(&positioned.head().len.to_be_bytes());
            earlier.extend(positioned.records().map(|(at, record)| (record.oid, at)));
        }
        bytes
    }

    fn put_record(&mut self, positioned: &PositionedTransaction, record: &'a Planned, prev: u64) {
        let head = RecordHead {
            oid: record.oid,
            tid: record.tid.unwrap_or(positioned.tid),
            prev,
            transaction: positioned.at,
            version_len: 0,
            data_len: record.data_len(),
        };
        self.put(&head.to_bytes());
        match &record.content {
            Content::Data(RecordData::Memory(data)) => self.put_data(data),
            Content::Data(RecordData::Spooled { file, at, len }) => {
                self.pieces.push(Piece::Spooled { file, at: *at, len: *len });
            }
            Content::Back(back) => self.put(&back.to_be_bytes()),
            Content::Deleted => self.put(&[0; POINTER]),
        }
    }

    fn put_data(&mut self, data: &'a [u8]) {
        if data.len() < COPIED_BYTES {
            self.put(data);
        } else {
            self.pieces.push(Piece::Data(data));
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let start = self.small.len();
        self.small.extend_from_slice(bytes);
        let end = self.small.len();
        match self.pieces.last_mut() {
            Some(Piece::Small(range)) => range.end = end,
            Some(Piece::Data(_) | Piece::Spooled { .. }) | None => {
                self.pieces.push(Piece::Small(start..end));
            }
        }
    }

    /// Writes the round, starting at a position: with one call, except for spooled data, which are
    /// copied piece by piece.
    fn write(&self, to: &dyn DiskFile, at: u64) -> io::Result<()> {
        let mut at = at;
        let mut slices = Vec::with_capacity(self.pieces.len());
        let mut gathered = 0;
        for piece in &self.pieces {
            let slice = match piece {
                Piece::Small(range) => &self.small[range.clone()],
                Piece::Data(data) => *data,
                Piece::Spooled { file, at: from, len } => {
                    to.write_at(&slices, at)?;
                    slices.clear();
                    copy_spooled(file, *from, *len, to, at + gathered)?;
                    at += gathered + *len as u64;
                    gathered = 0;
                    continue;
                }
            };
            gathered += slice.len() as u64;
            slices.push(slice);
        }
        to.write_at(&slices, at)
    }
}

fn copy_spooled(
    from: &Arc<dyn Scratch>,
    from_at: u64,
    len: usize,
    to: &dyn DiskFile,
    at: u64,
) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(SPOOLED_PIECE_BYTES);
        let bytes = from.read(from_at + done as u64, piece).map_err(io::Error::other)?;
        to.write_at(&[&bytes], at + done as u64)?;
        done += piece;
    }
    Ok(())
}
