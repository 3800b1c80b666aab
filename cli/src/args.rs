//! The command line.
//!
//! `rzeo serve` understands all that scripts give to `runzeo`: values joined to short options (`-a:0`),
//! long options cut short (`--addr`), and the same names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::{InvalidValue, Kind, LogShape, RealSystem, Runtime, SocketAddress, Value};
use crate::tools::config::ConfigOptions;
use crate::tools::nagios::NagiosOptions;
use crate::tools::pack::PackOptions;
use crate::tools::status::StatusOptions;
use crate::tools::top::TopOptions;
use crate::tools::{check, copy, dump, record, repair, replay, sim};

/// ZEO, the database server of the ZODB, in Rust.
#[derive(Debug, Parser)]
#[command(name = "rzeo", version, infer_long_args = true, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Config(ConfigOptions),
    Nagios(NagiosOptions),
    Pack(PackOptions),
    Serve(ServeOptions),
    Check(check::Options),
    Copy(copy::Options),
    Dump(dump::Options),
    Record(record::Options),
    Repair(repair::Options),
    Replay(replay::Options),
    Sim(sim::Options),
    Status(StatusOptions),
    Top(TopOptions),
}

/// The names of Python's programs, and what does the same here.
const PYTHON_NAMES: [(&str, &str); 3] =
    [("runzeo", "serve"), ("zeo-nagios", "nagios"), ("zeopack", "pack")];

/// The command line with its verb: a link to the program with the name of one of Python's is that
/// program, so that operators' scripts find it.
pub(crate) fn with_verb(mut words: Vec<OsString>) -> Vec<OsString> {
    let called = words.first().and_then(|program| Path::new(program).file_name());
    let known = PYTHON_NAMES.iter().find(|(name, _)| called.is_some_and(|called| called == *name));
    if let Some((_, verb)) = known {
        words.insert(1, OsString::from(verb));
    }
    words
}

/// Serve databases to ZEO clients.
///
/// Without options, ./Data.fs is served on 127.0.0.1:8100; it is made if there is none.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct ServeOptions {
    /// The database to serve, a FileStorage [default: Data.fs]
    #[arg(value_name = "DATA.FS", conflicts_with = "filename")]
    pub(crate) data: Option<PathBuf>,

    /// A configuration file as for runzeo; the other options win over it
    #[arg(short = 'C', long, value_name = "FILE")]
    pub(crate) configure: Option<String>,

    /// Override a setting of the configuration file, such as zeo/address=8101; may be repeated
    #[arg(short = 'X', value_name = "SECTION/KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Where to listen: a host with a port, a port, or a path
    // runzeo has no --address-file, so it understands --addr.
    #[arg(short, long, aliases = ["a", "ad", "add", "addr", "addre", "addres"])]
    #[arg(overrides_with = "address", value_parser = SocketAddress::parse)]
    #[arg(help = "Where to listen: HOST:PORT, PORT, [IPV6]:PORT, or a path with a slash \
                  [default: 127.0.0.1:8100]")]
    pub(crate) address: Option<SocketAddress>,

    /// A FileStorage to serve; several are called 1, 2, and so on
    #[arg(short, long, value_name = "DATA.FS")]
    pub(crate) filename: Vec<PathBuf>,

    /// Disconnect clients whose transaction takes longer to commit [default: no limit]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<f64>,

    /// Write the process id there [default: $INSTANCE_HOME/var/ZEO.pid if that variable is set]
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Write the address there once clients can connect
    #[arg(long, value_name = "PATH")]
    pub(crate) address_file: Option<PathBuf>,

    /// The library that waits for sockets; both serve alike [default: tokio]
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<Runtime>,

    /// Speak msgpack with clients that can, instead of pickle
    #[arg(long)]
    pub(crate) msgpack: bool,

    /// How log records look in files and on streams: text as runzeo's, or a JSON object a line
    /// [default: text]
    #[arg(long, value_name = "text|json", value_parser = log_shape)]
    pub(crate) log_format: Option<LogShape>,

    /// Answer monitoring and browsers over HTTP there; without a host, on this machine only
    #[arg(long, value_name = "ADDRESS", value_parser = SocketAddress::parse)]
    pub(crate) admin: Option<SocketAddress>,

    /// Do everything up to listening, then exit
    #[arg(long)]
    pub(crate) test: bool,
}

