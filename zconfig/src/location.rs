//! Where a setting or an error is.

use std::fmt;
use std::sync::Arc;

/// Where a setting or an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file as a whole.
    File {
        /// The file, as a URL.
        url: Arc<str>,
    },
    /// A line of a file.
    Line {
        /// The file, as a URL.
        url: Arc<str>,
        /// The number of the line, from 1.
        line: usize,
    },
    /// An override on the command line, as given.
    Override(Arc<str>),
}

/// On a line of its own after a message about lines, as ZConfig writes it: `(line 3 in file:///…)`.
pub(crate) struct OwnLine<'a>(pub(crate) Option<&'a Location>);

/// After a message about a value, as ZConfig writes it: ` (line 3, in file:///…)`.
pub(crate) struct BesideValue<'a>(pub(crate) Option<&'a Location>);

impl fmt::Display for OwnLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(Location::File { url }) => write!(f, "\n(in {url})"),
            Some(Location::Line { url, line }) => write!(f, "\n(line {line} in {url})"),
            Some(Location::Override(option)) => write!(f, "\n(in -X {option})"),
        }
    }
}

impl fmt::Display for BesideValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Location::Line { url, line }) => write!(f, " (line {line}, in {url})"),
            Some(Location::Override(option)) => write!(f, " (in -X {option})"),
            file => OwnLine(file).fmt(f),
        }
    }
}
