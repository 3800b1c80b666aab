//! The arguments of a call, and its failure.

use rzeo_objects::PyValue;
use rzeo_zasync::{Failure, Retry};

/// A failure of a function, and whether the job's own policy does not apply to it.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) retry: Option<Retry>,
}

/// Positional and keyword arguments.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) args: Vec<PyValue>,
    pub(crate) kwargs: Vec<(String, PyValue)>,
}

impl Failed {
    /// A failure that another attempt would meet as well.
    pub(crate) fn finally(kind: &str, message: impl ToString) -> Self {
        let failure = Failure::new(kind, message);
        Self {
            failure,
            retry: Some(Retry::Attempts { max: 1, base: 0.0, factor: 1.0, cap: 0.0, jitter: 0.0 }),
        }
    }

    /// An error that a function has returned.
    pub(crate) fn error(error: impl std::fmt::Display) -> Self {
        Self { failure: Failure::new("error", error), retry: None }
    }
}