fn log_shape(text: &str) -> Result<LogShape, InvalidValue> {
    let word = Kind::OneOf(LogShape::NAMES).convert(text, &RealSystem)?;
    match word {
        Value::Text(word) => Ok(LogShape::named(&word).expect("the words are those of shapes")),
        other => unreachable!("a word was asked for, not {other:?}"),
    }
}

fn seconds(text: &str) -> Result<f64, InvalidValue> {
    match Kind::Float.convert(text, &RealSystem)? {
        Value::Float(seconds) => Ok(seconds),
        other => unreachable!("a float was asked for, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<ServeOptions, clap::Error> {
        let arguments = ["rzeo", "serve"].iter().chain(arguments);
        match Args::try_parse_from(arguments)?.command {
            Command::Serve(options) => Ok(options),
            other => unreachable!("serve was asked for, not {other:?}"),
        }
    }

    #[test]
    fn runzeos_habits_are_understood() {
        let joined = parse(&["-a:0", "-ft", "--test"]).unwrap();
        let apart = parse(&["--addr", ":0", "--file=t", "--test"]).unwrap();
        assert_eq!(joined, apart);
        assert_eq!(joined.address, Some(SocketAddress::parse(":0").unwrap()));
        assert_eq!(joined.filename, [PathBuf::from("t")]);
        assert!(joined.test);

        assert_eq!(parse(&["--log-f=JSON"]).unwrap().log_format, Some(LogShape::Json));
        assert_eq!(parse(&["-Cc"]).unwrap().configure.as_deref(), Some("c"));
        assert_eq!(parse(&["-t1_0.5"]).unwrap().timeout, Some(10.5));
        let last = parse(&["-a1", "-a2", "-fx", "-fy"]).unwrap();
        assert_eq!(last.address, Some(SocketAddress::parse("2").unwrap()));
        assert_eq!(last.filename.len(), 2);
        assert_eq!(parse(&["my.fs"]).unwrap().data, Some("my.fs".into()));
        assert_eq!(parse(&["--runtime", "smol"]).unwrap().runtime, Some(Runtime::Smol));
        assert_eq!(parse(&[]).unwrap(), ServeOptions::default());
    }

    #[test]
    fn a_link_with_a_name_of_pythons_is_that_program() {
        let words =
            |words: &[&str]| -> Vec<OsString> { words.iter().map(OsString::from).collect() };
        let cases: [(&[&str], &[&str]); 4] = [
            (&["/usr/bin/zeopack", "a:1"], &["/usr/bin/zeopack", "pack", "a:1"]),
            (&["runzeo"], &["runzeo", "serve"]),
            (&["zeo-nagios", "-m", "x"], &["zeo-nagios", "nagios", "-m", "x"]),
            (&["rzeo", "serve"], &["rzeo", "serve"]),
        ];
        for (given, expected) in cases {
            assert_eq!(with_verb(words(given)), words(expected));
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let cases: [(&[&str], &str); 7] = [
            (&["--log-format", "xml"], "must be one of text, json; found 'xml'"),
            (&["-q"], "unexpected argument '-q'"),
            (&["-C"], "a value is required for '--configure <FILE>'"),
            (&["-Ca", "-Cb"], "cannot be used multiple times"),
            (&["-a:70000"], "70000 is above upper bound (65535)"),
            (&["-tx"], "could not convert string to float: 'x'"),
            (&["a.fs", "-fb.fs"], "cannot be used with"),
        ];
        for (arguments, message) in cases {
            let error = parse(arguments).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
