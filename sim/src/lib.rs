//! Deterministic simulation of rzeo: clients and a server, a network and a disk that fail, in one thread on
//! virtual time.
//!
//! ```text
//!   Application ─ ClientRig ─┐                    ┌─ Rig: sessions, hub ─ FileStorage ─ InterceptedDisk
//!   Application ─ ClientRig ─┼─ Network (faults) ─┤                                          │
//!   Application ─ ClientRig ─┘                    └─ (another address)             DiskFaults (faults)
//!      │ reports requests and answers                                                       │
//!      └──────────────► Oracle ◄─────────── reads the file with its own reader ─────────────┘
//! ```
//!
//! The state machines are the real ones, and so is the storage. The rigs do what an adapter does around them, one
//! action at a time, in an order that the seed picks from all that an adapter may choose. A run is a function of
//! a few numbers ([`Plan`]): a world that fails fails again, step by step.
//!
//! | module | contents |
//! |---|---|
//! | [`workload`] | the actions of applications, and the faults |
//! | `world` | the main loop |
//! | `application` | applications, which check what their clients report |
//! | [`rzeo_fixtures::network`] | connections, and how they break |
//! | `server_host`, [`disk_faults`] | a disk with a database, and how it fails |
//! | [`oracle`], [`file_reader`] | the expected contents of the database, and a second reader of files |
//! | [`objects`] | the contents of the database |
//! | [`coverage`] | counts of events |
//!
//! Not simulated: two servers at once (a database has one), TLS, and the code of the adapters, which have
//! their own tests over sockets.

mod application;
pub mod coverage;
pub mod disk_faults;
pub mod file_reader;
pub mod objects;
pub mod oracle;
mod run;
mod server_host;
mod trace;
pub mod workload;
mod world;

pub use self::run::{Failure, Plan, Report, explain, run, shrink};
pub use self::workload::Workload;
pub use self::world::STEPS;
