//! What functions print, line by line.
//!
//! Standard output and standard error of a process are one stream. The process marks in it which job is
//! executed: a NUL, the lease of the job or nothing, and the end of the line. What is printed by
//! threads that outlive their job has no job.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

/// Maximum bytes of a line. A longer one is logged in pieces.
const LINE_BYTES_MAX: u64 = 8192;

/// Number of lines that are kept, for the message about a process that does not start.
const LAST_LINES_MAX: usize = 5;

/// A part of the output.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// A line, without its end.
    Line(String),
    /// From here on the output is of this job, or of none.
    Job(Option<i64>),
}

/// The last lines of a process.
#[derive(Debug, Default)]
pub(super) struct LastLines(VecDeque<String>);

impl LastLines {
    pub(super) fn push(&mut self, line: &str) {
        if self.0.len() == LAST_LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    /// The lines in one.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" / ")
    }
}

/// Passes all pieces of an output on, until its end.
pub(super) fn read(source: impl Read, mut pass: impl FnMut(Piece)) {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let mut parts = line.split(|byte| *byte == 0);
        let first = parts.next().unwrap_or_default();
        // A marker comes after what a function has printed without an end of the line.
        if !first.is_empty() || line.is_empty() {
            pass(text(first));
        }
        for part in parts {
            pass(Piece::Job(str::from_utf8(part).ok().and_then(|lease| lease.parse().ok())));
        }
    }
}

fn text(line: &[u8]) -> Piece {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Piece::Line(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(output: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        read(output, |piece| pieces.push(piece));
        pieces
    }

    fn line(text: &str) -> Piece {
        Piece::Line(text.into())
    }

    #[test]
    fn lines_belong_to_the_job_that_was_begun_last() {
        let output = b"before\n\x00-7\nfirst\n\n\xffsecond\x00\nafter\n\x008\n\x00\n";
        let jobs = [Some(-7), None, Some(8), None].map(Piece::Job);
        let [begun, ended, next, last] = jobs;
        let second = line("\u{fffd}second");
        assert_eq!(
            pieces(output),
            [
                line("before"),
                begun,
                line("first"),
                line(""),
                second,
                ended,
                line("after"),
                next,
                last
            ]
        );
    }

    #[test]
    fn long_lines_are_passed_in_pieces() {
        let size = usize::try_from(LINE_BYTES_MAX).unwrap();
        let output = "x".repeat(size + 1);
        assert_eq!(pieces(output.as_bytes()), [line(&output[..size]), line("x")]);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut last = LastLines::default();
        for number in 0..9 {
            last.push(&format!(" {number}"));
        }
        assert_eq!(last.text(), "4 / 5 / 6 / 7 / 8");
    }
}
