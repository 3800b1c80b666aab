//! Reads the configuration files of Python's server: ZConfig.
//!
//! | module | knows |
//! |---|---|
//! | [`syntax`] | what a line says |
//! | [`substitution`] | `$name` in values |
//! | [`python`] | numbers and quoted text as Python writes them |
//! | [`types`] | what a value may be |
//! | [`conversions`], [`address`] | how a text becomes such a value |
//! | [`schema`] | which sections and keys there can be at all: tables |
//! | [`overrides`] | what the command line says instead |
//! | [`reader`] | how files become a tree of sections that fits a schema |
//! | [`server`] | the tables for a server, and the settings in the tree |
//! | [`error`] | what can be wrong, and where |
//! | [`system`] | files and environment variables |
//!
//! Messages are Python's where Python has one, because tools and people know them; the place is added
//! where Python leaves it out. Nothing unknown is skipped: a server with a setting that it does not obey
//! is worse than one that does not start.

mod address;
mod conversions;
mod error;
mod overrides;
mod python;
mod reader;
mod schema;
mod server;
mod substitution;
mod syntax;
mod system;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use address::SocketAddress;
pub(crate) use error::{ConfigError, Place};
pub(crate) use overrides::OverrideError;
pub(crate) use python::repr;
pub(crate) use reader::{Section, Setting, path_of};
pub(crate) use server::{
    ClientTlsConfig, FileConfig, INVALIDATION_QUEUE_SIZE, KeyPassword, LogShape, OwnSettings,
    Runtime, ServerConfig, StorageConfig, StorageKind, TlsConfig, ZeoClientConfig,
};
#[cfg(test)]
pub(crate) use system::fake::FakeSystem;
pub(crate) use system::{RealSystem, System};
pub(crate) use types::{InvalidValue, Kind, Value};
