//! The trace of a world, and a fingerprint to compare two runs.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// Maximum number of lines. Earlier ones are dropped, because the last ones explain a failure.
const LINES_MAX: usize = 400;

/// The trace of a world.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// `None` if no trace was requested.
    lines: Option<VecDeque<String>>,
    fingerprint: DefaultHasher,
    pub(crate) step: usize,
    pub(crate) time: Duration,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { lines: is_kept.then(VecDeque::new), ..Self::default() }
    }

    /// Adds a line; the text is only made if a trace was requested.
    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let (step, time) = (self.step, self.time.as_secs_f64());
            lines.push_back(format!("{step:>5} {time:>9.4}s  {}", line()));
        }
    }

    /// Adds a number to the fingerprint.
    pub(crate) fn mark(&mut self, number: u64) {
        (self.step, number).hash(&mut self.fingerprint);
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}
