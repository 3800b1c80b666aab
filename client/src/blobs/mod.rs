//! Where a client has its blobs: a cache of its own, or the server's directory.
//!
//! ```text
//!   CACHE/.layout                       the word zeocache
//!   CACHE/234/                          a directory for each rest of an oid divided by 997
//!   CACHE/234/.lock                     whoever downloads into it, or removes from it, has this
//!   CACHE/234/1.03f6fcd22ddddddd.blob   oid 1231 (1 · 997 + 234), the revision of that tid
//!   CACHE/234/1.….blob.dl               a download in progress
//!   CACHE/tmp/rzeo-XXXXXX/              what belongs to one opening of ours: uploads
//!   CACHE/check_size.lock               whoever brings the cache down to its size has this
//!   CACHE/check_size.attempt            somebody else wanted to
//! ```
//!
//! All of this is Python's, but for the directories in `tmp`: Python's clients and ours can use one
//! cache at the same time. Locks are `flock`, on files that stay; who dies leaves his lock free.
//!
//! A file has its final name only when it is whole and on the disk, and is never written again. So
//! whoever opened one may read it to its end, whatever becomes of its name; a [`Blob`] is an open
//! file for that reason. A crash leaves a `.dl`, whose lock is free, and a directory in `tmp`,
//! whose lock is free as well (it is on the directory itself): the next opening removes both. What
//! a dead Python client leaves of its uploads nobody can tell from those of a living one, and it
//! stays.
//!
//! A directory that is shared with the server is the server's, bushy or lawn. Nothing is
//! transferred then and there is no cache to care for: an upload is a file that is put beside the
//! object's other revisions under a temporary name, for the server to take.
//!
//! Everything here may wait for the disk, and [`BlobDir::download`] and [`Upload::committed`] for
//! other clients. No blob is ever in memory. There is no thread here: who owns a [`BlobDir`] asks
//! [`BlobDir::sweep_is_due`] after bytes have come, and runs [`BlobDir::sweep`] where waiting is
//! allowed.

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
