//! How a client is set up.

use alloc::string::String;
use core::num::NonZeroU32;
use core::time::Duration;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Name of the storage; servers call an unnamed one `1`.
    pub storage: String,
    /// Number of servers; all serve the same data.
    pub servers: usize,
    /// Whether the client writes.
    pub access: Access,
    /// Name of the client in the server's log.
    pub label: Option<String>,
    /// How long a call waits for a connection before it fails.
    pub wait_timeout: Duration,
    /// How long a server may take from being asked to connect until the client is registered and its
    /// cache verified. Python's client waits for ever, and for all servers with it.
    pub connect_timeout: Duration,
    /// When a server that could not be reached is tried again.
    pub reconnect: Reconnect,
    /// Maximum size of the cache, see [`cache`](super::cache).
    pub cache_bytes: usize,
    /// Maximum length of a message from the server.
    pub frame_bytes_max: u32,
    /// Seed of the random part of delays between attempts to connect.
    pub seed: u64,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            storage: String::from("1"),
            servers: 1,
            access: Access::ReadWrite,
            label: None,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            reconnect: Reconnect::default(),
            cache_bytes: 20 << 20,
            frame_bytes_max: 1 << 30,
            seed: 0,
        }
    }
}

/// What a client needs of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read and write: servers that refuse writing are not used.
    ReadWrite,
    /// To read. The client refuses writing itself.
    ReadOnly,
    /// To write if possible: a server that refuses writing is used until one that does not is found.
    ReadOnlyFallback,
}

/// When a client tries a server again that it could not reach.
///
/// ```text
///   delay = min_delay, then each time delay * delay_backoff, at most max_delay
/// ```
///
/// The client adds a random part of up to the delay itself, so that clients that lost a server together
/// do not all return at the same moment. The delay begins anew after a connection that lasted some
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    /// Delay before the second attempt to reach a server.
    pub min_delay: Duration,
    /// Maximum delay between attempts, without its random part.
    pub max_delay: Duration,
    /// Factor by which each failed attempt makes the delay longer. Values below 1 count as 1.
    pub delay_backoff: f64,
    /// Maximum number of attempts to reach each server; `None` for no limit. When all servers have used
    /// up their attempts, everything that waits for a connection fails with
    /// [`CallError::GaveUp`](super::CallError::GaveUp), and so do later calls. The count begins anew when
    /// a connection is ready, when one that was ready is lost, and with new addresses.
    pub max_attempts: Option<NonZeroU32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            delay_backoff: 2.0,
            max_attempts: None,
        }
    }
}

impl Reconnect {
    /// The delay before the second attempt.
    pub(super) fn first_delay(&self) -> Duration {
        self.min_delay.min(self.max_delay)
    }

    /// The delay after one of this length.
    pub(super) fn next_delay(&self, delay: Duration) -> Duration {
        let longer = delay.as_secs_f64() * self.delay_backoff.max(1.0);
        Duration::try_from_secs_f64(longer)
            .map_or(self.max_delay, |delay| delay.min(self.max_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(reconnect: Reconnect) -> [u128; 6] {
        let mut delay = reconnect.first_delay();
        [(); 6].map(|()| {
            let now = delay.as_millis();
            delay = reconnect.next_delay(delay);
            now
        })
    }

    #[test]
    fn the_delay_grows_by_its_factor_up_to_its_limit() {
        assert_eq!(delays(Reconnect::default()), [100, 200, 400, 800, 1000, 1000]);
        let constant = Reconnect { delay_backoff: 1.0, ..Reconnect::default() };
        assert_eq!(delays(constant), [100; 6]);
        let steep = Reconnect { delay_backoff: 1.5, ..Reconnect::default() };
        assert_eq!(delays(steep), [100, 150, 225, 337, 506, 759]);
    }

    #[test]
    fn odd_values_give_no_odd_delays() {
        for delay_backoff in [0.0, -3.0, f64::NAN] {
            assert_eq!(delays(Reconnect { delay_backoff, ..Reconnect::default() }), [100; 6]);
        }
        let huge = Reconnect { delay_backoff: f64::INFINITY, ..Reconnect::default() };
        assert_eq!(delays(huge), [100, 1000, 1000, 1000, 1000, 1000]);
        let min_delay = Duration::from_secs(7);
        assert_eq!(delays(Reconnect { min_delay, ..Reconnect::default() }), [1000; 6]);
    }
}
