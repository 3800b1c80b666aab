//! `rzeo pack`, as Python's `zeopack`: packs storages of running servers.
//!
//! Arguments, order, messages and exit status are those of the original, because they stand in
//! operators' crontabs: first `-h` and `-p`, then `-U`, then the arguments, then `-u`; `-h` is no help.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as _, Command};
use jiff::civil::Time;
use jiff::{Span, Zoned};
use rzeo_core::value::Value;
use rzeo_zconfig::python::repr;
use thiserror::Error;

use super::wire::{Address, CallError, Connection};

/// How long to wait for each server, and how often to try.
const TRIES: u32 = 60;
const RETRY: Duration = Duration::from_secs(1);

/// Pack storages of running servers, as zeopack does.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PackOptions {
    /// Servers to pack: HOST:PORT[:NAME]
    #[arg(value_name = "HOST:PORT[:NAME]")]
    servers: Vec<String>,

    /// Pack to that many days ago
    #[arg(short, long, default_value_t = 0, allow_negative_numbers = true)]
    days: i64,

    /// Time of day to pack to: HH[:MM[:SS]] [default: now]
    #[arg(short, long, value_name = "HH[:MM[:SS]]")]
    time: Option<String>,

    /// A server on a Unix socket: PATH[:NAME]
    #[arg(short = 'u', long = "unix", value_name = "PATH[:NAME]")]
    sockets: Vec<String>,

    /// The host of a server, with -p and -S
    #[arg(short = 'h', value_name = "HOST")]
    host: Option<String>,

    /// The port of a server, with -h and -S
    #[arg(short = 'p', value_name = "PORT", overrides_with = "port")]
    port: Option<u16>,

    /// The storage's name, for -h, -p and -U
    #[arg(short = 'S', value_name = "NAME", default_value = "1")]
    name: String,

    /// A server on a Unix socket, with -S
    #[arg(short = 'U', value_name = "PATH")]
    unix: Option<String>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// What is wrong with the arguments, in Python's words.
#[derive(Debug, PartialEq, Error)]
enum BadRequest {
    #[error("If host (-h) is specified then a port (-p) must be specified as well.")]
    HostWithoutPort,
    #[error("Invalid port in server specification: {}", repr(.0))]
    Port(String),
    #[error("Invalid server specification: {}", repr(.0))]
    Server(String),
    #[error("Invalid time value: {}", repr(.0))]
    Time(String),
    #[error("No servers specified.")]
    NoServers,
}

/// A storage to pack.
type Target = (Address, String);

/// Packs.
pub(crate) fn run(options: &PackOptions) -> ExitCode {
    // Who says nothing is told what can be said.
    if std::env::args_os().skip(1).all(|argument: OsString| argument == "pack") {
        let command = PackOptions::augment_args(Command::new("rzeo pack"));
        let _ = command.about("Pack storages of running servers, as zeopack does").print_help();
        return ExitCode::SUCCESS;
    }
    let request = pack_time(options, &Zoned::now())
        .and_then(|time| Ok((time, options.targets(own_host_name)?)));
    let (time, targets) = match request {
        Ok(request) => request,
        Err(error) => return fail(&error.to_string()),
    };
    let mut reached = false;
    for (address, name) in targets {
        let mut connection = match connect(&address, &name) {
            Ok(connection) => connection,
            Err(error) => {
                complain(&format!("Couldn't connect to: ({address}, {})\n{error}\n", repr(&name)));
                continue;
            }
        };
        reached = true;
        let args = vec![Value::Float(time), Value::Bool(true)];
        if let Err(error) = connection.call_patiently("pack", args) {
            complain(&format!("{error}\n"));
            return fail(&format!("Error packing storage {name} in {address}"));
        }
    }
    if reached {
        ExitCode::SUCCESS
    } else {
        fail("Cannot connect to any of the configured ZEO servers.")
    }
}

fn fail(text: &str) -> ExitCode {
    complain(&format!("Error:\n{text}\n"));
    ExitCode::FAILURE
}

/// If nobody reads it, the status has to do.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A server that is being started is waited for. One that answers "no" will do so in a minute too.
fn connect(address: &Address, name: &str) -> Result<Connection, CallError> {
    let mut tries = 1;
    loop {
        let connected =
            Connection::open(address, |_| true).and_then(|connection| connection.register(name));
        match connected {
            Err(CallError::Io(_)) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(RETRY);
            }
            result => return result,
        }
    }
}

impl PackOptions {
    /// In the order in which they are packed.
    fn targets(&self, own_name: fn() -> String) -> Result<Vec<Target>, BadRequest> {
        let mut targets = Vec::new();
        let named = |address| (address, self.name.clone());
        match (self.host.clone().filter(|host| !host.is_empty()), self.port.filter(|p| *p != 0)) {
            (Some(_), None) => return Err(BadRequest::HostWithoutPort),
            (host, Some(port)) => {
                let host = host.unwrap_or_else(own_name);
                targets.push(named(Address::Tcp { host, port }));
            }
            (None, None) => {}
        }
        if let Some(path) = self.unix.as_ref().filter(|path| !path.is_empty()) {
            targets.push(named(Address::Unix(path.into())));
        }
        for server in &self.servers {
            targets.push(tcp_target(server)?);
        }
        for server in &self.sockets {
            let parts: Vec<&str> = server.split(':').collect();
            let (path, name) = match parts[..] {
                [path] => (path, "1"),
                [path, name] => (path, name),
                _ => return Err(BadRequest::Server(server.clone())),
            };
            targets.push((Address::Unix(path.into()), name.to_owned()));
        }
        if targets.is_empty() { Err(BadRequest::NoServers) } else { Ok(targets) }
    }
}

