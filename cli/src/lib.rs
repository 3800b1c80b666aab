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
mod exit;
#[doc(hidden)]
pub mod fuzz;
mod greeting;
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

use std::ffi::OsString;
use std::process::ExitCode;

use args::Command;
use exit::end;

/// Runs the command that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match args::parse(&words).unwrap_or_else(|error| error.exit()) {
        Command::Serve(options) => serve::run(&options),
        Command::Status(options) => tools::status::run(&options),
        Command::Top(options) => tools::top::run(&options),
        Command::Nagios(options) => tools::nagios::run(&options),
        Command::Check(options) => end("check", tools::check::run(&options)),
        Command::Dump(options) => end("dump", tools::dump::run(&options)),
        Command::Config(options) => tools::config::run(&options),
        Command::Pack(options) => tools::pack::run(&options),
        Command::Copy(options) => end("copy", tools::copy::run(&options)),
        Command::Repair(options) => end("repair", tools::repair::run(&options)),
        Command::Record(options) => end("record", tools::record::run(&options)),
        Command::Replay(options) => tools::replay::run(&options),
        Command::Completions(options) => end("completions", tools::generate::completions(&options)),
        Command::Man(options) => end("man", tools::generate::man_pages(&options)),
    }
}
