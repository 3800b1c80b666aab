//! What a transaction changes, as data for a driver.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use rzeo_core::{Oid, Tid};

use crate::reference::ObjectId;

/// A transaction's changes, for a driver to commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records to be stored.
    pub stores: Vec<Store>,
    /// Objects that are not stored, but must not have changed either.
    pub checks: Vec<CurrentCheck>,
    /// The oids of new objects.
    pub new_oids: BTreeMap<ObjectId, Oid>,
}

/// A record to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The object.
    pub oid: Oid,
    /// The revision that was read; zero for a new object.
    pub serial: Tid,
    /// Class and state.
    pub record: Bytes,
}

/// An object that must be current (`readCurrent` in Python).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentCheck {
    /// The object.
    pub oid: Oid,
    /// The revision that was read.
    pub serial: Tid,
}
