//! `rzeo record`: a proxy that records the traffic between clients and a server.
//!
//! ```text
//!   client ◄──► pump, pump ◄──► server          one task and runtime
//!                  │ received bytes, before they are passed on
//!                  ▼
//!               writer ──► FILE                 a thread
//! ```
//!
//! Bytes enter the queue before they are passed on, so their consequences come later in
//! the file. The pumps do not decode anything; the writer decodes and writes. If
//! it is slower than the peers for long, the queue fills, and the peers wait.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rzeo_net::{Address, ListenError};
use rzeo_script::{Observation, Side, Transcript};
use rzeo_tls::client::ClientTls;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::tls_options::TlsOptions;
use super::{ToolError, server_query};
use crate::sockets::{self, Listener, Stream};
use crate::values;

/// Maximum number of bytes that are read and passed on at once.
const PIECE: usize = 64 * 1024;

/// Maximum number of events in the queue of the writer; this times [`PIECE`], and a frame, bounds memory.
const QUEUED_EVENTS_MAX: usize = 1024;

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Record the traffic between clients and a server
///
/// Clients connect to the address of --listen instead of to the server. Ctrl-C or SIGTERM ends the recording
/// and all connections. `rzeo replay` replays FILE.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Listen for clients: HOST:PORT, PORT, [IPV6]:PORT, unix:PATH or a path
    ///
    /// Without a host the address is reachable from this machine only; port 0 is any free port.
    #[arg(long, value_name = "ADDRESS", value_parser = values::loopback_address)]
    listen: Address,

    /// Connect to this server: HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    to: Address,

    /// Write the recording to this file, which must not exist yet
    file: PathBuf,

    /// Connections to the server; clients connect without TLS.
    #[command(flatten)]
    tls: TlsOptions,
}

/// An event of a connection.
struct Event {
    /// Time since the start of the recording.
    at: Duration,
    connection: u32,
    kind: EventKind,
}

enum EventKind {
    Opened,
    Bytes(Side, Bytes),
    Closed(Side),
}

/// Records until a signal ends it.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    let tls = options.tls.configure()?;
    let signal = signal()?;
    let runtime = server_query::runtime()?;
    let refused = |error: ListenError| ToolError::Refused(error.to_string());
    let (bound, _socket_file) = sockets::bind(&options.listen).map_err(refused)?;
    let file = create(&options.file)?;
    let sockets = bound.listen().map_err(refused)?;
    let (events, arriving) = channel(QUEUED_EVENTS_MAX);
    let path = options.file.clone();
    let writer = thread::Builder::new().name("writer".to_owned());
    let writer = writer.spawn(move || write_events(arriving, file, &path))?;
    let passed = runtime.block_on(accept(sockets, options.to.clone(), tls, events, signal));
    // This drops the tasks that may still hold a sender, so the writer ends.
    drop(runtime);
    let written = writer.join().map_err(|_| {
        ToolError::Refused("the thread that writes the recording has panicked".to_owned())
    })?;
    passed.and(written).map(|()| true)
}

fn create(path: &Path) -> Result<File, ToolError> {
    File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ToolError::Refused(format!(
            "{} already exists; remove it or name another file",
            path.display()
        )),
        _ => named(path, &error),
    })
}

fn named(path: &Path, error: &io::Error) -> ToolError {
    ToolError::Refused(format!("{}: {error}", path.display()))
}

/// Becomes ready at the first signal that ends the recording.
fn signal() -> io::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            // The receiver is gone if the recording has ended already.
            let _ = sender.send(());
        }
    })?;
    Ok(receiver)
}

/// Writes events as lines, until all senders are dropped.
fn write_events(mut arriving: Receiver<Event>, file: File, path: &Path) -> Result<(), ToolError> {
    let mut out = BufWriter::new(file);
    let mut transcript = Transcript::default();
    while let Some(event) = arriving.blocking_recv() {
        let observation = match &event.kind {
            EventKind::Opened => Observation::Opened,
            EventKind::Bytes(side, bytes) => Observation::Bytes(*side, bytes),
            EventKind::Closed(side) => Observation::Closed(*side),
        };
        transcript.handle_input(event.at, event.connection, observation);
        write_lines(&mut transcript, &mut out).map_err(|error| named(path, &error))?;
        if arriving.is_empty() {
            // A killed process leaves everything recorded so far.
            out.flush().map_err(|error| named(path, &error))?;
        }
    }
    transcript.finish();
    write_lines(&mut transcript, &mut out).map_err(|error| named(path, &error))?;
    out.flush().map_err(|error| named(path, &error))
}

fn write_lines(transcript: &mut Transcript, out: &mut impl io::Write) -> io::Result<()> {
    while let Some(line) = transcript.poll_output() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Accepts connections until the signal, or until the writer has failed.
async fn accept(
    sockets: Vec<rzeo_net::Listener>,
    to: Address,
    tls: Option<ClientTls>,
    events: Sender<Event>,
    mut signal: oneshot::Receiver<()>,
) -> Result<(), ToolError> {
    let start = Instant::now();
    if let Some(socket) = sockets.first() {
        println!("recording at {}", socket.address()?);
    }
    let listener = Listener::new(sockets)?;
    io::stdout().flush()?;
    let mut connections = JoinSet::new();
    for number in 1.. {
        let client = tokio::select! {
            client = listener.accept() => client,
            _ = &mut signal => break,
            () = events.closed() => break,
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let observer = Observer { events: events.clone(), start, connection: number };
        connections.spawn(forward(client, to.clone(), tls.clone(), observer));
        // Release the tasks of ended connections.
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
    Ok(())
}

/// Sends the events of one connection to the writer.
#[derive(Clone)]
struct Observer {
    events: Sender<Event>,
    start: Instant,
    connection: u32,
}

impl Observer {
    /// Sends an event; `false` if the writer has ended.
    async fn send(&self, kind: EventKind) -> bool {
        // The time is taken with a place in the queue, so that times never decrease in it.
        let Ok(place) = self.events.reserve().await else { return false };
        place.send(Event { at: self.start.elapsed(), connection: self.connection, kind });
        true
    }
}

/// Passes on one connection until it ends.
async fn forward(
    client: Box<dyn Stream>,
    address: Address,
    tls: Option<ClientTls>,
    observer: Observer,
) {
    if !observer.send(EventKind::Opened).await {
        return;
    }
    let server = match sockets::connect(&address, tls.as_ref()).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("connection {}: {address}: {error}", observer.connection);
            observer.send(EventKind::Closed(Side::Server)).await;
            return;
        }
    };
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::join!(
        pump(from_client, to_server, Side::Client, &observer),
        pump(from_server, to_client, Side::Server, &observer),
    );
}

/// Passes on one direction of a connection until it ends.
async fn pump(
    mut from: ReadHalf<Box<dyn Stream>>,
    mut to: WriteHalf<Box<dyn Stream>>,
    side: Side,
    observer: &Observer,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        // A broken connection counts as ended.
        if !matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
        let bytes = buffer.split().freeze();
        if !observer.send(EventKind::Bytes(side, bytes.clone())).await
            || to.write_all(&bytes).await.is_err()
        {
            break;
        }
    }
    observer.send(EventKind::Closed(side)).await;
    // This fails if the other peer has already disconnected.
    let _ = to.shutdown().await;
}
