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
mod connect_hint;
mod exit;
#[doc(hidden)]
pub mod fuzz;
mod jobs;
mod merged_config;
mod process;
mod proxy;
mod runtime;
mod serve;
mod signals;
mod sockets;
mod storages;
mod systemd;
mod tls;
mod tools;
mod values;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use args::Command;
use tools::ToolError;

/// Runs the command that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match args::parse(&words).unwrap_or_else(|error| error.exit()) {
        Command::Serve(options) => serve::run(&options),
        Command::Status(options) => end("status", tools::status::run(&options)),
        Command::Top(options) => end("top", tools::top::run(&options)),
        Command::Nagios(options) => end("nagios", tools::nagios::run(&options)),
        Command::Check(options) => end("check", tools::check::run(&options).map(status)),
        Command::Dump(options) => end("dump", tools::dump::run(&options).map(status)),
        Command::Config(options) => tools::config::run(&options),
        Command::Pack(options) => end("pack", tools::pack::run(&options)),
        Command::Copy(options) => end("copy", tools::copy::run(&options).map(status)),
        Command::Repair(options) => end("repair", tools::repair::run(&options).map(status)),
        Command::Record(options) => end("record", tools::record::run(&options).map(status)),
        Command::Replay(options) => end("replay", tools::replay::run(&options)),
        Command::Tasks(options) => end("tasks", tools::tasks::run(&options)),
        Command::Completions(options) => {
            let script = tools::generate::completions(&options, args::command());
            end("completions", script.map(status))
        }
        Command::Man(options) => {
            let pages = tools::generate::man_pages(&options, args::plain_command());
            end("man", pages.map(status))
        }
    }
}

/// The exit status of a command for which `true` means that all is well.
const fn status(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reports why a command failed. A reader that closes the pipe of standard output is no failure.
fn end(command: &str, ended: Result<ExitCode, ToolError>) -> ExitCode {
    match ended {
        Ok(status) => status,
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(ToolError::Usage(text)) => {
            // If standard error is closed, the exit status still reports the failure.
            let _ = args::usage_error(command, &text).print();
            ExitCode::from(exit::USAGE)
        }
        Err(failed) => {
            exit::error(&failed.to_string());
            ExitCode::FAILURE
        }
    }
}
