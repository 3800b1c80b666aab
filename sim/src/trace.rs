//! What happened in a world, for applications to read, and a number that tells two runs apart.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// How many lines are kept: the last ones say what went wrong.
const LINES_MAX: usize = 400;

/// See the module's introduction.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// `None`: nobody reads it.
    lines: Option<VecDeque<String>>,
    fingerprint: DefaultHasher,
    pub(crate) step: usize,
    pub(crate) time: Duration,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { lines: is_kept.then(VecDeque::new), ..Self::default() }
    }

    /// Something happened. The text is made if somebody reads it.
    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let (step, time) = (self.step, self.time.as_secs_f64());
            lines.push_back(format!("{step:>5} {time:>9.4}s  {}", line()));
        }
    }

    /// A number that another run with the same seed has, too.
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
