//! The configuration of the server: the sections of its file, and the settings in them.
//!
//! The reader is `rzeo_zconfig`, and `<eventlog>` belongs to `rzeo_eventlog`. Here are the sections of ZEO: each
//! module has the tables of its sections, and the functions that take typed settings out of them.
//!
//! | module | sections |
//! |---|---|
//! | [`server`] | the whole file |
//! | [`zeo`] | `<zeo>` and its `<ssl>` |
//! | [`storages`] | `<filestorage>` and the other storages |
//! | [`zeoclient`] | `<zeoclient>` and its `<ssl>` |
//! | [`rzeo`] | `<rzeo>`: settings that Python's server does not have |
//! | [`runner`] | `<runner>`, for `zeoctl` |
//!
//! [`address`] turns addresses in ZConfig's notation into those of the program.
//!
//! Unknown settings are errors: a server that ignores a setting is worse than one that does not start.

mod address;
mod runner;
mod rzeo;
mod server;
mod storages;
#[cfg(test)]
mod tests;
mod zeo;
mod zeoclient;

pub(crate) use rzeo::{OwnSettings, Runtime};
pub(crate) use server::ServerConfig;
pub(crate) use storages::{FileConfig, StorageConfig, StorageKind};
pub(crate) use zeo::{KeyPassword, TlsConfig};
pub(crate) use zeoclient::{ClientTlsConfig, ZeoClientConfig};
