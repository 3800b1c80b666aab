//! What can go wrong with objects.

use rzeo_core::Oid;
use rzeo_core::pickle::Unreadable;
use rzeo_core::wire::Unwritable;
use thiserror::Error;

use crate::btree::error::BTreeError;
use crate::class::Class;
use crate::convert_error::ConvertError;
use crate::reference::ObjectId;

/// An operation on a snapshot that has no result.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The snapshot lacks a record. The driver loads it and runs the operation again.
    #[error("the record of {0} is not loaded")]
    NotLoaded(Oid),
    /// The storage has no such object at the snapshot's tid.
    #[error("there is no object {0}; a reference to it dangles")]
    NoSuchObject(Oid),
    /// A new object that this snapshot did not create, or whose creation was undone.
    #[error("{0} was created by another snapshot, or its creation was undone")]
    UnknownNew(ObjectId),
    /// The record is not two pickles.
    #[error("the record of {oid} cannot be read: {error}")]
    Unreadable {
        /// The object.
        oid: Oid,
        /// What is wrong with its pickles.
        error: Unreadable,
    },
    /// The record has no class in a known form.
    #[error("the record of {0} has no class in a known form")]
    NoClass(Oid),
    /// The state is not one that objects of this type have.
    #[error("the state of {id}, a {class}, cannot be used: {error}")]
    State {
        /// The object.
        id: ObjectId,
        /// Its class.
        class: Class,
        /// What is wrong with the state.
        error: StateError,
    },
    /// An operation on a tree of BTrees cannot use a key, a value or a node.
    #[error(transparent)]
    BTree(#[from] BTreeError),
    /// A value does not convert to a Rust value, or back.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A changed object cannot be written.
    #[error("the state of {id} cannot be written: {error}")]
    Write {
        /// The object.
        id: ObjectId,
        /// What cannot be written.
        error: WriteError,
    },
}

/// A state that a type of objects does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StateError {
    /// Objects of this class have other states.
    #[error("it is not an object of a class that is read as {expected}")]
    Class {
        /// Name of the Rust type.
        expected: &'static str,
    },
    /// This transaction has changed the object as one of another Rust type.
    #[error("it was changed as a state of another type than {expected}")]
    ChangedAs {
        /// Name of the Rust type.
        expected: &'static str,
    },
    /// A part of the state is of the wrong kind.
    #[error("{part} is not {expected}")]
    Form {
        /// Which part.
        part: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The state does not convert to the Rust type.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// A value that cannot be written into a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Bytes, text or a number too long for its length field.
    #[error("{0}")]
    TooLong(#[from] Unwritable),
    /// Values are nested too deep.
    #[error("values are nested deeper than the maximum of {limit} levels")]
    TooDeep {
        /// The maximum depth.
        limit: u32,
    },
    /// An object by its number in Python's `copyreg`.
    #[error("extension code {code} is not in any registry")]
    ExtensionCode {
        /// The number in the registry.
        code: u32,
    },
    /// A Rust value does not convert to a Python value.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The driver gave fewer oids than there are new objects.
    #[error("there are more new objects than the {given} oids that were given")]
    NoOids {
        /// Number of oids.
        given: usize,
    },
    /// A reference to a new object of another snapshot.
    #[error("a reference names {0}, which this snapshot did not create")]
    UnknownNew(ObjectId),
}
