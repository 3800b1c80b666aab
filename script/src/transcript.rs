//! Turns the traffic of a proxy into lines of a script.
//!
//! ```text
//!   bytes of either side, in any pieces ──► Transcript ──► lines, in the order in which they were complete
//! ```
//!
//! A frame becomes a message if reading the line and encoding it
//! again gives the same bytes; otherwise it becomes a `frame` with its bytes. Bytes that are not a frame (a
//! stream that ends within a frame, a length over the limit) become `bytes`. So a script can be replayed
//! exactly to the byte.
//!
//! Nothing here does I/O or knows the time. Only the unfinished frame of each
//! direction of each connection is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::{Codec, Deframer};

use crate::notation::Term;
use crate::script::{Action, Line, Side};

/// Minimum length of a pause that becomes a line.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Maximum length of a frame, which is also that of rzeo. A longer frame, and everything that follows it in its
/// direction, is written as bytes.
pub const FRAME_BYTES_MAX: u32 = 1 << 30;

/// Turns the traffic of any number of connections into lines.
#[derive(Debug, Default)]
pub struct Transcript {
    codec: Option<Codec>,
    /// The time up to which pauses are written.
    time: Duration,
    connections: BTreeMap<u32, Connection>,
    lines: VecDeque<Line>,
}

/// What a proxy observes on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation<'a> {
    /// The client has connected.
    Opened,
    /// A peer has sent bytes.
    Bytes(Side, &'a [u8]),
    /// A peer has closed its sending side.
    Closed(Side),
}

#[derive(Debug)]
struct Connection {
    decoder: FrameDecoder,
    client: Stream,
    server: Stream,
}

/// One direction of a connection.
#[derive(Debug)]
struct Stream {
    deframer: Deframer,
    /// Whether the rest of the stream is bytes without frames.
    is_lost: bool,
    has_ended: bool,
}

impl Transcript {
    /// Takes an observation, made `now` after the start of the recording.
    pub fn handle_input(&mut self, now: Duration, number: u32, observation: Observation<'_>) {
        let pause = now.saturating_sub(self.time);
        if pause >= PAUSE {
            self.time = now;
            // A script needs no finer pauses than milliseconds.
            let pause = Duration::from_millis(pause.as_millis().try_into().unwrap_or(u64::MAX));
            self.lines.push_back(Line::Wait(pause));
        }
        match observation {
            Observation::Opened => {
                self.connections.insert(number, Connection::new());
                self.push(number, Side::Client, Action::Opens);
            }
            Observation::Bytes(side, bytes) => {
                let Some(connection) = self.connections.get_mut(&number) else { return };
                connection.stream(side).deframer.push(bytes);
                self.follow(number, side);
            }
            Observation::Closed(side) => self.close(number, side),
        }
    }

    /// The next line.
    pub fn poll_output(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Ends the recording: unfinished frames are written as bytes.
    pub fn finish(&mut self) {
        for number in self.connections.keys().copied().collect::<Vec<_>>() {
            self.give_up(number, Side::Client);
            self.give_up(number, Side::Server);
        }
    }

    /// Writes the complete frames.
    fn follow(&mut self, number: u32, side: Side) {
        loop {
            let Some(connection) = self.connections.get_mut(&number) else { return };
            let stream = connection.stream(side);
            if stream.is_lost {
                return self.give_up(number, side);
            }
            match stream.deframer.next_frame() {
                Ok(Some(frame)) => {
                    let known = self.codec;
                    let action = connection.decoder.frame(&mut self.codec, side, &frame);
                    if let (None, Some(codec)) = (known, self.codec) {
                        self.lines.push_back(codec_line(codec));
                    }
                    self.push(number, side, action);
                }
                Ok(None) => return,
                Err(_) => stream.is_lost = true,
            }
        }
    }

    /// Writes the first end of a connection as a line; the second adds nothing.
    fn close(&mut self, number: u32, side: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.stream(side).has_ended = true;
        let is_first = !std::mem::replace(&mut connection.decoder.is_closed, true);
        let is_over = connection.client.has_ended && connection.server.has_ended;
        self.give_up(number, side);
        if is_first {
            // The other side does not finish its frame after that.
            self.give_up(number, side.other());
            self.push(number, side, Action::Closes);
        }
        if is_over {
            self.connections.remove(&number);
        }
    }

    fn give_up(&mut self, number: u32, side: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let stream = connection.stream(side);
        let rest = stream.deframer.take_rest();
        if !rest.is_empty() {
            // The start of a frame is written already; the rest must not be read as another frame.
            stream.is_lost = true;
            self.push(number, side, Action::Bytes(rest));
        }
    }

    fn push(&mut self, connection: u32, side: Side, action: Action) {
        self.lines.push_back(Line::Peer { side, connection, action });
    }
}

impl Connection {
    fn new() -> Self {
        Self { decoder: FrameDecoder::default(), client: Stream::new(), server: Stream::new() }
    }

