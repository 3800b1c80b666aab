//! Blobs: one file for each revision of a blob object, beside the database.
//!
//! ```text
//!   BLOBS/.layout                                    the word bushy or lawn
//!   BLOBS/.removed                                   the blobs that a pack in progress removes
//!   BLOBS/.rzeo-journal                              the files of the last group that had some
//!   BLOBS/tmp/rzeo-N                                 uploads
//!   BLOBS/0x00/0x00/0x00/0x00/0x00/0x00/0x04/0xd2/   bushy: a level for each byte of the oid
//!   BLOBS/0x04d2/                                    lawn: one directory for each oid
//!        …/0x03f6fcd22ddddddd.blob                   the revision of that tid
//! ```
//!
//! All of this is Python's, except for the names with `rzeo-`; either program can use the directory
//! of the other. Other files in `tmp` (clients that share the directory have some) are not touched.
//!
//! A blob and its record are in two files. These steps keep them consistent:
//!
//! ```text
//!   upload   BLOBS/tmp/rzeo-N grows
//!   vote     N and its future directory are made durable
//!   commit   1. the journal names the revisions, durably
//!            2. each file gets its final name, and the directories are synced
//!            3. the records are written and synced: the group is committed
//! ```
//!
//! So a committed record has its file at every instant, whichever program reads it. If the power
//! fails before 3 is done there may be files without a record. The journal names them, and the next
//! opening removes those whose revisions are not in the database. A journal, unlike a second name
//! in `tmp` for each file, needs no hard links and no order between renames in different
//! directories, and takes one small write for a whole group. The journal of a committed group is
//! not cleared: an opening finds all of its revisions in the database.
//!
//! Python renames a file when it is *stored*, syncs nothing, and leaves it behind after some
//! errors.

mod commit;
mod directory;
mod files;
mod journal;
mod object_directories;
mod pack;
mod recover;
mod removal;
mod store;
mod upload;
mod wrapper;

pub use self::commit::Plan;
pub(crate) use self::commit::{PlacedFiles, Prepared};
pub(crate) use self::directory::holds_blobs;
pub use self::directory::{BlobDirectory, Layout};
pub(crate) use self::recover::clear;
pub(crate) use self::removal::RemovalList;
pub use self::store::Blobs;
pub use self::wrapper::BlobStorage;
