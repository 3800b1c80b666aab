//! Errors of a queue, as the commands print them.

use rzeo_tasks::rzeo_zasync::{Error, LayoutError};
use rzeo_tasks::{TasksError, Uncommitted};

use crate::tools::ToolError;

/// An error of the queue, with what people can do about it.
pub(super) fn refused(error: &TasksError) -> ToolError {
    let advice = match error {
        Uncommitted::Failed(Error::Layout(LayoutError::Absent | LayoutError::NoQueue(_))) => {
            "; create it with rzeo tasks init"
        }
        _ => "",
    };
    ToolError::Refused(format!("{error}{advice}"))
}
