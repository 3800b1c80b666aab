//! The blobs of a client: in a cache, or in a directory that is shared with the server.
//!
//! ```text
//!   CACHE/.layout                       the word zeocache
//!   CACHE/234/                          a directory for each remainder of an oid divided by 997
//!   CACHE/234/.lock                     held during a download into the directory or a removal from it
//!   CACHE/234/1.03f6fcd22ddddddd.blob   oid 1231 (1 · 997 + 234), the revision of that tid
//!   CACHE/234/1.….blob.dl               a download in progress
//!   CACHE/tmp/rzeo-XXXXXX/              uploads of one opening of the cache by rzeo
//!   CACHE/check_size.lock               held during a sweep
//!   CACHE/check_size.attempt            another client requests a sweep
//! ```
//!
//! The layout is Python's, except for the directories in `tmp`: Python's clients and rzeo's can use one
//! cache at the same time. Locks are `flock`, on files that stay; the lock of a dead process is free.
//!
//! A file gets its final name only when it is complete and synced, and is never written again. An open
//! file can be read to its end even when its name is removed, so a [`Blob`] is an open
//! file. A crash leaves a `.dl` and a directory in `tmp`, both with free locks (the latter's is on the directory
//! itself): the next opening removes both. The uploads of a dead Python client cannot be
//! distinguished from those of a running one, so they stay.
//!
//! A directory that is shared with the server has the server's layout, bushy or lawn. Nothing is
//! transferred and there is no cache: an upload is a file with a temporary name beside the
//! object's other revisions, and the server renames it.
//!
//! Everything here may wait for the disk, and [`BlobDir::download`] and [`Upload::committed`] may wait for
//! other clients. No blob is ever in memory. There is no thread here: the owner of a [`BlobDir`] calls
//! [`BlobDir::sweep_is_due`] after it has received bytes, and runs [`BlobDir::sweep`] on a thread that may block.

mod blob_file;
mod cache;
mod directory;
mod download;
mod error;
mod location;
mod lock;
mod names;
mod options;
mod shared;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

pub use self::blob_file::Blob;
pub use self::directory::BlobDir;
pub use self::download::{Download, Fetch};
pub use self::error::BlobError;
pub use self::options::BlobOptions;
pub use self::sweep::Sweep;
pub use self::upload::{Take, Upload};
