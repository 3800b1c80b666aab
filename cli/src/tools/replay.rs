//! `rzeo replay`: says to a server what clients have said in a recording, and compares its answers.
//!
//! The recording is read twice, line by line: once to know what its server chose and in which order it is
//! to be played ([`rzeo_script::replay::Schedule`]), once to play it. What is said, and what is a difference, is
//! decided by [`rzeo_script::replay`]; here are the sockets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rzeo_net::Address;
use rzeo_script::Line;
use rzeo_script::replay::{After, AssignedIds, Input, Order, Replay, Schedule};
use rzeo_tls::client::ClientTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::ToolError;
use super::tls_options::TlsOptions;
use crate::sockets::{self, Stream};
use crate::{exit, values};

/// Bytes that are read at once, and pieces that may lie unread.
const PIECE: usize = 64 * 1024;
const UNREAD: usize = 64;

/// Replay a recording against a server and compare the replies
///
/// The server must have the database that the recorded server had at the beginning. The first difference
/// is shown, and makes the exit status 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The recording, written by rzeo record
    file: PathBuf,

    /// The server: HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or a path
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    against: Address,

    /// Maximum time to wait for each reply, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    timeout: Duration,

    /// Show all differences instead of only the first
    #[arg(long)]
    all: bool,

    /// Keep the pauses of the recording
    #[arg(long)]
    pauses: bool,

    #[command(flatten)]
    tls: TlsOptions,
}

/// Replays a recording: status 0 if all was the same, 1 if not, 2 if it could not be replayed.
pub(crate) fn run(options: &Options) -> Result<ExitCode, ToolError> {
    match play(options) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(usage @ ToolError::Usage(_)) => Err(usage),
        Err(error) => {
            exit::error(&error.to_string());
            Ok(ExitCode::from(exit::USAGE))
        }
    }
}

/// -> how many differences there were.
fn play(options: &Options) -> Result<usize, ToolError> {
    let tls = options.tls.configure()?;
    let mut recording = Recording::open(&options.file)?;
    let (mut chosen, mut schedule) = (AssignedIds::default(), Schedule::default());
    while let Some(line) = recording.next()? {
        chosen.handle_line(&line);
        schedule.handle_line(&line);
    }
    let after = if options.all { After::GoOn } else { After::Stop };
    let (events, arriving) = channel(UNREAD);
    let player = Player {
        options,
        tls,
        replay: Replay::new(chosen, after),
        writers: BTreeMap::new(),
        events,
        arriving,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let order = schedule.order();
    let differences = runtime.block_on(player.play(&mut recording, &order))?;
    if differences == 0 {
        println!("{} lines: the same", order.len());
    } else if options.all {
        println!("{} lines: {differences} differences", order.len());
    }
    Ok(differences)
}

/// A file with the lines of a recording.
struct Recording {
    shown: String,
    reader: BufReader<File>,
    /// Where each line begins that was read so far, and where the next one does.
    places: Vec<u64>,
    /// Where the reader is.
    at: u64,
}

impl Recording {
    fn open(path: &Path) -> Result<Self, ToolError> {
        let shown = path.display().to_string();
        let file =
            File::open(path).map_err(|error| ToolError::Refused(format!("{shown}: {error}")))?;
        Ok(Self { shown, reader: BufReader::new(file), places: Vec::new(), at: 0 })
    }

    /// Reads the lines one after the other. What a killed recorder has left in the end is told and left
    /// out.
    fn next(&mut self) -> Result<Option<Line>, ToolError> {
        let number = self.places.len() + 1;
        let mut text = String::new();
        let length =
            self.reader.read_line(&mut text).map_err(|error| self.refuse(number, error))?;
        if length == 0 {
            return Ok(None);
        }
        if !text.ends_with('\n') {
            self.at += length as u64;
            eprintln!("{}: line {number} is unfinished, and not played", self.shown);
            return Ok(None);
        }
        self.places.push(self.at);
        self.at += length as u64;
        Line::read(&text).map(Some).map_err(|problem| self.refuse(number, problem))
    }

    /// Reads a line again, by its place from 0.
    fn line(&mut self, index: usize) -> Result<Line, ToolError> {
        let text = self.text(index).map_err(|error| self.refuse(index + 1, error))?;
        Line::read(&text).map_err(|problem| self.refuse(index + 1, problem))
    }

    fn text(&mut self, index: usize) -> io::Result<String> {
        let place = self.places[index];
        // Almost always the next one, or near: what is buffered stays.
        let way =
            i64::try_from(i128::from(place) - i128::from(self.at)).map_err(io::Error::other)?;
        self.reader.seek_relative(way)?;
        let mut text = String::new();
        let length = self.reader.read_line(&mut text)?;
        self.at = place + length as u64;
        Ok(text)
    }

    fn refuse(&self, number: usize, problem: impl std::fmt::Display) -> ToolError {
        ToolError::Refused(format!("{}: line {number}: {problem}", self.shown))
    }
}

/// The sockets of a replay.
struct Player<'a> {
    options: &'a Options,
    tls: Option<ClientTls>,
    replay: Replay,
    writers: BTreeMap<u32, WriteHalf<Box<dyn Stream>>>,
    events: Sender<(u32, Option<Bytes>)>,
    arriving: Receiver<(u32, Option<Bytes>)>,
}

