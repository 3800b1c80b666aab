//! Which server to try when.
//!
//! All servers are tried at once, each on its own: one that is not there, or never answers, delays no
//! other.
//!
//! A server that cannot be reached is tried again after a delay that grows ([`Reconnect`]); one that
//! was reached and cannot be used, after nine to ten seconds (as Python's client does).

use alloc::vec::Vec;
use core::time::Duration;

use super::ids::{ConnId, ServerId};
use super::jitter::Jitter;
use super::settings::Reconnect;
use crate::time::Instant;

/// The delay after a server turned out to be of no use, and the limit of its random part.
const USELESS_DELAY: Duration = Duration::from_secs(9);
const USELESS_DELAY_JITTER: Duration = Duration::from_secs(1);

/// When the servers are tried.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    reconnect: Reconnect,
    jitter: Jitter,
}

#[derive(Debug)]
struct Server {
    attempt: Attempt,
    /// Number of attempts, see [`Reconnect::max_attempts`].
    attempts: u32,
    /// The next delay, without its random part.
    delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The server need not be tried, or is the chosen one.
    None,
    /// It is tried at this moment.
    At(Instant),
    /// It is being tried.
    Now(ConnId),
    /// Its attempts are used up.
    UsedUp,
}

/// How bad it is that a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// The connection could not be made, or broke.
    Unreachable,
    /// It broke after it had been used for a while: the server is tried again at once.
    GoodUntilNow,
    /// The server cannot be used.
    Useless,
}

impl Servers {
    /// Servers that are tried at once.
    pub(super) fn new(now: Instant, count: usize, reconnect: Reconnect, seed: u64) -> Self {
        let mut servers = Self { servers: Vec::new(), reconnect, jitter: Jitter::new(seed) };
        servers.replace(now, count);
        servers
    }

    /// There are other servers now; they are tried at once.
    pub(super) fn replace(&mut self, now: Instant, count: usize) {
        let delay = self.reconnect.first_delay();
        let server = |_| Server { attempt: Attempt::At(now), attempts: 0, delay };
        self.servers = (0..count).map(server).collect();
    }

