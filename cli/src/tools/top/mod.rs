//! `rzeo top`: the activity of a running server, in a terminal.
//!
//! ```text
//!   query ── answers, failures ──┐
//!   keys ────────────────────────┼─► Event ─► ServerHistory ─► lines ─► Terminal
//!   signals ─────────────────────┘
//! ```
//!
//! Queries run in a thread of their own, because a server may be slow. Each makes a new connection and asks for
//! the figures of all storages, which needs no name of a storage and does not count as a client. So a server that
//! stops is a failed query, and one that is back an answer.

mod event;
mod history;
mod screen;
mod terminal;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

use self::event::Event;
use self::history::ServerHistory;
use self::screen::{View, fitted, lines};
use self::terminal::Terminal;
use super::ToolError;
use super::server_query::{Server, ServerOptions};
use crate::exit;

/// A snapshot has no curves, as it knows one interval only.
const SNAPSHOT_WIDTH: usize = 0;

/// Times are shown in seconds, so the screen is redrawn every second.
const TICK: Duration = Duration::from_secs(1);

/// Watch the activity of a running server
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TopOptions {
    /// Time between two queries, from 0.1 to 3600 seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// Print what happens in one interval as text, then exit
    ///
    /// This is also done if standard input or output is not a terminal.
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    server: ServerOptions,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be from 0.1 to 3600 seconds".to_owned())
    }
}

/// Watches until the user quits, or takes a snapshot. The status of a snapshot is 1 if an answer cannot be
/// understood, 2 if there is none.
pub(crate) fn run(options: &TopOptions) -> Result<ExitCode, ToolError> {
    let server = options.server.server()?;
    if options.once || !Terminal::is_there() {
        return Ok(snapshot(options, &server));
    }
    match watch(options, server) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(ToolError::Refused(format!("cannot use the terminal: {error}"))),
    }
}

fn snapshot(options: &TopOptions, server: &Server) -> ExitCode {
    let start = Instant::now();
    let mut history = ServerHistory::new();
    for round in 0..2 {
        if round > 0 {
            thread::sleep(options.interval);
        }
        match server.statuses(options.server.timeout) {
            Ok(statuses) => history.record_answer(start.elapsed(), &statuses),
            Err(error) => {
                exit::error(&format!("cannot ask {}: {error}", server.address));
                return ExitCode::from(error.status());
            }
        }
    }
    let view = view(server, start, String::new());
    let lines = lines(&history, &view, SNAPSHOT_WIDTH);
    let text: String = lines.into_iter().map(|line| line.text + "\n").collect();
    // If standard output is closed, the exit status still reports the result.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn watch(options: &TopOptions, server: Server) -> io::Result<()> {
    let start = Instant::now();
    let hint = format!("every {} s, q quits", options.interval.as_secs_f64());
    let (events, arriving) = mpsc::channel();
    let terminal = Terminal::enter(&events)?;
    ask_forever(options.clone(), server.clone(), events)?;
    let mut history = ServerHistory::new();
    loop {
        let (height, width) = terminal.size();
        let view = view(&server, start, hint.clone());
        terminal.show(&fitted(lines(&history, &view, width), width, height))?;
        match arriving.recv_timeout(TICK) {
            Ok(Event::Answered(statuses)) => history.record_answer(start.elapsed(), &statuses),
            Ok(Event::Failed(why)) => history.record_failure(start.elapsed(), why),
            Ok(Event::Redraw) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Quit) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Queries at every interval, on another thread, until the receiver is gone.
fn ask_forever(options: TopOptions, server: Server, events: Sender<Event>) -> io::Result<()> {
    let asker = thread::Builder::new().name("query".to_owned());
    asker.spawn(move || {
        loop {
            let event = match server.statuses(options.server.timeout) {
                Ok(statuses) => Event::Answered(statuses),
                Err(error) => Event::Failed(error.to_string()),
            };
            if events.send(event).is_err() {
                return;
            }
            thread::sleep(options.interval);
        }
    })?;
    Ok(())
}

fn view(server: &Server, start: Instant, hint: String) -> View {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    View {
        address: server.address.to_string(),
        hint,
        now: start.elapsed(),
        wall: wall.as_secs_f64(),
        zone: TimeZone::system(),
    }
}
