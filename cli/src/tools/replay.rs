//! `rzeo replay`: sends the messages of recorded clients to a server, and compares its replies.
//!
//! The recording is read twice, line by line: once to find the ids that its server assigned and the order in which
//! to play it ([`rzeo_script::replay::Schedule`]), once to play it. [`rzeo_script::replay`] decides what is sent and
//! what is a difference; this module has the sockets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rzeo_net::Address;
use rzeo_script::Line;
use rzeo_script::replay::{After, AssignedIds, Command, Input, Replay, Schedule};
use rzeo_tls::client::ClientTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::ToolError;
use super::tls_options::TlsOptions;
use crate::sockets::{self, Stream};
use crate::{exit, values};

/// Maximum number of bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// Maximum number of received pieces in the queue.
const QUEUED_PIECES_MAX: usize = 64;

/// Replay a recording against a server and compare the replies
///
/// The server must have the database that the recorded server had at the start of the recording. The command
/// stops at the first difference and shows it; the exit status is then 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Recording to replay, written by `rzeo record`
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

    /// Wait as long as the recorded clients did between messages
    #[arg(long)]
    pauses: bool,

    #[command(flatten)]
    tls: TlsOptions,
}

/// Replays a recording. Status 0: no differences; 1: differences; 2: it cannot be replayed.
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

/// Replays a recording; returns the number of differences.
fn play(options: &Options) -> Result<usize, ToolError> {
    let tls = options.tls.configure()?;
    let mut recording = Recording::open(&options.file)?;
    let (mut assigned, mut schedule) = (AssignedIds::default(), Schedule::default());
    while let Some(line) = recording.next()? {
        assigned.handle_line(&line);
        schedule.handle_line(&line);
    }
    let after = if options.all { After::Continue } else { After::Stop };
    let (events, arriving) = channel(QUEUED_PIECES_MAX);
    let player = Player {
        options,
        tls,
        replay: Replay::new(assigned, after),
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
        let noun = if differences == 1 { "difference" } else { "differences" };
        println!("{} lines: {differences} {noun}", order.len());
    }
    Ok(differences)
}

/// A file with the lines of a recording.
struct Recording {
    shown: String,
    reader: BufReader<File>,
    /// Offset of each line that was read so far.
    offsets: Vec<u64>,
    /// Offset of the reader.
    at: u64,
}

impl Recording {
    fn open(path: &Path) -> Result<Self, ToolError> {
        let shown = path.display().to_string();
        let file =
            File::open(path).map_err(|error| ToolError::Refused(format!("{shown}: {error}")))?;
        Ok(Self { shown, reader: BufReader::new(file), offsets: Vec::new(), at: 0 })
    }

    /// Reads the next line. An unfinished last line, which a killed recorder leaves, is reported and skipped.
    fn next(&mut self) -> Result<Option<Line>, ToolError> {
        let number = self.offsets.len() + 1;
        let mut text = String::new();
        let length =
            self.reader.read_line(&mut text).map_err(|error| self.refuse(number, error))?;
        if length == 0 {
            return Ok(None);
        }
        if !text.ends_with('\n') {
            self.at += length as u64;
            eprintln!("{}: line {number} is unfinished and is skipped", self.shown);
            return Ok(None);
        }
        self.offsets.push(self.at);
        self.at += length as u64;
        Line::read(&text).map(Some).map_err(|problem| self.refuse(number, problem))
    }

    /// Reads a line again, by its index from 0.
    fn line(&mut self, index: usize) -> Result<Line, ToolError> {
        let text = self.text(index).map_err(|error| self.refuse(index + 1, error))?;
        Line::read(&text).map_err(|problem| self.refuse(index + 1, problem))
    }

    fn text(&mut self, index: usize) -> io::Result<String> {
        let offset = self.offsets[index];
        // Mostly the next line or one nearby, so a relative seek keeps the buffer.
        let distance =
            i64::try_from(i128::from(offset) - i128::from(self.at)).map_err(io::Error::other)?;
        self.reader.seek_relative(distance)?;
        let mut text = String::new();
        let length = self.reader.read_line(&mut text)?;
        self.at = offset + length as u64;
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
    /// Plays the lines in this order; returns the number of differences.
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
            while let Some(command) = self.replay.poll_output() {
                self.perform(command).await?;
            }
            while self.replay.is_waiting() {
                match timeout(self.options.timeout, self.arriving.recv()).await {
                    Ok(Some((connection, bytes))) => self.receive(connection, bytes.as_ref()),
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

    fn receive(&mut self, connection: u32, bytes: Option<&Bytes>) {
        let input = bytes.map_or(Input::Closed, |bytes| Input::Bytes(bytes));
        self.replay.handle_input(connection, input);
    }

    async fn perform(&mut self, command: Command) -> Result<(), ToolError> {
        match command {
            Command::Open(connection) => {
                let address = &self.options.against;
                let connecting = sockets::connect(address, self.tls.as_ref());
                let stream = timeout(self.options.timeout, connecting).await;
                let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                let stream = stream.map_err(|error| {
                    ToolError::Refused(format!("cannot connect to {address}: {error}"))
                })?;
                let (reader, writer) = split(stream);
                self.writers.insert(connection, writer);
                tokio::spawn(read(connection, reader, self.events.clone()));
            }
            Command::Send(connection, bytes) => self.send(connection, &bytes).await,
            Command::Close(connection) => {
                if let Some(mut writer) = self.writers.remove(&connection) {
                    // This fails if the server has closed the connection first, which `receive` reports.
                    let _ = writer.shutdown().await;
                }
            }
            Command::Pause(time) if self.options.pauses => sleep(time).await,
            Command::Pause(_) => {}
        }
        Ok(())
    }

    /// Sends bytes, and receives meanwhile: a server whose replies are not read stops reading.
    async fn send(&mut self, connection: u32, bytes: &[u8]) {
        let Some(mut writer) = self.writers.remove(&connection) else { return };
        let sent = {
            let mut sending =
                std::pin::pin!(timeout(self.options.timeout, writer.write_all(bytes)));
            loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    Some((connection, bytes)) = self.arriving.recv() => {
                        self.receive(connection, bytes.as_ref());
                    }
                }
            }
        };
        // If the server closed the connection or does not read, its next message is missing: a difference.
        if matches!(sent, Ok(Ok(()))) {
            self.writers.insert(connection, writer);
        }
    }
}

/// Passes on the bytes that a connection receives, and its end.
async fn read(
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