fn tcp_target(server: &str) -> Result<Target, BadRequest> {
    let parts: Vec<&str> = server.split(':').collect();
    let (host, port, name) = match parts[..] {
        [host, port] => (host, port, "1"),
        [host, port, name] => (host, port, name),
        _ => return Err(BadRequest::Server(server.to_owned())),
    };
    let port = port.trim().parse().map_err(|_| BadRequest::Port(server.to_owned()))?;
    Ok((Address::Tcp { host: host.to_owned(), port }, name.to_owned()))
}

/// This machine's name, as the system knows it.
fn own_host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// In seconds since 1970: now, or that time of today, less the days. Times beyond a day's end are on
/// the next one, as for C's `mktime`.
fn pack_time(options: &PackOptions, now: &Zoned) -> Result<f64, BadRequest> {
    let base = match &options.time {
        None => now.clone(),
        Some(text) => {
            let bad = || BadRequest::Time(text.clone());
            let parts: Vec<i64> = text
                .split(':')
                .map(|part| part.trim().parse().map_err(|_| bad()))
                .collect::<Result<_, _>>()?;
            let (hours, minutes, seconds) = match parts[..] {
                [hours] => (hours, 0, 0),
                [hours, minutes] => (hours, minutes, 0),
                [hours, minutes, seconds] => (hours, minutes, seconds),
                _ => return Err(bad()),
            };
            let span = Span::new()
                .try_hours(hours)
                .and_then(|span| span.try_minutes(minutes))
                .and_then(|span| span.try_seconds(seconds));
            let midnight = now.date().to_datetime(Time::midnight());
            let then = span.and_then(|span| midnight.checked_add(span));
            then.and_then(|then| then.to_zoned(now.time_zone().clone())).map_err(|_| bad())?
        }
    };
    let seconds = base.timestamp().as_duration().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "days")]
    Ok(seconds - options.days as f64 * 86_400.0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Only {
        #[command(flatten)]
        options: PackOptions,
    }

    fn parse(arguments: &[&str]) -> PackOptions {
        Only::try_parse_from(["pack"].iter().chain(arguments)).unwrap().options
    }

    fn targets(arguments: &[&str]) -> Result<Vec<String>, BadRequest> {
        let targets = parse(arguments).targets(|| "here".to_owned())?;
        Ok(targets.iter().map(|(address, name)| format!("{address} {name}")).collect())
    }

    #[test]
    fn servers_come_in_zeopacks_order() {
        let all = ["a:1", "-u", "s:n", "-h", "h", "-p", "2", "-S", "x", "b:3:y", "-U", "t", "-us"];
        let expected = ["('h', 2) x", "'t' x", "('a', 1) 1", "('b', 3) y", "'s' n", "'s' 1"]
            .map(str::to_owned);
        assert_eq!(targets(&all), Ok(expected.to_vec()));
        assert_eq!(targets(&["-p5"]), Ok(vec!["('here', 5) 1".to_owned()]));
    }

    #[test]
    fn mistakes_are_told_in_pythons_words() {
        let cases: [(&[&str], &str); 6] = [
            (&["-S", "1"], "No servers specified."),
            (&["-h", "x"], "If host (-h) is specified then a port (-p) must be specified as well."),
            (&["x"], "Invalid server specification: 'x'"),
            (&["x:1:y:z"], "Invalid server specification: 'x:1:y:z'"),
            (&["x:y"], "Invalid port in server specification: 'x:y'"),
            (&["-u", "a:b:c"], "Invalid server specification: 'a:b:c'"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(targets(arguments).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_time_is_todays_in_local_time_less_the_days() {
        let now: Zoned = "2026-11-24T20:15:30.5+01:00[Europe/Berlin]".parse().unwrap();
        let at = |text: &str| {
            let time: Zoned = format!("{text}+01:00[Europe/Berlin]").parse().unwrap();
            time.timestamp().as_duration().as_secs_f64()
        };
        let time = |arguments: &[&str]| pack_time(&parse(arguments), &now);
        assert_eq!(time(&[]), Ok(at("2026-11-24T20:15:30.5")));
        assert_eq!(time(&["-t3"]), Ok(at("2026-11-24T03:00:00")));
        assert_eq!(time(&["-t3:30", "-d1"]), Ok(at("2026-11-23T03:30:00")));
        assert_eq!(time(&["-t25:61:61"]), Ok(at("2026-11-25T02:02:01")));
        assert_eq!(time(&["-t1:2:3:4"]), Err(BadRequest::Time("1:2:3:4".to_owned())));
        assert_eq!(time(&["-tx"]), Err(BadRequest::Time("x".to_owned())));
    }
}
