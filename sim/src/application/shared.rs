//! What all applications of a world have in common.

use std::collections::BTreeSet;

use rzeo_core::client::{CallError, LostBecause, Refused};
use rzeo_core::ids::{Oid, Tid};

use crate::coverage::Coverage;
use crate::objects;
use crate::oracle::Oracle;
use crate::trace::Trace;

/// What everybody knows.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) oracle: Oracle,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// The last commit that some application knows to be made.
    pub(crate) acknowledged: Tid,
    /// Whether a disk has failed, so that calls may.
    pub(crate) disk_has_failed: bool,
    last_number: u64,
    /// New oids that were handed out. `None` if that was not by one server: what was not used before it
    /// ended may be handed out again, and a client keeps what it got (as Python's).
    pub(crate) new_oids: Option<BTreeSet<Oid>>,
}

impl Shared {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, new_oids: Some(BTreeSet::new()), ..Self::default() }
    }

    /// A number for a transaction.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn new_oid(&mut self, oid: Oid) {
        self.coverage.count("new oids");
        assert!(oid >= objects::UNUSED, "{oid} is handed out, and in use");
        if let Some(known) = &mut self.new_oids {
            assert!(known.insert(oid), "{oid} is handed out twice");
        }
    }

    /// Errors that a network, or a broken disk, may cause at any time.
    pub(crate) fn allow_failure(&mut self, error: &CallError) {
        self.coverage.count(match error {
            CallError::Lost(because) => {
                let may_be = match because {
                    LostBecause::Gone(_)
                    | LostBecause::NotReady { .. }
                    | LostBecause::CommitFailed
                    | LostBecause::BegunElsewhere => true,
                    LostBecause::Refused(_) => self.disk_has_failed,
                    _ => false,
                };
                assert!(may_be, "{because}");
                "calls that were lost"
            }
            CallError::Unreachable { .. } => "calls without a server",
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
