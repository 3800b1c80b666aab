//! What every runtime adapter shares: the storages of a server, each with its hub behind a lock, its
//! disk writer, and its timer; the connections; and the limits of their number.
//!
//! ```text
//!   adapter's tasks (one per connection)        threads of the host
//!        │ request(conn, …)                        writer:  commit(group) ──► Committed
//!        ▼                                         pack:    pack, switch  ──► Done
//!   ┌─ ServedStorage ─────┐                        timer:   transaction timeouts
//!   │  Mutex<Hub>         │── Deliver ──► Inbox of a connection, in the hub's order
//!   │  Arc<dyn Storage>   │── Commit ───► writer
//!   └─────────────────────┘
//! ```
//!
//! The critical section around a hub is short: it moves messages and touches no disk. Notices are put
//! into the inboxes while the lock is held, so their order in every inbox is the hub's. The hub says
//! which of them wake their connection at once; the others are woken in batches (`batch_waker`).
//!
//! A connection is admitted by [`Host::admit`], gets its session and its inbox from
//! [`Admitted::connect`], and holds nothing any more when its [`Connected`] is dropped.
//!
//! Nothing here depends on a wire method or a runtime. An adapter adds the waiting: for sockets, for
//! time, and for the disk.

mod admission;
mod batch_waker;
mod clock;
mod connection;
mod connection_slots;
mod host;
mod inbox;
mod log;
mod overview;
mod served_storage;
mod settings;

pub use admission::{ConnectionCounts, ConnectionLimits};

pub use host::{Admitted, Connected, Host, LOCAL_PEER};
pub use inbox::InboxMessage;
pub use log::log;
pub use overview::{Overview, Sample};
pub use settings::{Settings, StorageSpec};
