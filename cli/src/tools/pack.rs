//! `rzeo pack`, as Python's `zeopack`: packs storages of running servers.
//!
//! Arguments, order, messages and exit status are those of the original, because they stand in
//! operators' crontabs: first `-h` and `-p`, then `-U`, then the arguments, then `-u`; `-h` is not help.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use jiff::civil::Time;
use jiff::{Span, Zoned};
use rzeo_client::{Access, CallError, Client, ClientOptions};
use rzeo_core::UnixTime;
use rzeo_net::{Address, AddressError};
use rzeo_tls::client::ClientTls;
use thiserror::Error;
use tokio::time::timeout;

use super::ToolError;
use super::progress::Spinner;
use super::server_query::{ClientError, QueryError, Server, runtime};
use super::tls_options::TlsOptions;
use crate::process::host_name;
use crate::values;
use rzeo_zconfig::python::repr;

/// Pack storages of running servers, like zeopack
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PackOptions {
    /// Servers to pack: ADDRESS or ADDRESS:NAME
    ///
    /// ADDRESS is HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or a path with a slash; NAME is the name of
    /// the storage, 1 if there is none.
    #[arg(value_name = "ADDRESS[:NAME]")]
    servers: Vec<String>,

    /// Pack to the state of this many days ago
    #[arg(short, long, default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = values::whole_number::<i64>)]
    days: i64,

    /// Pack to this time of day: HH[:MM[:SS]] [default: now]
    // `--t` is an abbreviation that zeopack understands.
    #[arg(short, long, alias = "t", value_name = "HH[:MM[:SS]]")]
    time: Option<String>,

    /// Pack the server on this Unix socket: PATH[:NAME]; repeatable
    #[arg(short = 'u', long = "unix", value_name = "PATH[:NAME]")]
    sockets: Vec<String>,

    /// Pack the server on this host, with -p and -S
    #[arg(short = 'h', value_name = "HOST")]
    host: Option<String>,

    /// Port of the server of -h [default host: this machine's name]
    #[arg(short = 'p', value_name = "PORT", overrides_with = "port")]
    port: Option<u16>,

    /// Name of the storage to pack at the server of -h, -p or -U [default: 1]
    ///
    /// Without -h, -p and -U, it is the storage of every ADDRESS and PATH without a NAME.
    #[arg(short = 'S', value_name = "NAME")]
    name: Option<String>,

    /// Pack the server on this Unix socket, with -S
    #[arg(short = 'U', value_name = "PATH")]
    unix: Option<String>,

    /// Maximum time to wait until a server can be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = values::duration)]
    connect_timeout: Duration,

    /// Maximum time for the pack of one storage, in seconds
    ///
    /// The server goes on packing when it is over. [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = values::duration)]
    pack_timeout: Option<Duration>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    tls: TlsOptions,
}

/// What is wrong with the arguments, in the words of zeopack if it refuses them as well.
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
    #[error(
        "-S names the storage {option:?}, but {server} names {named:?}; leave one of the two names out"
    )]
    TwoNames { option: String, server: String, named: String },
}

/// The storage that is packed if none is named.
const UNNAMED: &str = "1";

/// A storage to pack.
type Target = (Address, String);

/// Why a storage was not packed.
#[derive(Debug, Error)]
enum PackError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the pack has not ended within {} seconds; the server goes on with it", .0.as_secs_f64())]
    TimedOut(Duration),
}

pub(crate) fn run(options: &PackOptions) -> Result<ExitCode, ToolError> {
    let request =
        pack_time(options, &Zoned::now()).and_then(|time| Ok((time, options.targets(host_name)?)));
    let (time, targets) = match request {
        Ok(request) => request,
        Err(error) => return Ok(fail(&error.to_string())),
    };
    let tls = options.tls.configure()?;
    Ok(runtime()?.block_on(pack_all(options, UnixTime(time), targets, tls)))
}

