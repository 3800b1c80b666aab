//! One application: asks what applications ask, and judges what its client says.
//!
//! What is checked, for every event in its order, with the promises of `rzeo_core::client` and
//! `rzeo_core::server` that it holds them to:
//!
//! * tids grow; from one to the next, exactly what was changed in between is named, or everything
//!   (promises 1, 2, 4 of the server and 3, 4, 5 of the client; the whole is compared at the end);
//! * the client's last tid is that of the last event (client, 4);
//! * a revision, from the cache or from the server, is the true one as of the last event, with its end
//!   (server, 3; client, 1, 2, 3, 5, 6): so no snapshot is mixed;
//! * a call is answered once (client, 7), and `ping` after everything that anybody knew to be
//!   committed (server, 5);
//! * a transaction is committed if its finish says so, and is not if it says anything but that this is
//!   not known (client, 7; compared at the end).
//!
//! Its transactions are in [`transactions`](super::transactions), everything else that it asks is in
//! [`questions`](super::questions).

mod events;
mod queries;
mod query;
mod shared;
mod state;
mod transaction;
mod transactions;

pub(crate) use self::shared::Shared;
pub(crate) use self::state::{Application, Context, Invalidation};
