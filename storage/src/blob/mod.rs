//! Blobs: for each revision of a blob object a file, beside the database.
//!
//! ```text
//!   BLOBS/.layout                                    the word bushy or lawn
//!   BLOBS/.removed                                   what a pack in progress removes
//!   BLOBS/.rzeo-journal                              the files of the last group that had some
//!   BLOBS/tmp/rzeo-N                                 uploads
//!   BLOBS/0x00/0x00/0x00/0x00/0x00/0x00/0x04/0xd2/   bushy: a level for each byte of the oid
//!   BLOBS/0x04d2/                                    lawn: one directory for each oid
//!        …/0x03f6fcd22ddddddd.blob                   the revision of that tid
//! ```
//!
//! All of this is Python's, but for the names with `rzeo-`; either program goes on where the other
//! stopped. Whoever else keeps files in `tmp` (clients that share the directory do) keeps them.
//!
//! A blob and its record are one thing, but they are in two files. What holds them together:
//!
//! ```text
//!   upload   BLOBS/tmp/rzeo-N grows
//!   vote     N and the directory it will be in are made durable
//!   commit   1. the journal says which revisions' files come now, durably
//!            2. each is renamed into place, and the directories are synced
//!            3. the records are written and synced: the group is committed
//! ```
//!
//! So a committed record has its file at every instant, with no help from anybody. If the power fails
//! before 3 is done there may be files without a record, and the journal names them: the next opening
//! removes those of which the database does not know the revision. A journal, rather than a second name
//! in `tmp` for each file, because it does not ask the file system for hard links nor for an order
//! between renames in different directories, and because one small write does for a whole group. The
//! journal is never cleared: what it says of a group that was committed is checked and found in order.
//!
//! Python renames a file when it is *stored*, syncs nothing, and forgets it on some ways out.

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
pub(crate) use self::commit::{Placed, Prepared};
pub(crate) use self::directory::holds_blobs;
pub use self::directory::{BlobDirectory, Layout};
pub(crate) use self::recover::clear;
pub(crate) use self::removal::RemovalList;
pub use self::store::Blobs;
pub use self::wrapper::BlobStorage;