/// Packs one storage after the other; a server that cannot be reached is skipped.
async fn pack_all(
    options: &PackOptions,
    time: UnixTime,
    targets: Vec<Target>,
    tls: Option<ClientTls>,
) -> ExitCode {
    let mut reached = false;
    for (address, name) in targets {
        let server = Server { address, tls: tls.clone(), tls_option: "--tls" };
        let address = in_python(&server.address);
        let client = match connect(&server, &name, options.connect_timeout).await {
            Ok(client) => client,
            Err(error) => {
                complain(&format!("Couldn't connect to: ({address}, {})\n{error}\n", repr(&name)));
                continue;
            }
        };
        reached = true;
        let spinner = Spinner::new(format!("packing storage {name} of {}", server.address));
        let packed = pack(&client, time, options.pack_timeout).await;
        client.close().await;
        drop(spinner);
        if let Err(error) = packed {
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

async fn pack(
    client: &Client,
    time: UnixTime,
    time_max: Option<Duration>,
) -> Result<(), PackError> {
    let pack = client.pack(time, true);
    match time_max {
        None => Ok(pack.await?),
        Some(time_max) => match timeout(time_max, pack).await {
            Ok(packed) => Ok(packed?),
            Err(_) => Err(PackError::TimedOut(time_max)),
        },
    }
}

fn fail(text: &str) -> ExitCode {
    complain(&format!("Error:\n{text}\n"));
    ExitCode::FAILURE
}

/// If the stream is closed, the exit status still reports the result.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

async fn connect(server: &Server, name: &str, time_max: Duration) -> Result<Client, ClientError> {
    let spinner = Spinner::new(format!("waiting for {}", server.address));
    let on_failure = |error: &QueryError| {
        spinner.set(format!("waiting for {}: {error}", server.address));
    };
    let options = ClientOptions {
        storage: name.to_owned(),
        access: Access::ReadOnly,
        ..ClientOptions::default()
    };
    server.connect(options, time_max, on_failure).await
}

/// As Python prints an address.
fn in_python(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("({}, {port})", repr(host.as_deref().unwrap_or(""))),
        Address::Unix(path) => repr(&path.display().to_string()),
    }
}

impl PackOptions {
    /// In the order in which they are packed.
    fn targets(&self, own_name: fn() -> String) -> Result<Vec<Target>, BadRequest> {
        let mut targets = Vec::new();
        let named = |address| (address, self.name.clone().unwrap_or_else(|| UNNAMED.to_owned()));
        match (self.host.clone().filter(|host| !host.is_empty()), self.port.filter(|p| *p != 0)) {
            (Some(_), None) => return Err(BadRequest::HostWithoutPort),
            (host, Some(port)) => {
                let host = host.unwrap_or_else(own_name);
                targets.push(named(Address::tcp(host, port)));
            }
            (None, None) => {}
        }
        if let Some(path) = self.unix.as_ref().filter(|path| !path.is_empty()) {
            targets.push(named(Address::Unix(path.into())));
        }
        // As for zeopack, -S belongs to -h, -p and -U. Where there are none, zeopack ignores it and
        // packs another storage than the one that is named.
        let name = self.name.as_deref().filter(|_| targets.is_empty());
        for server in &self.servers {
            let (address, own_name) = server_target(server)?;
            targets.push((address, storage_name(server, own_name, name)?));
        }
        for server in &self.sockets {
            let parts: Vec<&str> = server.split(':').collect();
            let (path, own_name) = match parts[..] {
                [path] => (path, None),
                [path, name] => (path, Some(name)),
                _ => return Err(BadRequest::Server(server.clone())),
            };
            targets.push((Address::Unix(path.into()), storage_name(server, own_name, name)?));
        }
        if targets.is_empty() { Err(BadRequest::NoServers) } else { Ok(targets) }
    }
}

/// The storage to pack at a server with a name of its own and one of the option `-S`, if any.
fn storage_name(
    server: &str,
    own_name: Option<&str>,
    option: Option<&str>,
) -> Result<String, BadRequest> {
    match (own_name, option) {
        (Some(named), Some(option)) if named != option => Err(BadRequest::TwoNames {
            option: option.to_owned(),
            server: server.to_owned(),
            named: named.to_owned(),
        }),
        _ => Ok(own_name.or(option).unwrap_or(UNNAMED).to_owned()),
    }
}

/// `ADDRESS[:NAME]`. An error has the words of zeopack, which accepts only `HOST:PORT[:NAME]`.
fn server_target(text: &str) -> Result<(Address, Option<&str>), BadRequest> {
    let (address, name) = split_name(text).ok_or_else(|| BadRequest::Server(text.to_owned()))?;
    match values::address(address) {
        Ok(address) => Ok((address, name)),
        Err(AddressError::BadPort { .. }) => Err(BadRequest::Port(text.to_owned())),
        Err(_) => Err(BadRequest::Server(text.to_owned())),
    }
}

/// An address and the name of a storage behind it; `None` if there are too many colons.
fn split_name(text: &str) -> Option<(&str, Option<&str>)> {
    // The name follows this many colons.
    let colons = if let Some(end) = text.find("]:").filter(|_| text.starts_with('[')) {
        text[..end].matches(':').count() + 1
    } else if text.starts_with("unix:") || (!text.contains('/') && text.contains(':')) {
        1
    } else {
        0
    };
    let name_at = text.match_indices(':').nth(colons).map(|(at, _)| at);
    match name_at {
        None => Some((text, None)),
        Some(at) if !text[at + 1..].contains(':') => Some((&text[..at], Some(&text[at + 1..]))),
        Some(_) => None,
    }
}

/// The time to pack to, in seconds since 1970: now or that time of today, less the days. A time beyond the end
/// of the day is on the next one, as for C's `mktime`.
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
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
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
        let shown = |(address, name): &Target| format!("{} {name}", in_python(address));
        Ok(targets.iter().map(shown).collect())
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
    fn servers_have_any_address() {
        for (text, expected) in [
            ("db", "('db', 8100) 1"),
            ("8101", "('', 8101) 1"),
            ("[::1]:8101", "('::1', 8101) 1"),
            ("[::1]:8101:main", "('::1', 8101) main"),
            ("unix:zeo", "'zeo' 1"),
            ("unix:/run/zeo:main", "'/run/zeo' main"),
            ("./zeo:main", "'./zeo' main"),
        ] {
            assert_eq!(targets(&[text]), Ok(vec![expected.to_owned()]), "{text}");
        }
    }

    #[test]
    fn the_storage_that_is_named_is_packed() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["-S", "x", "a:1"], &["('a', 1) x"]),
            (&["-S", "x", "a:1:x", "-u", "s"], &["('a', 1) x", "'s' x"]),
            (&["-S", "x", "-p", "2", "a:1:y"], &["('here', 2) x", "('a', 1) y"]),
            (&["-S", "x", "-U", "t", "-u", "s"], &["'t' x", "'s' 1"]),
        ];
        for (arguments, expected) in cases {
            let expected = expected.iter().copied().map(str::to_owned).collect();
            assert_eq!(targets(arguments), Ok(expected), "{arguments:?}");
        }
        for server in [["-u", "s:y"].as_slice(), &["s:1:y"]] {
            let arguments = [&["-S", "x"], server].concat();
            let expected = format!(
                "-S names the storage \"x\", but {} names \"y\"; leave one of the two names out",
                server.last().unwrap()
            );
            assert_eq!(targets(&arguments).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn errors_have_the_text_of_pythons_zeopack() {
        let cases: [(&[&str], &str); 5] = [
            (&["-S", "1"], "No servers specified."),
            (&["-h", "x"], "If host (-h) is specified then a port (-p) must be specified as well."),
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
