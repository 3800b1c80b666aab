//! Captures of live traffic, read as scripts.
//!
//! A proxy between a Python client and a Python server writes a capture: one JSON object per line, with the
//! payload of each frame in hex (`fixtures/captures/README.md`). This module converts it to a [`Script`],
//! the form of conversations in the rest of this crate. `rzeo record` writes scripts directly.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rzeo_core::wire::Codec;
use serde::Deserialize;

use crate::bindings::Bindings;
use crate::script::{Action, Line, NotAScript, Script, Side};
use crate::transcript::{FrameDecoder, PAUSE, codec_of};

/// The traffic that a proxy recorded.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The encoding that the server announced.
    pub codec: Codec,
    /// The conversation as a script.
    pub script: Script,
    /// The payloads of the frames, in the order of the script's lines that are frames.
    pub payloads: Vec<Bytes>,
}

/// The reason why a file is not a capture.
#[derive(Debug, thiserror::Error)]
pub enum NotACapture {
    /// A line is not JSON, or lacks a field.
    #[error("line {0}: {1}")]
    Json(usize, #[source] serde_json::Error),
    /// The payload is not hexadecimal.
    #[error("line {0}: the payload is not an even number of hex digits")]
    Hex(usize),
    /// A recording is not a script.
    #[error(transparent)]
    Script(#[from] NotAScript),
    /// A line has a value that the codec cannot encode.
    #[error("line {0}: the message cannot be encoded")]
    NoMessage(usize),
    /// The server announced neither `M5` nor `Z5`.
    #[error("the server announces neither M5 nor Z5")]
    NoCodec,
}

#[derive(Deserialize)]
struct Recorded {
    conn: u32,
    dir: Direction,
    t: f64,
    hex: String,
    decoded: serde_json::Value,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    C2s,
    S2c,
    Event,
    Note,
}

impl Capture {
    /// Reads a capture.
    ///
    /// # Errors
    /// [`NotACapture`], with the first line that cannot be read.
    pub fn read(text: &str) -> Result<Self, NotACapture> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line: Recorded =
                serde_json::from_str(line).map_err(|error| NotACapture::Json(number, error))?;
            let payload = unhex(&line.hex).ok_or(NotACapture::Hex(number))?;
            reader.read(&line, payload);
        }
        let codec = reader.codec.ok_or(NotACapture::NoCodec)?;
        Ok(Self { codec, script: reader.script, payloads: reader.payloads })
    }

    /// Reads a file of `rzeo record` in which all connections have one encoding.
    ///
    /// # Errors
    /// [`NotACapture`], with the first line that cannot be read.
    pub fn read_recording(text: &str) -> Result<Self, NotACapture> {
        let mut script = Script::read(text)?;
        let codec = script.lines.iter().find_map(codec_of).ok_or(NotACapture::NoCodec)?;
        script.lines.retain(|line| codec_of(line).is_none());
        let mut payloads = Vec::new();
        for (index, line) in script.lines.iter().enumerate() {
            payloads.extend(payload(codec, line).ok_or(NotACapture::NoMessage(index + 1))?);
        }
        Ok(Self { codec, script, payloads })
    }
}

#[derive(Default)]
struct Reader {
    codec: Option<Codec>,
    /// Seconds since the start of the recording up to which the script has its pauses.
    time: f64,
    connections: BTreeMap<u32, FrameDecoder>,
    script: Script,
    payloads: Vec<Bytes>,
}

impl Reader {
    fn read(&mut self, line: &Recorded, payload: Bytes) {
        let pause = line.t - self.time;
        if pause >= PAUSE.as_secs_f64() {
            self.time = line.t;
            self.script.lines.push(Line::Wait(Duration::from_secs_f64(pause)));
        }
        match line.dir {
            Direction::C2s => self.frame(Side::Client, line.conn, payload),
            Direction::S2c => self.frame(Side::Server, line.conn, payload),
            Direction::Event => self.event(line.conn, line.decoded["event"].as_str()),
            Direction::Note => {
                let note = line.decoded["note"].as_str().unwrap_or_default().trim_end();
                self.script.lines.push(Line::Comment(format!("# {note}")));
            }
        }
    }

