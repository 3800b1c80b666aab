//! The options of `rzeo serve` that make it a worker, too.

use std::path::PathBuf;

use crate::values;

/// Options of a worker in the process of the server.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Job options")]
pub(crate) struct ServerJobsOptions {
    /// Execute jobs, too: functions in Python, with this interpreter
    ///
    /// ZODB and ZEO must be installed there. The queue is created if it does not exist. Workers on other
    /// machines are started with rzeo tasks worker.
    #[arg(long, value_name = "PYTHON", requires = "tasks_accept")]
    pub(crate) tasks: Option<PathBuf>,

    /// Execute functions that match this pattern, such as 'app.*'; repeatable
    ///
    /// Every program that can write to the database can enqueue jobs, so functions have to be named.
    #[arg(long, value_name = "PATTERN", requires = "tasks")]
    pub(crate) tasks_accept: Vec<String>,

    /// Import functions from this directory, too; repeatable
    #[arg(long, value_name = "DIRECTORY", requires = "tasks")]
    pub(crate) tasks_path: Vec<PathBuf>,

    /// Number of jobs to execute at the same time [default: the processors]
    #[arg(long, value_name = "NUMBER", requires = "tasks")]
    #[arg(value_parser = values::whole_number::<u32>)]
    pub(crate) tasks_slots: Option<u32>,

    /// Name of the queue [default: default]
    #[arg(long, value_name = "NAME", requires = "tasks")]
    pub(crate) tasks_queue: Option<String>,

    /// Name of the storage with the queue [default: the first]
    #[arg(long, value_name = "NAME", requires = "tasks")]
    pub(crate) tasks_storage: Option<String>,
}
