//! State that all applications of a world share.

use std::collections::BTreeSet;

use rzeo_core::client::{CallError, LostBecause, Refused};
use rzeo_core::{Oid, Tid};

use crate::coverage::Coverage;
use crate::objects;
use crate::oracle::Oracle;
use crate::trace::Trace;

/// State that all applications share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) oracle: Oracle,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// The last commit that was acknowledged to an application.
    pub(crate) acknowledged: Tid,
    /// Whether a disk has failed, so that calls may fail.
    pub(crate) disk_has_failed: bool,
    last_number: u64,
    /// New oids that were allocated. `None` if more than one server allocated them: an oid that was not used before a
    /// server ended may be allocated again, and a client keeps its own oids (as Python's does).
    pub(crate) new_oids: Option<BTreeSet<Oid>>,
}

impl Shared {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, new_oids: Some(BTreeSet::new()), ..Self::default() }
    }

    /// The next transaction number.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn new_oid(&mut self, oid: Oid) {
        self.coverage.count("new oids");
        assert!(oid >= objects::UNUSED, "{oid} is allocated, but in use");
        if let Some(known) = &mut self.new_oids {
            assert!(known.insert(oid), "{oid} is allocated twice");
        }
    }

    /// Counts an error that a network or a broken disk may cause at any time; any other error fails the world.
    pub(crate) fn allow_failure(&mut self, error: &CallError) {
        self.coverage.count(match error {
            CallError::Lost(reason) => {
                let is_allowed = match reason {
                    LostBecause::Gone(_)
                    | LostBecause::Silent { .. }
                    | LostBecause::NotReady { .. }
                    | LostBecause::CommitFailed
                    | LostBecause::BegunElsewhere => true,
                    LostBecause::Refused(_) => self.disk_has_failed,
                    _ => false,
                };
                assert!(is_allowed, "{reason}");
                "calls that were lost"
            }
            CallError::Unreachable { .. } => "calls without a reachable server",
            CallError::Refused(Refused::Other { class, payload }) => {
                let is_disk = ["builtins.OSError", "ZODB.POSException.StorageError"];
                assert!(is_disk.contains(&class.as_str()), "{class} {payload:?}");
                assert!(self.disk_has_failed, "{error}");
                "calls that failed with the disk"
            }
            error => panic!("{error}"),
        });
    }
}
