//! The clocks of a host.

use std::time::SystemTime;

use jiff::Zoned;
use rzeo_core::{Instant, Now, UnixTime};

/// Reads the monotonic clock, for timers, and the wall clock, for tids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant(self.start.elapsed()), wall: UnixTime(wall.as_secs_f64()) }
    }
}

/// The local time as C's `ctime` writes it, for `server_status`.
pub(crate) fn ctime() -> String {
    Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string()
}
