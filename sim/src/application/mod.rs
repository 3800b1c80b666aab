//! One application: sends the requests that applications send, and checks what its client reports.
//!
//! It checks every event in order; the numbers are those of the promises of `rzeo_core::client` and
//! `rzeo_core::server`:
//!
//! * tids grow; from one to the next, exactly the objects that changed in between are invalidated, or everything
//!   (promises 1, 2, 4 of the server and 3, 4, 5 of the client; the whole history is compared at the end);
//! * the client's last tid is that of the last event (client, 4);
//! * a revision, from the cache or from the server, is the right one as of the last event, with its end
//!   (server, 3; client, 1, 2, 3, 5, 6), so every snapshot is consistent;
//! * a call is answered once (client, 7), and `ping` after everything that any application knew to be
//!   committed (server, 5);
//! * a transaction is committed if its finish succeeds, and is not if the finish fails, unless the outcome is
//!   unknown (client, 7; compared at the end).
//!
//! `state` holds its state, `transactions` and `queries` have its requests, and `events` reads what the
//! client reports.

mod events;
mod queries;
mod query;
mod shared;
mod state;
mod transaction;
mod transactions;

pub(crate) use self::shared::Shared;
pub(crate) use self::state::{Application, Context, Invalidation};
