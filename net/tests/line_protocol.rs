//! An example: a protocol of one's own, on every runtime.
//!
//! Clients send lines, and each line comes back in upper case. `time?` is answered later, by another
//! thread; a client that is silent for a minute is disconnected. The protocol does not depend on sockets. The
//! tests below serve it in memory, where a minute passes at once, on tokio and on smol.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use rzeo_net::memory::{Memory, pipe};
use rzeo_net::{Address, Protocol, Status, drive, listen};

const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The time since some moment.
type Clock = Box<dyn Fn() -> Duration + Send>;

/// The server's side of a connection.
struct Shout {
    clock: Clock,
    /// When the last bytes came.
    last_input: Duration,
    line: Vec<u8>,
    output: VecDeque<Bytes>,
    is_closing: bool,
    from_outside: Arc<Outside>,
}

/// What other threads have for a connection.
#[derive(Default)]
struct Outside(Mutex<(VecDeque<Bytes>, Option<Waker>)>);

impl Outside {
    fn push(&self, line: &'static str) {
        let mut state = self.0.lock().unwrap();
        state.0.push_back(line.into());
        state.1.take().inspect(Waker::wake_by_ref);
    }
}

impl Shout {
    fn new(clock: Clock) -> Self {
        let last_input = clock();
        let (line, output) = (Vec::new(), VecDeque::new());
        Self { clock, last_input, line, output, is_closing: false, from_outside: Arc::default() }
    }

    /// With the real time.
    fn in_real_time() -> Self {
        let start = std::time::Instant::now();
        Self::new(Box::new(move || start.elapsed()))
    }
}

impl Protocol for Shout {
    fn transmit(&mut self, _cx: &mut Context<'_>, output: &mut VecDeque<Bytes>) -> Status {
        output.append(&mut self.output);
        if self.is_closing { Status::Closing } else { Status::Open }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outside = self.from_outside.0.lock().unwrap();
        if outside.0.is_empty() {
            outside.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.output.append(&mut outside.0);
        Poll::Ready(())
    }

    fn received(&mut self, bytes: &[u8]) {
        self.last_input = (self.clock)();
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.output.push_back(line.to_ascii_uppercase().into());
        }
    }

    fn end_of_input(&mut self) {
        self.is_closing = true;
    }

    fn timeout(&self) -> Option<Duration> {
        Some((self.last_input + SILENCE_MAX).saturating_sub((self.clock)()))
    }

    fn handle_timeout(&mut self) {
        self.output.push_back("bye\n".into());
        self.is_closing = true;
    }

    fn disconnected(&mut self, _reason: io::Error) {}
}

/// The test moves it.
fn clock(memory: &Memory) -> Clock {
    let clock = memory.clock();
    Box::new(move || clock.now())
}

#[test]
fn in_memory() {
    let memory = Memory::new();
    let shout = Shout::new(clock(&memory));
    let outside = shout.from_outside.clone();
    let (server, client) = pipe(4);
    memory.spawn(drive(memory.clone(), shout, server));
    client.send(b"hel");
    memory.run();
    assert_eq!(client.take(), b"");
    client.send(b"lo\nworld\n");
    memory.run();
    // The pipe holds four bytes.
    assert_eq!(client.take(), b"HELL");
    let mut rest = Vec::new();
    while rest.len() < 8 {
        memory.run();
        rest.extend(client.take());
    }
    assert_eq!(rest, b"O\nWORLD\n");
    outside.push("now\n");
    memory.run();
    assert_eq!(client.take(), b"now\n");
    memory.advance(SILENCE_MAX - Duration::from_secs(1));
    assert!(!client.is_closed());
    memory.advance(Duration::from_secs(1));
    assert_eq!(client.take(), b"bye\n");
    memory.run();
    assert!(client.is_closed() && memory.running() == 0);
}

#[test]
fn a_peer_that_does_not_read_is_left_after_a_while() {
    let memory = Memory::new();
    let (server, client) = pipe(2);
    memory.spawn(drive(memory.clone(), Shout::new(clock(&memory)), server));
    client.send(b"hello\n");
    client.close();
    memory.run();
    assert_eq!(memory.running(), 1);
    memory.advance(rzeo_net::LINGER);
    assert_eq!(memory.running(), 0);
    assert_eq!(client.take(), b"HE");
}

/// A client that blocks: one question, its answer, and the end.
fn ask(address: &Address) -> String {
    use std::io::{Read as _, Write as _};
    let Address::Tcp { host, port } = address else { panic!("a TCP address") };
    let mut stream = std::net::TcpStream::connect((host.as_deref().unwrap(), *port)).unwrap();
    stream.write_all(b"hello\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn on_tokio() {
    use rzeo_net::tokio::{Tokio, TokioListener, TokioSocket};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = listen(&"127.0.0.1:0".parse().unwrap()).unwrap().remove(0);
    let address = listener.address().unwrap();
    let client = std::thread::spawn(move || ask(&address));
    runtime.block_on(async {
        let (stream, _peer) = TokioListener::new(listener).unwrap().accept().await.unwrap();
        let socket = TokioSocket::try_from(stream).unwrap();
        tokio::spawn(drive(Tokio, Shout::in_real_time(), socket)).await.unwrap();
    });
    assert_eq!(client.join().unwrap(), "HELLO\n");
}

#[test]
fn on_smol() {
    use rzeo_net::smol::{Smol, SmolListener, SmolSocket};
    let listener = listen(&"127.0.0.1:0".parse().unwrap()).unwrap().remove(0);
    let address = listener.address().unwrap();
    let client = std::thread::spawn(move || ask(&address));
    smol::block_on(async {
        let (stream, _peer) = SmolListener::new(listener).unwrap().accept().await.unwrap();
        let socket = SmolSocket::try_from(stream).unwrap();
        smol::spawn(drive(Smol, Shout::in_real_time(), socket)).await;
    });
    assert_eq!(client.join().unwrap(), "HELLO\n");
}
