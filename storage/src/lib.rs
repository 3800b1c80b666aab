//! FileStorage, MappingStorage and DemoStorage for rzeo.
//!
//! [`FileStorage`] keeps a database in one append-only file, in the format of Python's ZODB; either
//! program can open what the other wrote. All of its disk calls go through [`disk::Disk`], so that
//! a test can put a disk in memory under it that fails calls and loses power where the test says.
//! [`MappingStorage`] keeps everything in memory. [`DemoStorage`] puts changes in one storage over
//! another that stays as it is. [`BlobStorage`] gives blobs to a storage that has none.

pub mod blob;
pub mod demo;
pub mod disk;
pub mod file;
mod mapping;
pub mod tools;

pub use self::blob::BlobStorage;
pub use self::demo::DemoStorage;
pub use self::file::FileStorage;
pub use self::mapping::MappingStorage;
