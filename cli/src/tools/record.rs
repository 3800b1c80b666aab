//! `rzeo record`: a proxy between clients and a server that writes down what they say.
//!
//! ```text
//!   client ◄──► pump, pump ◄──► server          one task and runtime
//!                  │ what was read, before it is passed on
//!                  ▼
//!               scribe ──► FILE                 a thread
//! ```
//!
//! What one peer says is in the queue before the other can hear it, so whatever follows from it comes later in
//! the file. Bytes are passed on as they come; understanding and writing them is for the scribe. If
//! that is slower than the peers for long, the queue fills, and then they wait.

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

/// Bytes that are read, and passed on, at once.
const PIECE: usize = 64 * 1024;

/// Pieces that the scribe may be behind: memory is bounded by their product, and a frame.
const BEHIND: usize = 1024;

/// After a connection that could not be accepted.
const PATIENCE: Duration = Duration::from_millis(100);

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

    /// The file to write; it must not exist
    file: PathBuf,

    /// Connections to the server; clients connect without TLS.
    #[command(flatten)]
    tls: TlsOptions,
}

/// Something that was seen on a connection.
struct Event {
    /// Since the beginning.
    at: Duration,
    connection: u32,
    what: What,
}

enum What {
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
    let (events, arriving) = channel(BEHIND);
    let path = options.file.clone();
    let scribe = thread::Builder::new().name("scribe".to_owned());
    let scribe = scribe.spawn(move || write_down(arriving, file, &path))?;
    let passed = runtime.block_on(pass_on(sockets, options.to.clone(), tls, events, signal));
    // The tasks that may still hold a sender go with it.
    drop(runtime);
    let written = scribe.join().map_err(|_| ToolError::Refused("the scribe died".to_owned()))?;
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
            // Nobody may wait for it any more.
            let _ = sender.send(());
        }
    })?;
    Ok(receiver)
}

/// Turns what is seen into lines, until nobody sees anything any more.
fn write_down(mut arriving: Receiver<Event>, file: File, path: &Path) -> Result<(), ToolError> {
    let mut out = BufWriter::new(file);
    let mut transcript = Transcript::default();
    while let Some(event) = arriving.blocking_recv() {
        let observation = match &event.what {
            What::Opened => Observation::Opened,
            What::Bytes(side, bytes) => Observation::Bytes(*side, bytes),
            What::Closed(side) => Observation::Closed(*side),
        };
        transcript.handle_input(event.at, event.connection, observation);
        write_lines(&mut transcript, &mut out).map_err(|error| named(path, &error))?;
        if arriving.is_empty() {
            // Whoever kills this process finds what was said so far.
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

/// Accepts connections until the signal, or until nothing can be written down any more.
async fn pass_on(
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
                sleep(PATIENCE).await;
                continue;
            }
        };
        let seer = Seer { events: events.clone(), start, connection: number };
        connections.spawn(carry(client, to.clone(), tls.clone(), seer));
        // What has ended is not kept.
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
    Ok(())
}

/// Tells the scribe what is seen on one connection.
#[derive(Clone)]
struct Seer {
    events: Sender<Event>,
    start: Instant,
    connection: u32,
}

impl Seer {
    /// Whether somebody writes it down.
    async fn saw(&self, what: What) -> bool {
        // The time of the event is that of its place in the queue.
        let Ok(place) = self.events.reserve().await else { return false };
        place.send(Event { at: self.start.elapsed(), connection: self.connection, what });
        true
    }
}

/// One connection, to its end.
async fn carry(client: Box<dyn Stream>, address: Address, tls: Option<ClientTls>, seer: Seer) {
    if !seer.saw(What::Opened).await {
        return;
    }
    let server = match sockets::connect(&address, tls.as_ref()).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("connection {}: {address}: {error}", seer.connection);
            seer.saw(What::Closed(Side::Server)).await;
            return;
        }
    };
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::join!(
        pump(from_client, to_server, Side::Client, &seer),
        pump(from_server, to_client, Side::Server, &seer),
    );
}

/// One direction, to its end.
async fn pump(
    mut from: ReadHalf<Box<dyn Stream>>,
    mut to: WriteHalf<Box<dyn Stream>>,
    side: Side,
    seer: &Seer,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        // A connection that breaks has ended, too.
        if !matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
        let bytes = buffer.split().freeze();
        if !seer.saw(What::Bytes(side, bytes.clone())).await || to.write_all(&bytes).await.is_err()
        {
            break;
        }
    }
    seer.saw(What::Closed(side)).await;
    // The other end may be gone.
    let _ = to.shutdown().await;
}
