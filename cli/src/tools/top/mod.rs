//! `rzeo top`: what a running server does now, for somebody who watches.
//!
//! ```text
//!   asker ── answers, failures ──┐
//!   keys ────────────────────────┼─► Event ─► Board ─► lines ─► Terminal
//!   signals ─────────────────────┘
//! ```
//!
//! The asker has a thread of its own, as a server may take its time; each time it makes a new
//! connection and asks for the figures of all storages, which needs no storage's name and is no client in
//! those figures. So a server that stops is a failure among others, and one that comes back an answer.

mod board;
mod screen;
mod terminal;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use self::board::Board;
use self::screen::{Scene, fitted, lines};
use self::terminal::Terminal;
use super::nagios::parse;
use super::wire::{CallError, Connection};

/// A snapshot has no curves, as it knows one interval only.
const SNAPSHOT_WIDTH: usize = 0;

/// Times are told in seconds, so they are shown anew every second.
const TICK: Duration = Duration::from_secs(1);

/// Watch a running server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TopOptions {
    /// HOST:PORT, [IPV6]:PORT, or the path of a Unix socket
    #[arg(default_value = "127.0.0.1:8100")]
    address: String,

    /// How often to ask
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// Print what happens in one interval, and leave; so it is too if there is no terminal
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} is not between 0.1 and 3600 seconds"))
    }
}

/// What happens while somebody watches.
enum Event {
    /// The server has answered.
    Heard(Map<String, Value>),
    /// It has not.
    Missed(String),
    /// Somebody wants to see it anew.
    Look,
    /// Somebody has seen enough.
    Leave,
}

/// Watches until somebody leaves, or takes a snapshot. Of that, 1 if an answer cannot be understood, 2 if
/// there is none.
pub(crate) fn run(options: &TopOptions) -> ExitCode {
    if options.once || !Terminal::is_there() {
        return snapshot(options);
    }
    match watch(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Error: cannot use the terminal: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(address: &str) -> Result<Map<String, Value>, CallError> {
    let (address, wanted) = parse(address);
    let json = Connection::open(&address, wanted)?.ruok()?;
    let unreadable = |error: serde_json::Error| CallError::Refused(error.to_string());
    serde_json::from_slice(&json).map_err(unreadable)
}

fn snapshot(options: &TopOptions) -> ExitCode {
    let start = Instant::now();
    let mut board = Board::new();
    for round in 0..2 {
        if round > 0 {
            thread::sleep(options.interval);
        }
        match ask(&options.address) {
            Ok(statuses) => board.hear(start.elapsed(), &statuses),
            Err(error) => {
                let status = if matches!(error, CallError::Io(_)) { 2 } else { 1 };
                let (address, _) = parse(&options.address);
                let _ = writeln!(io::stderr(), "Error: cannot ask {address}: {error}");
                return ExitCode::from(status);
            }
        }
    }
    let scene = scene(options, start, String::new());
    let lines = lines(&board, &scene, SNAPSHOT_WIDTH);
    let text: String = lines.into_iter().map(|line| line.text + "\n").collect();
    // If nobody reads it, the status has to do.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn watch(options: &TopOptions) -> io::Result<()> {
    let start = Instant::now();
    let hint = format!("every {} s, q leaves", options.interval.as_secs_f64());
    let (events, arriving) = mpsc::channel();
    let terminal = Terminal::enter(&events)?;
    ask_forever(options.clone(), events)?;
    let mut board = Board::new();
    loop {
        let (height, width) = terminal.size();
        let scene = scene(options, start, hint.clone());
        terminal.show(&fitted(lines(&board, &scene, width), width, height))?;
        match arriving.recv_timeout(TICK) {
            Ok(Event::Heard(statuses)) => board.hear(start.elapsed(), &statuses),
            Ok(Event::Missed(why)) => board.miss(start.elapsed(), why),
            Ok(Event::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Asks at every interval, on another thread, until nobody listens.
fn ask_forever(options: TopOptions, events: Sender<Event>) -> io::Result<()> {
    let asker = thread::Builder::new().name("asker".to_owned());
    asker.spawn(move || {
        loop {
            let event = match ask(&options.address) {
                Ok(statuses) => Event::Heard(statuses),
                Err(error) => Event::Missed(error.to_string()),
            };
            if events.send(event).is_err() {
                return;
            }
            thread::sleep(options.interval);
        }
    })?;
    Ok(())
}

fn scene(options: &TopOptions, start: Instant, hint: String) -> Scene {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Scene {
        address: options.address.clone(),
        hint,
        now: start.elapsed(),
        wall: wall.as_secs_f64(),
        zone: TimeZone::system(),
    }
}
