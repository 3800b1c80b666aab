//! The other workers, and which of them are dead.
//!
//! A worker is dead if its beat has had the same revision for a long time by the monotonic clock of this
//! program, and during several beats of its own. Times of commits say nothing about that: a storage
//! whose clock was set wrong may stand still or jump. The second condition keeps a program that was
//! stopped itself, or whose storage was, from declaring others dead when it goes on.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_core::{Instant, Tid};

use super::bookkeeping::PeerInfo;
use crate::state::WorkerState;

/// Number of own beats during which the beat of a dead worker has not changed.
const OWN_BEATS: u32 = 4;

#[derive(Debug)]
struct Peer {
    state: WorkerState,
    beat: Tid,
    /// When the beat was seen first.
    since: Instant,
    own_beats: u32,
}

/// The other workers of the queue.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<String, Peer>);

/// What to do about a dead worker.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Dead {
    /// It is dead, and has to be declared gone if its beat is still this one.
    Silent(String, Tid),
    /// It is gone, and its jobs have to be taken from it.
    Gone(String),
}

impl Peers {
    /// Takes note of what one own beat has found.
    pub(super) fn surveyed(&mut self, now: Instant, found: Vec<PeerInfo>) {
        let mut before = core::mem::take(&mut self.0);
        for PeerInfo { id, state, beat } in found {
            let peer = match before.remove(&id) {
                Some(peer) if peer.beat == beat => {
                    Peer { state, own_beats: peer.own_beats.saturating_add(1), ..peer }
                }
                _ => Peer { state, beat, since: now, own_beats: 0 },
            };
            self.0.insert(id, peer);
        }
    }

    /// The workers that take jobs.
    pub(super) fn living(&self) -> Vec<String> {
        let living = self.0.iter().filter(|(_, peer)| peer.state == WorkerState::Up);
        living.map(|(id, _)| id.clone()).collect()
    }

    /// A dead worker.
    pub(super) fn dead(&self, now: Instant, dead_after: Duration) -> Option<Dead> {
        self.0.iter().find_map(|(id, peer)| {
            if peer.state == WorkerState::Gone {
                return Some(Dead::Gone(id.clone()));
            }
            let is_silent = now.since(peer.since) >= dead_after && peer.own_beats >= OWN_BEATS;
            is_silent.then(|| Dead::Silent(id.clone(), peer.beat))
        })
    }

    /// A worker is declared gone, by this one or another.
    pub(super) fn gone(&mut self, id: &str) {
        if let Some(peer) = self.0.get_mut(id) {
            peer.state = WorkerState::Gone;
        }
    }

    /// A worker has sent a beat after all.
    pub(super) fn alive(&mut self, now: Instant, id: &str) {
        if let Some(peer) = self.0.get_mut(id) {
            peer.since = now;
            peer.own_beats = 0;
        }
    }

    /// A worker is removed from the queue.
    pub(super) fn forgotten(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(beat: u64) -> Vec<PeerInfo> {
        [PeerInfo { id: "a".into(), state: WorkerState::Up, beat: Tid(beat) }].into()
    }

    #[test]
    fn a_silent_worker_is_dead_after_the_time_and_four_own_beats() {
        const DEAD_AFTER: Duration = Duration::from_secs(45);
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let mut peers = Peers::default();
        peers.surveyed(at(0), info(1));
        // This program was stopped: much time, few own beats.
        peers.surveyed(at(1000), info(1));
        assert_eq!(peers.dead(at(1000), DEAD_AFTER), None);
        for seconds in [1001, 1002, 1003] {
            peers.surveyed(at(seconds), info(1));
        }
        assert_eq!(peers.dead(at(1003), DEAD_AFTER), Some(Dead::Silent("a".into(), Tid(1))));
        peers.surveyed(at(1004), info(2));
        for seconds in 1005..1040 {
            peers.surveyed(at(seconds), info(2));
        }
        // Many own beats, little time.
        assert_eq!(peers.dead(at(1048), DEAD_AFTER), None);
        assert_eq!(peers.dead(at(1049), DEAD_AFTER), Some(Dead::Silent("a".into(), Tid(2))));
    }
}
