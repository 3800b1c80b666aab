//! The command line.
//!
//! `rzeo serve` understands everything that scripts pass to `runzeo`: values joined to short options
//! (`-a:0`), abbreviated long options (`--addr`), and the same names. A link to the binary with the name of
//! one of Python's programs runs the command that replaces it, and shows its own name in help and version.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches, Parser, Subcommand};

use rzeo_eventlog::LogFormat;
use rzeo_net::Address;

use crate::config::Runtime;
use crate::jobs::ServerJobsOptions;
use crate::tools::config::ConfigOptions;
use crate::tools::nagios::NagiosOptions;
use crate::tools::pack::PackOptions;
use crate::tools::status::StatusOptions;
use crate::tools::tasks::TasksOptions;
use crate::tools::top::TopOptions;
use crate::tools::{check, copy, dump, generate, record, repair, replay};
use crate::values;

/// ZEO, the database server of the ZODB, in Rust.
#[derive(Debug, Parser)]
#[command(name = "rzeo", version, infer_long_args = true, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeOptions),
    Status(StatusOptions),
    Top(TopOptions),
    Nagios(NagiosOptions),
    Check(check::Options),
    Dump(dump::Options),
    Config(ConfigOptions),
    Pack(PackOptions),
    Copy(copy::Options),
    Repair(repair::Options),
    Tasks(TasksOptions),
    Record(record::Options),
    Replay(replay::Options),
    Completions(generate::CompletionsOptions),
    Man(generate::ManOptions),
}

/// The commands as `rzeo --help` lists them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Serve", &["serve"]),
    (
        "Look at servers, databases and configurations",
        &["status", "top", "nagios", "check", "dump", "config"],
    ),
    ("Maintain databases", &["pack", "copy", "repair"]),
    ("Execute jobs", &["tasks"]),
    ("Test", &["record", "replay"]),
    ("Set up the shell", &["completions", "man"]),
];

/// The names of Python's programs, and the command that replaces each.
const PYTHON_NAMES: [(&str, &str); 3] =
    [("runzeo", "serve"), ("zeo-nagios", "nagios"), ("zeopack", "pack")];

/// The whole command line, as clap knows it.
pub(crate) fn command() -> clap::Command {
    let command = with_own_name(Args::command());
    let template = help_template(&command);
    command.help_template(template)
}

/// The same without changes for the terminal: each command is named for itself.
pub(crate) fn plain_command() -> clap::Command {
    Args::command()
}

/// One command of it, with `rzeo` in front of its name in help and errors.
pub(crate) fn subcommand(name: &str) -> clap::Command {
    let mut command = command();
    command.build();
    let found = command.find_subcommand(name).expect("callers name commands that exist");
    found.clone()
}

/// Options that clap accepts one by one, but that make no sense together: reported as clap does.
pub(crate) fn usage_error(name: &str, text: &str) -> clap::Error {
    subcommand(name).error(ErrorKind::ArgumentConflict, text)
}

/// Reads the command line.
pub(crate) fn parse(words: &[OsString]) -> Result<Command, clap::Error> {
    // As zeopack, it prints help if there are no arguments.
    let words = &[words, &[OsString::from("--help")][..usize::from(is_bare_pack(words))]].concat();
    let called = words.first().and_then(|program| Path::new(program).file_name());
    match PYTHON_NAMES.iter().find(|(name, _)| called.is_some_and(|called| called == *name)) {
        Some((name, "serve")) => parse_alone("serve", name, words).map(Command::Serve),
        Some((name, "nagios")) => parse_alone("nagios", name, words).map(Command::Nagios),
        Some((name, _)) => parse_alone("pack", name, words).map(Command::Pack),
        None => Ok(Args::from_arg_matches(&command().try_get_matches_from(words)?)?.command),
    }
}

fn is_bare_pack(words: &[OsString]) -> bool {
    let program = words.first().and_then(|program| Path::new(program).file_name());
    match words {
        [_] => program.is_some_and(|name| name == "zeopack"),
        [_, command] => command == "pack",
        _ => false,
    }
}

/// Reads the command line of one command that is called by a name of its own.
fn parse_alone<T: FromArgMatches>(
    verb: &str,
    name: &'static str,
    words: &[OsString],
) -> Result<T, clap::Error> {
    let whole = Args::command();
    let command = whole.find_subcommand(verb).expect("the table names commands that exist");
    let command = command.clone().name(name).bin_name(name).display_name(name);
    let command = command.version(concat!(env!("CARGO_PKG_VERSION"), " (rzeo)"));
    T::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// `rzeo serve --version` prints the program's name, not `rzeo-serve`.
fn with_own_name(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|command| with_own_name(command.display_name("rzeo")))
}

