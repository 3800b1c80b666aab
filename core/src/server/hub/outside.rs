//! What happens behind the storage's back, when it is the proxy of another server.
//!
//! ```text
//!   others' commits there ──► News ──┬─ no group out ──► notices to all
//!                                    └─ a group out ──► outside ──► before or after the group, by tid
//! ```
//!
//! The server behind has made one order of all commits, ours among them, and here all connections are
//! told in that order. Our own commit comes back on another way than the news, so while one is out
//! nobody knows yet what its tid will be: news wait until it is there, in the order of their tids. The
//! storage has told of all commits before ours when ours is there, so nothing that belongs before it comes
//! later.
//!
//! Loads need nothing of this. A change is visible when it is told, and every connection reads at the
//! last tid that it was told of, so it may be told late.
//!
//! After the server behind was out of reach, all connections are closed, as Python's server does: they
//! come back and verify what they have (`spec: zeo-protocol 12.1, O12`). If commits may have been
//! missed, the invalidation queue starts anew: it must not answer for them.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{Hub, Recent};
use crate::ids::Tid;
use crate::server::log_line::LogLevel;
use crate::server::messages::{HubOutput, Notice};
use crate::storage::News;

impl Hub {
    /// Something happened behind the storage's back.
    pub(super) fn news(&mut self, news: News) {
        let place = self.outside.partition_point(|other| other.tid() <= news.tid());
        self.outside.insert(place, news);
        if self.writing.is_none() {
            self.tell_outside(None);
        }
    }

    /// Tells what waits: what is older than a commit that is to be announced now, or all.
    pub(super) fn tell_outside(&mut self, before: Option<Tid>) {
        let is_due = |news: &News| before.is_none_or(|tid| news.tid() < tid);
        while self.outside.front().is_some_and(is_due) {
            let news = self.outside.pop_front().expect("the loop has looked at it");
            self.tell(news);
        }
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Changed { tid, oids } if tid > self.last_tid => {
                self.invalidate(tid, &oids, None);
            }
            // Nobody can be told of this any more without being told wrong.
            News::Changed { tid, .. } => {
                let text = format!("commit {tid} is told after {}: a bug", self.last_tid);
                self.log(LogLevel::Error, text);
                self.reset(self.last_tid, true);
            }
            News::Reset { tid, missed } => self.reset(tid, missed),
        }
    }

    fn reset(&mut self, tid: Tid, missed: bool) {
        let missed = missed || tid > self.last_tid;
        self.last_tid = self.last_tid.max(tid);
        if missed {
            let known = vec![(self.last_tid, Vec::new())];
            self.recent = Recent::new(self.settings.invalidation_queue_size, known);
        }
        for conn in self.connections.keys() {
            self.outputs.push_back(HubOutput::Deliver(*conn, Notice::Reset));
        }
    }
}
