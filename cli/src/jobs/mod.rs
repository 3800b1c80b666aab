//! Workers that execute jobs: in a program of their own (`rzeo tasks worker`), or in the server's
//! (`rzeo serve --tasks`).

mod in_server;
mod options;
mod worker;

pub(crate) use self::in_server::{JobsError, ServerJobs, check};
pub(crate) use self::options::ServerJobsOptions;
pub(crate) use self::worker::JobWorker;
