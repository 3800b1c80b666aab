//! The objects of a world, and their records.
//!
//! | oid | object |
//! |---|---|
//! | 0 | the root, which refers to all others, so that packs keep them |
//! | 1… | accounts; together they always have [`TOTAL`] |
//! | … | counters, one for each client, which only that client increments |
//! | … | one `BTrees.Length`, which all clients increment: the sum of the counters |
//! | … | blobs, which do not exist at first |
//! | … | a group of objects that are changed together |

use bytes::Bytes;
use rzeo_core::Oid;
use rzeo_core::record;
use rzeo_core::value::{ReadLimits, Value};

use rzeo_fixtures::random::Random;

/// The sum of all accounts.
pub const TOTAL: i64 = 1000;
/// Number of accounts: few, so that applications conflict.
const ACCOUNTS: u64 = 5;
/// Number of counters: one for each client.
pub const COUNTERS: u64 = 4;
const CROWD: u64 = 60;
const BLOBS: u64 = 4;

/// The common sum.
pub const TICKS: Oid = Oid(ACCOUNTS + COUNTERS + 1);
const FIRST_BLOB: u64 = TICKS.0 + 1;
const FIRST_OF_CROWD: u64 = FIRST_BLOB + BLOBS;
/// The first oid that is not in use.
pub const UNUSED: Oid = Oid(FIRST_OF_CROWD + CROWD);

/// The class, then a number as eight bytes.
const NUMBER: &[u8] = b"cm\nC\n.\x80\x03C\x08";
/// The class, then a number as four bytes.
const LENGTH: &[u8] = b"\x80\x03cBTrees.Length\nLength\n.\x80\x03J";
/// A blob's record, whatever the blob holds.
pub const BLOB: &[u8] = b"\x80\x03cZODB.blob\nBlob\nq\0.\x80\x03N.";

/// All accounts.
pub fn accounts() -> impl Iterator<Item = Oid> {
    (1..=ACCOUNTS).map(Oid)
}

/// All counters.
pub fn counters() -> impl Iterator<Item = Oid> {
    (0..COUNTERS).map(counter)
}

/// A client's counter.
#[must_use]
pub const fn counter(client: u64) -> Oid {
    Oid(1 + ACCOUNTS + client)
}

/// The group of objects that are changed together.
pub fn crowd() -> impl Iterator<Item = Oid> {
    (FIRST_OF_CROWD..UNUSED.0).map(Oid)
}

/// All blobs.
pub fn blobs() -> impl Iterator<Item = Oid> {
    (FIRST_BLOB..FIRST_OF_CROWD).map(Oid)
}

/// Picks one of some objects.
pub fn some(random: &mut Random, oids: impl Iterator<Item = Oid>) -> Oid {
    let oids: Vec<Oid> = oids.collect();
    oids[random.below(oids.len())]
}

/// Whether conflicting changes of an object can be resolved.
#[must_use]
pub fn is_a_sum(oid: Oid) -> bool {
    oid.0 > 0 && oid <= TICKS
}

/// Whether an object is a blob.
#[must_use]
pub fn is_blob(oid: Oid) -> bool {
    (FIRST_BLOB..FIRST_OF_CROWD).contains(&oid.0)
}

/// The first record of an object; `None` if it does not exist at first.
#[must_use]
pub fn at_first(oid: Oid) -> Option<Bytes> {
    if oid == Oid::ROOT {
        return Some(root());
    }
    if oid >= UNUSED || is_blob(oid) {
        return None;
    }
    let is_account = oid.0 <= ACCOUNTS;
    Some(record(oid, if is_account { TOTAL / i64::try_from(ACCOUNTS).unwrap_or(1) } else { 0 }))
}

/// An object that holds a number.
///
/// # Panics
/// If [`TICKS`] cannot hold it.
#[must_use]
pub fn record(oid: Oid, number: i64) -> Bytes {
    if oid == TICKS {
        let number = i32::try_from(number).expect("the ticks of a world fit in 32 bits");
        return [LENGTH, &number.to_le_bytes(), b"."].concat().into();
    }
    [NUMBER, &number.to_be_bytes(), b"."].concat().into()
}

/// The number that an object holds.
///
/// # Panics
/// If it holds none.
#[must_use]
pub fn number(oid: Oid, data: &Bytes) -> i64 {
    if oid == TICKS {
        let (_, state) = record::values(data, &ReadLimits::default()).expect("it is a record");
        let Value::Int(number) = state else { panic!("a length holds {state:?}") };
        return number;
    }
    let number = data.strip_prefix(NUMBER).and_then(|rest| rest.get(..8)?.try_into().ok());
    number.map(i64::from_be_bytes).unwrap_or_else(|| panic!("{oid} is {data:?}"))
}

/// Resolves a conflict of numbers by applying both changes.
#[must_use]
pub fn resolved(oid: Oid, read: &Bytes, committed: &Bytes, new: &Bytes) -> Bytes {
    let [read, committed, new] = [read, committed, new].map(|data| number(oid, data));
    record(oid, committed + new - read)
}

fn root() -> Bytes {
    let mut record = b"\x80\x03cm\nC\n.\x80\x03]".to_vec();
    for oid in 1..UNUSED.0 {
        record.extend_from_slice(b"C\x08");
        record.extend_from_slice(&oid.to_be_bytes());
        record.extend_from_slice(b"Qa");
    }
    record.push(b'.');
    record.into()
}