    const fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Stream {
    fn new() -> Self {
        Self { deframer: Deframer::new(FRAME_BYTES_MAX), is_lost: false, has_ended: false }
    }
}

/// The line with the encoding that the server announces.
#[must_use]
pub fn codec_line(codec: Codec) -> Line {
    let name = match codec {
        Codec::Pickle => "pickle",
        Codec::Msgpack => "msgpack",
    };
    Line::Set { name: "codec".to_owned(), value: Term::Leaf(Value::text(name)) }
}

/// The encoding that a line of a recording sets, if it sets one.
#[must_use]
pub fn codec_of(line: &Line) -> Option<Codec> {
    [Codec::Pickle, Codec::Msgpack].into_iter().find(|codec| codec_line(*codec) == *line)
}

/// Decodes the frames of a connection.
#[derive(Debug, Default)]
pub(crate) struct FrameDecoder {
    /// The encoding, once the client's handshake has chosen it.
    codec: Option<Codec>,
    is_announced: bool,
    pub(crate) is_closed: bool,
}

impl FrameDecoder {
    /// Decodes a frame. `announced` is the encoding of the server's first message.
    pub(crate) fn frame(
        &mut self,
        announced: &mut Option<Codec>,
        side: Side,
        payload: &Bytes,
    ) -> Action {
        match (side, self.codec) {
            (Side::Server, _) if !self.is_announced => {
                self.is_announced = true;
                *announced = announced.or(Codec::chosen_by(payload));
                handshake(payload, *announced)
            }
            (Side::Client, None) => {
                self.codec = Codec::chosen_by(payload);
                handshake(payload, *announced)
            }
            (_, None) => Action::Frame(payload.clone()),
            (_, Some(codec)) => message(codec, payload),
        }
    }
}

fn handshake(payload: &Bytes, codec: Option<Codec>) -> Action {
    match codec {
        Some(codec) if payload == codec.greeting() => Action::Hello,
        _ => Action::Frame(payload.clone()),
    }
}

/// A message, or bytes if encoding the message again gives other bytes.
fn message(codec: Codec, payload: &Bytes) -> Action {
    match codec.read_value(payload, &ReadLimits::default()) {
        Ok(value) if codec.write_value(&value).is_ok_and(|again| again == payload) => {
            let is_odd = is_odd(&value);
            let action = Action::from_envelope(value.into());
            if is_odd && !is_text(&action) {
                return Action::Frame(payload.clone());
            }
            action
        }
        _ => Action::Frame(payload.clone()),
    }
}

/// Whether a value has parts that the notation cannot carry exactly: names that are not identifiers, floats that are
/// not numbers.
fn is_odd(value: &Value) -> bool {
    match value {
        Value::Opaque(_) => true,
        Value::Float(number) => number.is_nan(),
        Value::Tuple(items) | Value::List(items) => items.iter().any(is_odd),
        Value::Dict(items) => items.iter().any(|(key, value)| is_odd(key) || is_odd(value)),
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::BigInt(_)
        | Value::Bytes(_)
        | Value::Str(_) => false,
    }
}

/// Whether reading a line with this action gives the same action.
fn is_text(action: &Action) -> bool {
    let line = Line::Peer { side: Side::Client, connection: 1, action: action.clone() };
    let text = line.to_string();
    !text.contains('\n') && Line::read(&text).is_ok_and(|again| again == line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bindings::Bindings;
    use crate::wire;

    fn lines(transcript: &mut Transcript) -> Vec<String> {
        std::iter::from_fn(|| transcript.poll_output()).map(|line| line.to_string()).collect()
    }

    fn observe(
        transcript: &mut Transcript,
        number: u32,
        observation: Observation<'_>,
    ) -> Vec<String> {
        transcript.handle_input(Duration::ZERO, number, observation);
        lines(transcript)
    }

    #[test]
    fn complete_frames_become_lines() {
        let mut transcript = Transcript::default();
        let (client, server) = (Side::Client, Side::Server);
        let hello = wire::frame(b"Z5");
        let (register, garbage) = (wire::greeting(), wire::frame(b"gar"));
        let mut lines_of = |number, observation| observe(&mut transcript, number, observation);
        assert_eq!(lines_of(7, Observation::Opened), ["C7 opens"]);
        assert_eq!(lines_of(7, Observation::Bytes(server, &hello[..3])), [""; 0]);
        let greeted = [r#"set codec "pickle""#, "S7 hello"];
        assert_eq!(lines_of(7, Observation::Bytes(server, &hello[3..])), greeted);
        assert_eq!(
            lines_of(7, Observation::Bytes(client, &register)),
            ["C7 hello", r#"C7 1 register "1" False"#]
        );
        assert_eq!(lines_of(7, Observation::Bytes(client, &garbage)), [r#"C7 frame b"gar""#]);
        assert_eq!(lines_of(7, Observation::Bytes(client, b"\0\0\0\x04ab")), [""; 0]);
        let end = [r#"C7 bytes b"\x00\x00\x00\x04ab""#, "S7 closes"];
        assert_eq!(lines_of(7, Observation::Closed(server)), end);
        assert_eq!(lines_of(7, Observation::Closed(client)), [""; 0]);
    }

    #[test]
    fn a_length_over_the_limit_is_bytes_and_so_is_the_rest() {
        let mut transcript = Transcript::default();
        observe(&mut transcript, 1, Observation::Opened);
        let request = Observation::Bytes(Side::Client, b"GET / HTTP/1.1\r\n");
        let expected = [r#"C1 bytes b"GET / HTTP/1.1\x0d\x0a""#];
        assert_eq!(observe(&mut transcript, 1, request), expected);
        let more = Observation::Bytes(Side::Client, b"\0\0\0\x02ab");
        assert_eq!(observe(&mut transcript, 1, more), [r#"C1 bytes b"\x00\x00\x00\x02ab""#]);
        transcript.finish();
        assert_eq!(lines(&mut transcript), [""; 0]);
    }

    #[test]
    fn a_pause_becomes_one_line() {
        let mut transcript = Transcript::default();
        transcript.handle_input(Duration::from_millis(400), 1, Observation::Opened);
        transcript.handle_input(Duration::from_micros(900_250), 2, Observation::Opened);
        transcript.handle_input(Duration::from_millis(1000), 3, Observation::Opened);
        assert_eq!(lines(&mut transcript), ["C1 opens", "wait 0.9", "C2 opens", "C3 opens"]);
    }

    #[test]
    fn a_recording_that_ends_early_keeps_unfinished_frames() {
        let mut transcript = Transcript::default();
        observe(&mut transcript, 1, Observation::Opened);
        observe(&mut transcript, 1, Observation::Bytes(Side::Server, b"\0\0"));
        transcript.finish();
        assert_eq!(lines(&mut transcript), [r#"S1 bytes b"\x00\x00""#]);
    }

    /// The bytes of the lines of one side.
    fn sent_by(lines: &[Line], side: Side) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            let Line::Peer { side: whose, action, .. } = line else { continue };
            if *whose != side {
                continue;
            }
            match action {
                Action::Bytes(raw) => bytes.extend_from_slice(raw),
                Action::Frame(payload) => bytes.extend(wire::frame(payload)),
                Action::Hello => bytes.extend(wire::frame(Codec::Pickle.greeting())),
                action => {
                    let Some(envelope) = action.envelope() else { continue };
                    let value = Bindings::default().resolve(&envelope).unwrap();
                    bytes.extend(wire::frame(&Codec::Pickle.write_value(&value).unwrap()));
                }
            }
        }
        bytes
    }

    /// A frame with a message, a frame with nonsense, or bytes that are not a frame.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| wire::frame(&bytes)),
            prop::collection::vec(any::<u8>(), 0..20),
            "[a-z\\n\"> ]{0,5}".prop_map(|name| wire::call(3, &name, vec![Value::text(&name)])),
            // A class with a line feed in its name, which protocol 2 permits.
            Just(wire::frame(b"\x80\x02(K\x01K\x00U\x01a(ca\nb>c\ntt.")),
            Just(wire::frame(
                b"\x80\x03(K\x01K\x00X\x01\x00\x00\x00aG\x7f\xf8\x00\x00\x00\x00\x00\x00t."
            )),
        ]
    }

    proptest! {
        /// The text keeps every byte, whatever the bytes are and however they are divided into reads.
        #[test]
        fn the_lines_keep_every_byte(
            pieces in prop::collection::vec(piece(), 0..8),
            length in 1usize..40,
        ) {
            let stream = [wire::frame(b"Z5"), pieces.concat()].concat();
            let mut transcript = Transcript::default();
            transcript.handle_input(Duration::ZERO, 1, Observation::Opened);
            for side in [Side::Server, Side::Client] {
                for bytes in stream.chunks(length) {
                    transcript.handle_input(Duration::ZERO, 1, Observation::Bytes(side, bytes));
                }
            }
            transcript.finish();
            let mut again = Vec::new();
            while let Some(line) = transcript.poll_output() {
                let text = line.to_string();
                prop_assert!(!text.contains('\n'), "{}", text);
                let read = Line::read(&text);
                prop_assert!(read.is_ok(), "{}", text);
                again.push(read.unwrap());
            }
            prop_assert_eq!(sent_by(&again, Side::Client), stream.clone());
            prop_assert_eq!(sent_by(&again, Side::Server), stream);
        }
    }
}
