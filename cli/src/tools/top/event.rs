//! What the program reacts to.

use crate::tools::server_query::Statuses;

/// What happens while the user watches.
pub(super) enum Event {
    /// The server has answered.
    Answered(Statuses),
    /// It has not, for this reason.
    Failed(String),
    /// The window has changed, or a key was pressed.
    Redraw,
    Quit,
}
