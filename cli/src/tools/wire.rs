//! Just enough of a client to ask a server one thing: a blocking socket, frames, one call at a time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::hello::RUOK;
use rzeo_core::wire::{Codec, Deframer, Flag, Malformed, Outgoing, Unwritable};
use rzeo_zconfig::python::repr;
use thiserror::Error;

/// How long a server may take to accept a connection, and to answer what needs no work.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an answer; those that are asked for here are short.
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// In Python's notation, as in its messages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "({}, {port})", repr(host)),
            Self::Unix(path) => write!(f, "{}", repr(&path.display().to_string())),
        }
    }
}

/// Why a server did not do what it was asked.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// The socket.
    #[error("{}", in_python(.0))]
    Io(#[from] io::Error),
    /// An answer that cannot be read.
    #[error("the server's answer is unreadable: {0}")]
    Malformed(#[from] Malformed),
    /// It speaks something else.
    #[error("the server announces {0:?}, not Z5 or M5")]
    NotZeo(String),
    /// It says no.
    #[error("the server says: {0}")]
    Refused(String),
    /// A question that the encoding has no room for.
    #[error("the question cannot be sent: {0}")]
    Unwritable(#[from] Unwritable),
}

/// `[Errno 111] Connection refused`
pub(super) fn in_python(error: &io::Error) -> String {
    if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
        return "timed out".to_owned();
    }
    let text = error.to_string();
    if let Some(number) = error.raw_os_error() {
        let text = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
        return format!("[Errno {number}] {text}");
    }
    // The number of a failed look-up is not told; these two are what there is.
    match text.strip_prefix("failed to lookup address information: ") {
        Some(text) if text.starts_with("Temporary") => format!("[Errno -3] {text}"),
        Some(text) => format!("[Errno -2] {text}"),
        None => text,
    }
}

/// A socket of either kind.
trait Stream: Read + Write {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

impl Stream for UnixStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

/// A connection to a server.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    deframer: Deframer,
    codec: Codec,
}

impl Connection {
    /// Connects and hears the greeting. Addresses that `wanted` does not want are not tried.
    pub(super) fn open(
        address: &Address,
        wanted: fn(&SocketAddr) -> bool,
    ) -> Result<Self, CallError> {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
            Address::Tcp { host, port } => Box::new(connect(host, *port, wanted)?),
        };
        stream.set_patience(Some(PATIENCE))?;
        let deframer = Deframer::new(FRAME_BYTES_MAX);
        Ok(Self { stream, deframer, codec: Codec::Pickle })
    }

    /// Asks for the figures of all storages.
    pub(super) fn ruok(mut self) -> Result<Vec<u8>, CallError> {
        self.send_frame(RUOK)?;
        self.frame()?;
        Ok(self.frame()?.to_vec())
    }

    /// Becomes a client of a storage that only reads.
    pub(super) fn register(mut self, storage: &str) -> Result<Self, CallError> {
        let greeting = self.frame()?;
        self.codec = Codec::chosen_by(&greeting).ok_or_else(|| {
            let shown = &greeting[..greeting.len().min(20)];
            CallError::NotZeo(String::from_utf8_lossy(shown).into_owned())
        })?;
        self.send_frame(self.codec.greeting())?;
        self.call("register", vec![Value::text(storage), Value::Bool(true)])?;
        Ok(self)
    }

    /// Calls a method, and waits for its answer for as long as it takes: a pack takes hours, and a
    /// server that is gone is found by the system.
    pub(super) fn call_patiently(
        &mut self,
        method: &str,
        args: Vec<Value>,
    ) -> Result<Value, CallError> {
        self.stream.set_patience(None)?;
        self.call(method, args)
    }

    fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, CallError> {
        let id = Value::Int(1);
        let mut out = Outgoing::new();
        self.codec.write(&mut out, &id, Flag::Call, method, &Value::Tuple(args))?;
        while let Some(chunk) = out.take_chunk() {
            self.stream.write_all(&chunk)?;
        }
        loop {
            let frame = self.frame()?;
            let envelope = self.codec.read(&frame, &ReadLimits::default())?;
            // News for clients that have a cache is nothing for this one.
            if envelope.msgid == id && envelope.name == ".reply" {
                return if envelope.flag {
                    Err(CallError::Refused(refusal(&envelope.args)))
                } else {
                    Ok(envelope.args)
                };
            }
        }
    }

    fn send_frame(&mut self, payload: &[u8]) -> Result<(), CallError> {
        let mut out = Outgoing::new();
        out.push_frame(payload);
        while let Some(chunk) = out.take_chunk() {
            self.stream.write_all(&chunk)?;
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<bytes::Bytes, CallError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.deframer.next_frame()? {
                return Ok(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    let text = "the server closed the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
                }
                Ok(count) => self.deframer.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn connect(host: &str, port: u16, wanted: fn(&SocketAddr) -> bool) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no such address");
    for address in (host, port).to_socket_addrs()?.filter(wanted) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A refusal is a class name with arguments, a tuple of both or one after the other.
fn refusal(args: &Value) -> String {
    match args {
        Value::Str(text) => text.clone(),
        Value::Tuple(parts) | Value::List(parts) => {
            let texts: Vec<String> = parts.iter().map(refusal).collect();
            let texts: Vec<&str> =
                texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
            texts.join(": ")
        }
        Value::None => String::new(),
        other => format!("{other:?}"),
    }
}
