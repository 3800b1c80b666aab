//! Why a job has no result, as a dict that every program can read.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rzeo_core::UnixTime;
use rzeo_objects::PyValue;

/// Maximum bytes of a kind.
const KIND_BYTES_MAX: usize = 200;

/// Maximum bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Maximum bytes of a trace. Of a longer one the end is kept, which names the error.
const TRACE_BYTES_MAX: usize = 32 * 1024;

/// A failure, without live objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is: the name of an exception, or one of `interrupted`, `poison`,
    /// `malformed`.
    pub kind: String,
    /// What was wrong, for people.
    pub message: String,
    /// Where in the program it was wrong.
    pub trace: Option<String>,
}

impl Failure {
    /// A failure without a trace.
    #[must_use]
    pub fn new(kind: &str, message: impl ToString) -> Self {
        Self { kind: kind.to_string(), message: message.to_string(), trace: None }
    }

    /// The dict for records. Long texts are shortened.
    pub(crate) fn to_value(&self, attempt: u32, worker: Option<&str>, now: UnixTime) -> PyValue {
        let mut items: Vec<(PyValue, PyValue)> = Vec::from([
            ("kind".into(), start(&self.kind, KIND_BYTES_MAX).into()),
            ("message".into(), start(&self.message, MESSAGE_BYTES_MAX).into()),
            ("attempt".into(), i64::from(attempt).into()),
            ("time".into(), now.0.into()),
        ]);
        if let Some(worker) = worker {
            items.push(("worker".into(), worker.into()));
        }
        if let Some(trace) = &self.trace {
            items.push(("trace".into(), end(trace, TRACE_BYTES_MAX).into()));
        }
        PyValue::dict(items)
    }
}

/// The longest part of a text from its start that has at most so many bytes.
fn start(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The longest part of a text to its end that has at most so many bytes.
fn end(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_between_characters() {
        assert_eq!(start("äöü", 3), "ä");
        assert_eq!(end("äöü", 3), "ü");
        assert_eq!((start("ab", 9), end("ab", 9)), ("ab", "ab"));
        assert_eq!((start("ä", 1), end("ä", 1)), ("", ""));
    }
}
