//! ZEO conversations as text.

mod bindings;
mod capture;
mod hold;
mod notation;
pub mod replay;
mod script;
mod transcript;
pub mod wire;

pub use self::bindings::{Bindings, Unbound};
pub use self::capture::{Capture, NotACapture};
pub use self::hold::Hold;
pub use self::notation::{Problem, Reader, Term};
pub use self::script::{Action, AppMessage, Line, NotAScript, Script, Side};
pub use self::transcript::{FRAME_BYTES_MAX, Observation, Transcript, codec_line, codec_of};