impl Player<'_> {
    /// -> how many differences there were.
    async fn play(
        mut self,
        recording: &mut Recording,
        order: &[usize],
    ) -> Result<usize, ToolError> {
        let mut differences = 0;
        for &index in order {
            let line = recording.line(index)?;
            let handled = self.replay.handle_line(index + 1, &line);
            handled.map_err(|error| recording.refuse(index + 1, error))?;
            while let Some(order) = self.replay.poll_output() {
                self.obey(order).await?;
            }
            while self.replay.is_waiting() {
                match timeout(self.options.timeout, self.arriving.recv()).await {
                    Ok(Some((connection, bytes))) => self.hear(connection, bytes.as_ref()),
                    Ok(None) | Err(_) => self.replay.handle_timeout(),
                }
            }
            while let Some(difference) = self.replay.take_difference() {
                println!("{difference}");
                differences += 1;
                if !self.options.all {
                    return Ok(differences);
                }
            }
        }
        Ok(differences)
    }

    fn hear(&mut self, connection: u32, bytes: Option<&Bytes>) {
        let input = bytes.map_or(Input::Closed, |bytes| Input::Bytes(bytes));
        self.replay.handle_input(connection, input);
    }

    async fn obey(&mut self, order: Order) -> Result<(), ToolError> {
        match order {
            Order::Open(connection) => {
                let address = &self.options.against;
                let connecting = sockets::connect(address, self.tls.as_ref());
                let stream = timeout(self.options.timeout, connecting).await;
                let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                let stream = stream.map_err(|error| {
                    ToolError::Refused(format!("cannot connect to {address}: {error}"))
                })?;
                let (reader, writer) = split(stream);
                self.writers.insert(connection, writer);
                tokio::spawn(listen(connection, reader, self.events.clone()));
            }
            Order::Send(connection, bytes) => self.send(connection, &bytes).await,
            Order::Close(connection) => {
                if let Some(mut writer) = self.writers.remove(&connection) {
                    // If the server was faster, that is seen elsewhere.
                    let _ = writer.shutdown().await;
                }
            }
            Order::Pause(time) if self.options.pauses => sleep(time).await,
            Order::Pause(_) => {}
        }
        Ok(())
    }

    /// Sends, and hears meanwhile: a server that wants to be heard does not listen.
    async fn send(&mut self, connection: u32, bytes: &[u8]) {
        let Some(mut writer) = self.writers.remove(&connection) else { return };
        let sent = {
            let mut sending =
                std::pin::pin!(timeout(self.options.timeout, writer.write_all(bytes)));
            loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    Some((connection, bytes)) = self.arriving.recv() => {
                        self.hear(connection, bytes.as_ref());
                    }
                }
            }
        };
        // A server that closes or does not read says nothing more, which is seen then.
        if matches!(sent, Ok(Ok(()))) {
            self.writers.insert(connection, writer);
        }
    }
}

/// Passes on what a server says on a connection, and its end.
async fn listen(
    connection: u32,
    mut reader: ReadHalf<Box<dyn Stream>>,
    events: Sender<(u32, Option<Bytes>)>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let bytes = match reader.read_buf(&mut buffer).await {
            Ok(1..) => Some(buffer.split().freeze()),
            Ok(0) | Err(_) => None,
        };
        let is_end = bytes.is_none();
        if events.send((connection, bytes)).await.is_err() || is_end {
            return;
        }
    }
}
