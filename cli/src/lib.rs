//! ZEO, the database server of the ZODB, in Rust.
//!
//! `rzeo serve` takes the options and the configuration files of Python's `runzeo`. Everything about the
//! protocol and about storing is in the libraries; here are arguments, configuration, logging,
//! signals, and the order in which a server starts and stops.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "options say [IPV6]:PORT, and clap shows that as it is"
)]

mod admin;
mod args;
mod config;
#[doc(hidden)]
pub mod fuzz;
mod greeting;
mod logging;
mod plan;
mod process;
mod proxy;
mod runtime;
mod serve;
mod signals;
mod storages;
mod systemd;
mod tls;
mod tools;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the words on the command line say.
#[must_use]
pub fn main() -> ExitCode {
    let words = args::with_verb(std::env::args_os().collect());
    match args::Args::parse_from(words).command {
        args::Command::Config(options) => tools::config::run(&options),
        args::Command::Nagios(options) => tools::nagios::run(&options),
        args::Command::Pack(options) => tools::pack::run(&options),
        args::Command::Serve(options) => serve::run(&options),
        args::Command::Check(options) => tools::end(tools::check::run(&options)),
        args::Command::Copy(options) => tools::end(tools::copy::run(&options)),
        args::Command::Dump(options) => tools::end(tools::dump::run(&options)),
        args::Command::Record(options) => tools::end(tools::record::run(&options)),
        args::Command::Repair(options) => tools::end(tools::repair::run(&options)),
        args::Command::Replay(options) => tools::replay::run(&options),
        args::Command::Sim(options) => tools::end(tools::sim::run(&options)),
        args::Command::Status(options) => tools::status::run(&options),
        args::Command::Top(options) => tools::top::run(&options),
    }
}
