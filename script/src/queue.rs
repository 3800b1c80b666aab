//! The queues inside a server in memory that a script can delay.

use std::fmt;

/// A queue that can be held; numbers are those of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// Bytes on their way from a client.
    Arrivals(u32),
    /// Requests on their way from a session to the hub.
    Requests(u32),
    /// Notices in a session's inbox.
    Notices(u32),
    /// Storage calls that a session has made.
    Calls(u32),
    /// Answers of the storage on their way back.
    Answers(u32),
    /// Groups on their way to the disk.
    Commits,
    /// Groups that are on the disk, on their way back.
    Committed,
    /// Packs, which have not run yet.
    Jobs,
    /// Commits of other programs at the storage, on their way to the hub.
    ExternalCommits,
}

impl Queue {
    /// Reads a name as [`fmt::Display`] writes it.
    #[must_use]
    pub fn read(name: &str, client: Option<u32>) -> Option<Self> {
        Some(match (name, client) {
            ("arrivals", Some(client)) => Self::Arrivals(client),
            ("requests", Some(client)) => Self::Requests(client),
            ("notices", Some(client)) => Self::Notices(client),
            ("calls", Some(client)) => Self::Calls(client),
            ("answers", Some(client)) => Self::Answers(client),
            ("commits", None) => Self::Commits,
            ("committed", None) => Self::Committed,
            ("jobs", None) => Self::Jobs,
            ("external-commits", None) => Self::ExternalCommits,
            _ => return None,
        })
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrivals(client) => write!(f, "arrivals {client}"),
            Self::Requests(client) => write!(f, "requests {client}"),
            Self::Notices(client) => write!(f, "notices {client}"),
            Self::Calls(client) => write!(f, "calls {client}"),
            Self::Answers(client) => write!(f, "answers {client}"),
            Self::Commits => f.write_str("commits"),
            Self::Committed => f.write_str("committed"),
            Self::Jobs => f.write_str("jobs"),
            Self::ExternalCommits => f.write_str("external-commits"),
        }
    }
}