/// clap has no headings for commands, so the list is written here.
fn help_template(command: &clap::Command) -> String {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut lists = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(lists, "{header}{heading}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(lists, "  {literal}{name:<12}{literal:#} {about}");
        }
        lists.push('\n');
    }
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{lists}\
         {header}Options:{header:#}\n{{options}}{{after-help}}"
    )
}

/// Serve databases to ZEO clients
///
/// Without options, ./Data.fs is served on 127.0.0.1:8100; it is created if it does not exist.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct ServeOptions {
    /// The FileStorage to serve [default: Data.fs]
    #[arg(value_name = "DATA.FS", conflicts_with = "filename")]
    pub(crate) data: Option<PathBuf>,

    /// Read a configuration file of runzeo; other options override it
    #[arg(short = 'C', long, value_name = "FILE")]
    pub(crate) configure: Option<String>,

    /// Override a setting of the file, such as zeo/address=8101; repeatable
    #[arg(short = 'X', value_name = "SECTION/KEY=VALUE")]
    pub(crate) overrides: Vec<String>,

    /// Listen on this address [default: 127.0.0.1:8100]
    ///
    /// HOST:PORT, HOST, [IPV6]:PORT, :PORT or PORT for all interfaces, or for a Unix socket unix:PATH
    /// or a path with a slash.
    // runzeo has no --address-file, so it understands --addr.
    #[arg(short, long, aliases = ["a", "ad", "add", "addr", "addre", "addres"])]
    #[arg(overrides_with = "address", value_parser = values::address)]
    pub(crate) address: Option<Address>,

    /// Serve this FileStorage; repeatable, the storages are named 1, 2, …
    #[arg(short, long, value_name = "DATA.FS")]
    pub(crate) filename: Vec<PathBuf>,

    /// Maximum time from vote to finish before a client is disconnected
    ///
    /// In seconds, more than 0 [default: no limit]
    #[arg(short, long, value_name = "SECONDS", value_parser = values::positive_seconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) timeout: Option<f64>,

    /// Write the process id to this file
    ///
    /// [default: $INSTANCE_HOME/var/ZEO.pid if INSTANCE_HOME is set, else none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Write the address to this file once clients can connect
    #[arg(long, value_name = "PATH")]
    pub(crate) address_file: Option<PathBuf>,

    /// Async runtime to serve connections with [default: tokio]
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<Runtime>,

    /// Use msgpack instead of pickle with clients that support it
    #[arg(long)]
    pub(crate) msgpack: bool,

    /// Format of log files and streams [default: text]
    ///
    /// text is the format of runzeo, json writes one JSON object per line.
    #[arg(long, value_name = "text|json", value_parser = values::log_format)]
    pub(crate) log_format: Option<LogFormat>,

    /// Serve the status page, metrics and health probes over HTTP here
    ///
    /// The address is written as for --address; without a host it is reachable from this machine only.
    #[arg(long, value_name = "ADDRESS", value_parser = values::loopback_address)]
    pub(crate) admin: Option<Address>,

    /// Check configuration, files and addresses, then exit; create nothing
    #[arg(long)]
    pub(crate) test: bool,

    #[command(flatten)]
    pub(crate) jobs: ServerJobsOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn parse_serve(arguments: &[&str]) -> Result<ServeOptions, clap::Error> {
        match parse(&words(&[&["rzeo", "serve"], arguments].concat()))? {
            Command::Serve(options) => Ok(options),
            other => unreachable!("serve was asked for, not {other:?}"),
        }
    }

    #[test]
    fn runzeos_habits_are_understood() {
        let joined = parse_serve(&["-a:0", "-ft", "--test"]).unwrap();
        let apart = parse_serve(&["--addr", ":0", "--file=t", "--test"]).unwrap();
        assert_eq!(joined, apart);
        assert_eq!(joined.address, Some(":0".parse().unwrap()));
        assert_eq!(joined.filename, [PathBuf::from("t")]);
        assert!(joined.test);

        assert_eq!(parse_serve(&["--log-f=JSON"]).unwrap().log_format, Some(LogFormat::Json));
        assert_eq!(parse_serve(&["-Cc"]).unwrap().configure.as_deref(), Some("c"));
        assert_eq!(parse_serve(&["-t1_0.5"]).unwrap().timeout, Some(10.5));
        let last = parse_serve(&["-a1", "-a2", "-fx", "-fy"]).unwrap();
        assert_eq!(last.address, Some("2".parse().unwrap()));
        assert_eq!(last.filename.len(), 2);
        assert_eq!(parse_serve(&["my.fs"]).unwrap().data, Some("my.fs".into()));
        assert_eq!(parse_serve(&["--runtime", "smol"]).unwrap().runtime, Some(Runtime::Smol));
        assert_eq!(parse_serve(&[]).unwrap(), ServeOptions::default());
    }

    #[test]
    fn a_link_with_a_name_of_pythons_is_that_program() {
        let run = |arguments: &[&str]| parse(&words(arguments));
        assert!(matches!(run(&["/usr/bin/zeopack", "a:1"]), Ok(Command::Pack(_))));
        assert!(matches!(run(&["runzeo"]), Ok(Command::Serve(_))));
        assert!(matches!(run(&["zeo-nagios", "-m", "x"]), Ok(Command::Nagios(_))));
        assert!(matches!(run(&["rzeo", "serve"]), Ok(Command::Serve(_))));
    }

    #[test]
    fn programs_show_their_own_name() {
        let shown = |arguments: &[&str]| parse(&words(arguments)).unwrap_err().to_string();
        let version = env!("CARGO_PKG_VERSION");
        for (arguments, expected) in [
            (&["rzeo", "-V"][..], format!("rzeo {version}\n")),
            (&["rzeo", "serve", "-V"], format!("rzeo {version}\n")),
            (&["/bin/runzeo", "--version"], format!("runzeo {version} (rzeo)\n")),
        ] {
            assert_eq!(shown(arguments), expected);
        }
        for (arguments, expected) in [
            (&["rzeo", "serve", "--help"][..], "Usage: rzeo serve [OPTIONS]"),
            (&["runzeo", "--help"], "Usage: runzeo [OPTIONS]"),
            (&["runzeo", "-q"], "Usage: runzeo [OPTIONS]"),
            (&["zeopack", "--help"], "Usage: zeopack [OPTIONS]"),
            (&["zeo-nagios", "--help"], "Usage: zeo-nagios [OPTIONS]"),
        ] {
            assert!(shown(arguments).contains(expected), "{}", shown(arguments));
        }
    }

    #[test]
    fn every_command_is_in_one_group_and_serve_comes_first() {
        let command = command();
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(known, grouped);
        assert_eq!(grouped[0], "serve");
        let help = command.clone().render_help().to_string();
        assert!(
            help.contains("\nServe:\n  serve        Serve databases to ZEO clients\n"),
            "{help}"
        );
        assert!(help.contains("\nOptions:\n  -h, --help"), "{help}");
    }

    /// The first line of a help text is what `-h` shows beside the option.
    #[test]
    fn help_begins_with_one_short_line() {
        fn long_lines(command: &clap::Command, found: &mut Vec<String>) {
            let texts = command.get_arguments().filter_map(clap::Arg::get_help);
            let texts = texts.chain(command.get_about());
            let long = texts.map(ToString::to_string).filter(|text| text.chars().count() > 72);
            found.extend(long);
            command.get_subcommands().for_each(|command| long_lines(command, found));
        }
        let mut found = Vec::new();
        long_lines(&command(), &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let cases: [(&[&str], &str); 10] = [
            (&["--log-format", "xml"], "must be one of text, json; found 'xml'"),
            (&["-q"], "unexpected argument '-q'"),
            (&["-C"], "a value is required for '--configure <FILE>'"),
            (&["-Ca", "-Cb"], "cannot be used multiple times"),
            (&["-a:70000"], "a port is a number from 0 to 65535"),
            (&["-tx"], "invalid value 'x' for '--timeout <SECONDS>': not a number of seconds"),
            (&["-tnan"], "must be more than 0"),
            (&["-t-5"], "must be more than 0"),
            (&["-t0"], "must be more than 0, and finite; leave the option out for no limit"),
            (&["a.fs", "-fb.fs"], "cannot be used with"),
        ];
        for (arguments, message) in cases {
            let error = parse_serve(arguments).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_definitions() {
        command().debug_assert();
    }
}
