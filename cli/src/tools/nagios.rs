//! `rzeo nagios`, as Python's `zeo-nagios`: checks a server for Nagios.
//!
//! Arguments, output and exit status are those of the original, because monitoring is built on them:
//! 0 is OK, 1 is a warning, 2 means that there is no server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use rzeo_net::Address;
use serde_json::Value;

use super::ToolError;
use super::server_query::{QueryError, Server};
use super::tls_options::TlsOptions;
use crate::{exit, values};
use rzeo_zconfig::python::repr;

/// Figures that are printed as they are.
const NOW: [&str; 3] = ["active_txns", "connections", "waiting"];
/// Figures that are printed as rates.
const RATES: [&str; 6] =
    ["aborts", "commits", "conflicts", "conflicts_resolved", "loads", "stores"];

const NO_TRANSACTION: &str = "0000000000000000";

/// Misspelt as in Python's `zeo-nagios`, whose files have this key.
const SAMPLE_TIME: &str = "sameple-time";

/// Check a server for Nagios, like zeo-nagios
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NagiosOptions {
    /// The server: HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or a path
    #[arg(value_name = "ADDRESS", value_parser = values::address)]
    addresses: Vec<Address>,

    /// Print figures too
    #[arg(short = 'm', long)]
    output_metrics: bool,

    /// Keep figures in this file until the next run, to print rates
    #[arg(short, long, value_name = "FILE")]
    status_path: Option<PathBuf>,

    /// Unit of time of the rates
    #[arg(short = 'u', long, value_name = "UNIT", default_value = "minutes")]
    time_units: Unit,

    /// Maximum time to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = values::duration)]
    timeout: Duration,

    #[command(flatten)]
    tls: TlsOptions,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    const fn seconds(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Minutes => 60.0,
            Self::Hours => 3_600.0,
            Self::Days => 86_400.0,
        }
    }
}

/// The figures of each storage.
type Statuses = BTreeMap<String, BTreeMap<String, Value>>;

pub(crate) fn run(options: &NagiosOptions) -> Result<ExitCode, ToolError> {
    let [address] = &options.addresses[..] else {
        // Status 1 as of Python's program, although it is 2 for usage errors elsewhere.
        exit::error(&format!("one address is required, {} were given", options.addresses.len()));
        return Ok(ExitCode::FAILURE);
    };
    let tls = options.tls.configure()?;
    let server = Server { address: address.clone(), tls, tls_option: "--tls" };
    let (status, text) = match ask(&server, options.timeout) {
        Ok(statuses) => check(options, statuses),
        Err(QueryError::Io(error)) => (2, format!("Can't connect {}\n", in_python(&error))),
        Err(error) if error.status() == 2 => (2, format!("Can't connect {error}\n")),
        Err(error) => {
            exit::error(&error.to_string());
            (1, String::new())
        }
    };
    // If standard output is closed, the exit status still reports the result.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(status))
}

fn ask(server: &Server, time_max: Duration) -> Result<Statuses, QueryError> {
    Ok(serde_json::from_slice(&server.ask(time_max)?)?)
}

/// As Python prints an error of the system: `[Errno 111] Connection refused`.
fn in_python(error: &io::Error) -> String {
    if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
        return "timed out".to_owned();
    }
    let text = error.to_string();
    if let Some(number) = error.raw_os_error() {
        let text = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
        return format!("[Errno {number}] {text}");
    }
    // The standard library does not pass on the number of a failed look-up; these two are usual.
    match text.strip_prefix("failed to lookup address information: ") {
        Some(text) if text.starts_with("Temporary") => format!("[Errno -3] {text}"),
        Some(text) => format!("[Errno -2] {text}"),
        None => text,
    }
}

/// Exit status and output.
fn check(options: &NagiosOptions, statuses: Statuses) -> (u8, String) {
    if statuses.is_empty() {
        return (1, "No storages\n".to_owned());
    }
    let mut metrics = Vec::new();
    if options.output_metrics {
        for (name, status) in &statuses {
            for figure in NOW {
                let value = status.get(figure).map_or_else(|| "0".to_owned(), Value::to_string);
                metrics.push(metric(name, figure, &value));
            }
        }
        if let Some(path) = &options.status_path
            && let Err(error) = rates(path, options.time_units, statuses.clone(), &mut metrics)
        {
            exit::error(&format!("cannot use {}: {error}", path.display()));
            return (1, String::new());
        }
    }
    let empty = statuses.iter().filter(|(_, status)| {
        status.get("last-transaction").and_then(Value::as_str) == Some(NO_TRANSACTION)
    });
    let mut messages: Vec<String> =
        empty.map(|(name, _)| format!("Empty storage {}", repr(name))).collect();
    let status = u8::from(!messages.is_empty());
    if messages.is_empty() {
        messages.push("OK".to_owned());
    }
    (status, write(messages, &metrics))
}

