//! The states of deferreds and workers, as texts of their records.

use core::fmt;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The text that records have.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The state of a text.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

states! {
    /// State of a deferred, and of the job whose outcome it is.
    JobState {
        /// The job is not taken until it is released.
        Held = "held",
        /// The deferred waits until it is fired, or until the one that it follows is final.
        Waiting = "waiting",
        /// A worker takes the job when it is due.
        Pending = "pending",
        /// A worker has the job.
        Running = "running",
        /// There is a result.
        Done = "done",
        /// There is a failure.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It did not begin, or end, in time.
        Expired = "expired",
    }
}

states! {
    /// State of a worker.
    WorkerState {
        /// The worker takes jobs.
        Up = "up",
        /// The worker ends its jobs and takes no others.
        Draining = "draining",
        /// The worker is dead or has stopped. It never comes back under the same id.
        Gone = "gone",
    }
}

impl JobState {
    /// Whether the outcome is known. A final state never changes.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Held | Self::Waiting | Self::Pending | Self::Running => false,
            Self::Done | Self::Failed | Self::Cancelled | Self::Expired => true,
        }
    }
}
