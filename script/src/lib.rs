//! ZEO conversations as text: written by hand, recorded from real peers, and replayed.
//!
//! A [`Script`] is a text with one message per line, in the order in which the peers sent them. Reading a script
//! and writing it gives the same text, so a test compares two texts, and its failure is a diff of two
//! conversations. Nothing here does I/O or knows the time.
//!
//! | to | use |
//! |---|---|
//! | read and write scripts | [`Script`], [`Line`], [`Action`]; the notation is in the documentation of [`script`](Script) and of [`Term`] |
//! | turn the bytes of a connection into lines (`rzeo record`) | [`Transcript`] |
//! | read captures in JSON, made by other recorders | [`Capture`] |
//! | play a recording against a server and compare the replies (`rzeo replay`) | [`replay`] |
//! | write single messages as bytes | [`wire`] |
//!
//! `rzeo-fixtures` plays scripts to servers and clients in memory.
//!
//! ```
//! use rzeo_script::{Action, Line, Script};
//!
//! let script = Script::read("C1 opens\nC1 1 ping\nS1 1 reply None\n").unwrap();
//! let Line::Peer { action: Action::Call { method, .. }, .. } = &script.lines[1] else { panic!() };
//! assert_eq!(method, "ping");
//! assert_eq!(script.to_string(), "C1 opens\nC1 1 ping\nS1 1 reply None\n");
//! ```

mod bindings;
mod capture;
mod notation;
mod queue;
pub mod replay;
mod script;
mod transcript;
pub mod wire;

pub use self::bindings::{Bindings, Unbound};
pub use self::capture::{Capture, NotACapture};
pub use self::notation::{Problem, Reader, Term};
pub use self::queue::Queue;
pub use self::script::{Action, AppMessage, Line, NotAScript, Script, Side};
pub use self::transcript::{FRAME_BYTES_MAX, Observation, Transcript, codec_line, codec_of};