/// The first figure follows the first message, the others follow the last.
fn write(mut messages: Vec<String>, metrics: &[String]) -> String {
    if let Some((first, others)) = metrics.split_first() {
        messages[0] += &format!("|{first}");
        if !others.is_empty() {
            messages.push(format!("| {}", others.join("\n ")));
        }
    }
    messages.join("\n") + "\n"
}

fn metric(storage: &str, name: &str, value: &str) -> String {
    match storage {
        "1" => format!("{name}={value}"),
        _ if storage.contains(' ') => format!("'{storage}:{name}'={value}"),
        _ => format!("{storage}:{name}={value}"),
    }
}

/// Adds the rates since the file was written, and writes it again.
fn rates(
    path: &Path,
    unit: Unit,
    mut statuses: Statuses,
    metrics: &mut Vec<String>,
) -> Result<(), std::io::Error> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = seconds(SystemTime::now()).as_secs_f64();
    if let Ok(before) = fs::metadata(path) {
        let passed = now - seconds(before.modified()?).as_secs_f64();
        if passed > 0.0 {
            let old: Statuses = serde_json::from_slice(&fs::read(path)?)?;
            let passed = passed / unit.seconds();
            for (name, status) in &mut statuses {
                if let Some(old) = old.get(name) {
                    metrics.extend(RATES.iter().map(|figure| {
                        let value = |status: &BTreeMap<String, Value>| {
                            status.get(*figure).and_then(Value::as_f64).unwrap_or(0.0)
                        };
                        metric(name, figure, &python_float((value(status) - value(old)) / passed))
                    }));
                }
                status.insert(SAMPLE_TIME.to_owned(), now.into());
            }
        }
    }
    fs::write(path, serde_json::to_string(&statuses)?)
}

/// `repr()` of a float.
fn python_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if number != 0.0 && !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{number:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(output_metrics: bool, status_path: Option<PathBuf>) -> NagiosOptions {
        NagiosOptions {
            addresses: vec![],
            output_metrics,
            status_path,
            time_units: Unit::Minutes,
            timeout: Duration::from_secs(1),
            tls: TlsOptions::default(),
        }
    }

    fn statuses(names: &[&str], last: &str) -> Statuses {
        let status = serde_json::json!({
            "active_txns": 1, "connections": 2, "waiting": 0, "aborts": 0, "commits": 60,
            "conflicts": 0, "conflicts_resolved": 0, "loads": 9, "stores": 3,
            "last-transaction": last,
        });
        let status: BTreeMap<String, Value> = serde_json::from_value(status).unwrap();
        names.iter().map(|name| ((*name).to_owned(), status.clone())).collect()
    }

    #[test]
    fn the_words_are_those_of_zeo_nagios() {
        let full = |names| statuses(names, "03f0000000000000");
        let empty = |names| statuses(names, NO_TRANSACTION);
        assert_eq!(check(&options(false, None), full(&["1"])), (0, "OK\n".to_owned()));
        assert_eq!(check(&options(false, None), full(&[])), (1, "No storages\n".to_owned()));
        let expected = "Empty storage '1'\nEmpty storage 'x'\n";
        assert_eq!(check(&options(false, None), empty(&["x", "1"])), (1, expected.to_owned()));
        let expected = "OK|active_txns=1\n| connections=2\n waiting=0\n 'a b:active_txns'=1\n \
                        'a b:connections'=2\n 'a b:waiting'=0\n";
        assert_eq!(check(&options(true, None), full(&["a b", "1"])), (0, expected.to_owned()));
    }

    #[test]
    fn rates_need_an_earlier_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        let with_file = options(true, Some(path.clone()));
        let (_, first) = check(&with_file, statuses(&["1"], "03f0"));
        assert!(!first.contains("commits"), "{first}");
        let hour_ago = SystemTime::now() - std::time::Duration::from_secs(3_600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        let mut later = statuses(&["1"], "03f0");
        later.get_mut("1").unwrap().insert("commits".to_owned(), 660.into());
        let (_, second) = check(&with_file, later);
        let rate = second.lines().find_map(|line| line.trim().strip_prefix("commits=")).unwrap();
        let rate: f64 = rate.parse().unwrap();
        assert!((9.9..=10.0).contains(&rate), "{second}");
        assert!(fs::read_to_string(&path).unwrap().contains(SAMPLE_TIME));
    }

    #[test]
    fn floats_are_pythons() {
        let cases = [
            (0.0, "0.0"),
            (12.5, "12.5"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
        ];
        for (number, expected) in cases {
            assert_eq!(python_float(number), expected);
        }
    }
}