    /// Writes the first end of a connection as a line; the second adds nothing.
    fn event(&mut self, number: u32, event: Option<&str>) {
        let decoder = self.connections.entry(number).or_default();
        let (side, action) = match event {
            Some("open") => (Side::Client, Action::Opens),
            _ if decoder.is_closed => return,
            Some("server closed its sending side") => (Side::Server, Action::Closes),
            _ => (Side::Client, Action::Closes),
        };
        decoder.is_closed = action == Action::Closes;
        self.push(side, number, action);
    }

    fn frame(&mut self, side: Side, number: u32, payload: Bytes) {
        let decoder = self.connections.entry(number).or_default();
        let action = decoder.frame(&mut self.codec, side, &payload);
        self.payloads.push(payload);
        self.push(side, number, action);
    }

    fn push(&mut self, side: Side, connection: u32, action: Action) {
        self.script.lines.push(Line::Peer { side, connection, action });
    }
}

/// The payload of a line's frame, if the line is a frame; `None` if its message cannot be encoded.
fn payload(codec: Codec, line: &Line) -> Option<Option<Bytes>> {
    let Line::Peer { action, .. } = line else { return Some(None) };
    match action {
        Action::Hello => Some(Some(Bytes::from_static(codec.greeting()))),
        Action::Frame(bytes) => Some(Some(bytes.clone())),
        action => {
            let Some(envelope) = action.envelope() else { return Some(None) };
            let value = Bindings::default().resolve(&envelope).ok()?;
            codec.write_value(&value).ok().map(Some)
        }
    }
}

fn unhex(hex: &str) -> Option<Bytes> {
    let digits = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(digits).collect();
    bytes.map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURE: &str = r#"{"conn": 0, "dir": "note", "t": 0.1, "hex": "", "decoded": {"note": "a start"}}
{"conn": 1, "dir": "event", "t": 0.1, "hex": "", "decoded": {"event": "open"}}
{"conn": 1, "dir": "s2c", "t": 0.1, "hex": "5a35", "decoded": null}
{"conn": 1, "dir": "c2s", "t": 0.1, "hex": "5a35", "decoded": null}
{"conn": 1, "dir": "c2s", "t": 0.1, "hex": "8003284b0189580800000072656769737465725801000000314b0086742e", "decoded": null}
{"conn": 1, "dir": "s2c", "t": 0.1, "hex": "8003284b014b0058060000002e7265706c7943080000000000000000742e", "decoded": null}
{"conn": 1, "dir": "c2s", "t": 0.85, "hex": "676172", "decoded": null}
{"conn": 1, "dir": "event", "t": 0.9, "hex": "", "decoded": {"event": "server closed its sending side"}}
{"conn": 1, "dir": "event", "t": 0.9, "hex": "", "decoded": {"event": "client closed its sending side"}}
"#;

    #[test]
    fn a_capture_is_a_script() {
        let capture = Capture::read(CAPTURE).unwrap();
        assert_eq!(capture.codec, Codec::Pickle);
        assert_eq!(capture.payloads.len(), 5);
        assert_eq!(
            capture.script.to_string(),
            r#"# a start
C1 opens
S1 hello
C1 hello
C1 1 register "1" 0
S1 1 reply 0x0000000000000000
wait 0.85
C1 frame b"gar"
S1 closes
"#
        );
    }

    #[test]
    fn lines_that_are_no_capture_are_reported() {
        let problem = |text: &str| Capture::read(text).unwrap_err().to_string();
        assert!(problem("{}").starts_with("line 1: missing field"));
        assert_eq!(problem(""), "the server announces neither M5 nor Z5");
        let odd = CAPTURE.replace("\"5a35\"", "\"5a3\"");
        assert_eq!(problem(&odd), "line 3: the payload is not an even number of hex digits");
    }
}