    /// When the next server is tried.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let attempts = self.servers.iter().filter_map(|server| match server.attempt {
            Attempt::At(at) => Some(at),
            Attempt::None | Attempt::Now(_) | Attempt::UsedUp => None,
        });
        attempts.min()
    }

    /// The next server to try now, which counts as being tried by the connection.
    pub(super) fn begin_attempt(&mut self, now: Instant, conn: ConnId) -> Option<ServerId> {
        let is_due = |server: &Server| matches!(server.attempt, Attempt::At(at) if at <= now);
        let index = self.servers.iter().position(is_due)?;
        let server = &mut self.servers[index];
        server.attempt = Attempt::Now(conn);
        server.attempts = server.attempts.saturating_add(1);
        Some(ServerId(index))
    }

    /// An attempt or a connection has failed; the server is tried again later.
    pub(super) fn failed(&mut self, now: Instant, server: ServerId, setback: Setback) {
        let Some(server) = self.servers.get_mut(server.0) else { return };
        let is_last = |max| server.attempts >= max;
        if self.reconnect.max_attempts.is_some_and(|max| is_last(max.get())) {
            server.attempt = Attempt::UsedUp;
            return;
        }
        let delay = match setback {
            Setback::GoodUntilNow => {
                server.delay = self.reconnect.first_delay();
                Duration::ZERO
            }
            Setback::Useless => USELESS_DELAY + self.jitter.below(USELESS_DELAY_JITTER),
            Setback::Unreachable => {
                let least = server.delay;
                server.delay = self.reconnect.next_delay(least);
                self.jitter.stretch(least)
            }
        };
        server.attempt = Attempt::At(now.after(delay));
    }

    /// The connection to this server is ready; all attempts are counted anew.
    pub(super) fn ready(&mut self, now: Instant, server: ServerId) {
        self.count_anew(now);
        if let Some(server) = self.servers.get_mut(server.0) {
            server.attempt = Attempt::None;
        }
    }

    /// A connection that was ready is lost; all attempts are counted anew.
    pub(super) fn count_anew(&mut self, now: Instant) {
        for server in &mut self.servers {
            server.attempts = 0;
            if server.attempt == Attempt::UsedUp {
                server.attempt = Attempt::At(now);
            }
        }
    }

    /// The connection is not used any more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        for server in &mut self.servers {
            if server.attempt == Attempt::Now(conn) {
                server.attempt = Attempt::None;
            }
        }
    }

    /// All servers that are not tried are tried now.
    pub(super) fn try_others(&mut self, now: Instant) {
        for server in &mut self.servers {
            if server.attempt == Attempt::None {
                server.attempt = Attempt::At(now);
            }
        }
    }

    /// No server is tried until [`Self::try_others`].
    pub(super) fn stop_trying(&mut self) {
        self.servers.iter_mut().for_each(|server| server.attempt = Attempt::None);
    }

    /// The number of attempts, if those of all servers are used up.
    pub(super) fn used_up(&self) -> Option<u32> {
        let are_used_up = self.servers.iter().all(|server| server.attempt == Attempt::UsedUp);
        self.reconnect.max_attempts.map(core::num::NonZeroU32::get).filter(|_| are_used_up)
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;

    use super::*;

    const CONN: ConnId = ConnId(1);

    fn servers(count: usize, max_attempts: u32) -> Servers {
        let max_attempts = NonZeroU32::new(max_attempts);
        Servers::new(Instant::START, count, Reconnect { max_attempts, ..Reconnect::default() }, 0)
    }

    /// Lets the next attempt fail. -> how long it was waited for
    fn fail(servers: &mut Servers, now: &mut Instant, setback: Setback) -> Option<Duration> {
        let at = servers.next_attempt()?;
        let waited = at.since(*now);
        *now = at.max(*now);
        let server = servers.begin_attempt(*now, CONN).unwrap();
        servers.failed(*now, server, setback);
        Some(waited)
    }

    #[test]
    fn attempts_without_a_limit_go_on() {
        let (mut servers, mut now) = (servers(1, 0), Instant::START);
        assert_eq!(fail(&mut servers, &mut now, Setback::Unreachable), Some(Duration::ZERO));
        for least in [100, 200, 400, 800, 1000, 1000, 1000] {
            let waited = fail(&mut servers, &mut now, Setback::Unreachable).unwrap();
            let least = Duration::from_millis(least);
            assert!(waited >= least && waited < 2 * least, "{waited:?} for {least:?}");
        }
        assert_eq!(servers.used_up(), None);
    }

    #[test]
    fn attempts_are_counted_for_each_server() {
        let (mut servers, mut now) = (servers(2, 3), Instant::START);
        for _ in 0..6 {
            assert_eq!(servers.used_up(), None);
            assert!(fail(&mut servers, &mut now, Setback::Unreachable).is_some());
        }
        assert_eq!(servers.used_up(), Some(3));
        assert_eq!(servers.next_attempt(), None);
        servers.replace(now, 1);
        assert_eq!(servers.used_up(), None);
        assert_eq!(servers.next_attempt(), Some(now));
    }

    #[test]
    fn a_connection_that_was_ready_gives_all_servers_new_attempts() {
        let (mut servers, mut now) = (servers(2, 1), Instant::START);
        assert!(fail(&mut servers, &mut now, Setback::Unreachable).is_some());
        let other = servers.begin_attempt(now, CONN).unwrap();
        servers.ready(now, other);
        assert_eq!(servers.next_attempt(), Some(now), "a server that takes writes may be there");
        servers.stop_trying();
        assert_eq!((servers.next_attempt(), servers.used_up()), (None, None));
        servers.count_anew(now);
        servers.failed(now, other, Setback::GoodUntilNow);
        servers.try_others(now);
        assert_eq!(servers.next_attempt(), Some(now));
        for _ in 0..2 {
            assert!(fail(&mut servers, &mut now, Setback::Useless).is_some());
        }
        assert_eq!(servers.used_up(), Some(1));
    }
}
