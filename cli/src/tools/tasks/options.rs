//! The command line of `rzeo tasks`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use rzeo_core::Oid;
use rzeo_net::Address;
use serde_json::{Map, Value as Json};

use crate::tools::tls_options::TlsOptions;
use crate::values;

/// Execute jobs that are stored in a ZODB, and look after them
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TasksOptions {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    #[command(flatten)]
    Manage(ManageAction),
    Worker(WorkerOptions),
}

/// What is done with a few transactions.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ManageAction {
    Init(InitOptions),
    Enqueue(EnqueueOptions),
    List(ListOptions),
    Show(ShowOptions),
    /// Cancel a job, or ask its worker to stop
    Cancel(JobOptions),
    /// Enqueue a job that has ended once more, and print the oid of the new one
    Retry(JobOptions),
}

/// Which queue, on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct QueueOptions {
    /// The server: HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or a path
    #[arg(value_name = "ADDRESS", value_parser = values::address)]
    pub(super) address: Address,

    /// Name of the storage
    #[arg(short = 'S', long, value_name = "NAME", default_value = "1")]
    pub(super) storage: String,

    /// Name of the queue
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub(super) queue: String,

    /// Maximum time to wait until the server can be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::duration)]
    pub(super) connect_timeout: Duration,

    #[command(flatten)]
    pub(super) tls: TlsOptions,
}

/// Create a queue in a database
///
/// A queue that exists already is left as it is.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InitOptions {
    #[command(flatten)]
    pub(super) queue: QueueOptions,
}

/// Take jobs from a queue and execute them, until a signal ends it
///
/// SIGTERM and SIGINT end the worker gracefully: it takes no more jobs, gives the running ones the time of
/// --grace, and returns the rest to the queue. A second signal ends it at once.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct WorkerOptions {
    #[command(flatten)]
    pub(super) queue: QueueOptions,

    /// Execute functions in Python with this interpreter
    ///
    /// ZODB and ZEO must be installed there. Such as the python or zconsole interpreter of the application's virtual environment.
    #[arg(long, value_name = "PYTHON")]
    pub(super) python: PathBuf,

    /// Import functions from this directory, too; repeatable
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) path: Vec<PathBuf>,

    /// Execute functions that match this pattern, such as 'app.*'; repeatable
    ///
    /// Every program that can write to the database can enqueue jobs, so functions have to be named.
    #[arg(long, value_name = "PATTERN", required = true)]
    pub(super) accept: Vec<String>,

    /// Number of jobs to execute at the same time [default: the processors]
    ///
    /// `want.slots` in the worker's record changes it while it runs.
    #[arg(short, long, value_name = "NUMBER", value_parser = values::whole_number::<u32>)]
    pub(super) slots: Option<u32>,

    /// Beginning of the worker's name in the database [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Time for running jobs to end after the first signal, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::duration)]
    pub(super) grace: Duration,

    /// Maximum address space of a Python process, in MiB
    ///
    /// A function that needs more gets a MemoryError. [default: no limit]
    #[arg(long, value_name = "MIB", value_parser = values::whole_number::<u32>)]
    pub(super) memory: Option<u32>,

    /// Replace a Python process after this many jobs, if functions leak memory
    #[arg(long, value_name = "NUMBER", value_parser = values::whole_number::<u64>)]
    pub(super) process_jobs: Option<u64>,

    /// Time between two signs of life of this worker, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    pub(super) beat: Duration,

    /// Time without a beat after which a worker is dead, in seconds
    ///
    /// At least four beats of this worker, and longer than a few beats of the others.
    #[arg(long, value_name = "SECONDS", default_value = "45", value_parser = values::duration)]
    pub(super) dead_after: Duration,
}

/// Store a job, and print its oid
#[derive(Clone, Debug, clap::Args)]
pub(super) struct EnqueueOptions {
    #[command(flatten)]
    pub(super) queue: QueueOptions,

    /// The function
    #[arg(value_name = "MODULE:NAME")]
    pub(super) call: String,

    /// Arguments: JSON, or else text; NAME=VALUE for keyword arguments
    #[arg(value_name = "ARGUMENT")]
    pub(super) arguments: Vec<String>,

    /// Begin after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = values::duration)]
    pub(super) delay: Option<Duration>,

    /// Do not begin after this many seconds; the job expires
    #[arg(long, value_name = "SECONDS", value_parser = values::duration)]
    pub(super) expire: Option<Duration>,

    /// Maximum time of an attempt, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = values::duration)]
    pub(super) timeout: Option<Duration>,

    /// From 0, which is taken first, to 7 [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = values::whole_number::<u8>)]
    pub(super) priority: Option<u8>,

    /// Maximum number of attempts; 1: never repeat, even if the worker dies
    #[arg(long, value_name = "NUMBER", value_parser = values::whole_number::<u32>)]
    pub(super) attempts: Option<u32>,

    /// Store no job if a pending one has the same TEXT
    #[arg(long, value_name = "TEXT")]
    pub(super) unique: Option<String>,

    /// Wait until the job has ended, and print its outcome
    #[arg(long)]
    pub(super) wait: bool,
}

/// List jobs, workers and their states
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListOptions {
    #[command(flatten)]
    pub(super) queue: QueueOptions,

    /// Only jobs in this state, such as pending, running or failed; repeatable
    #[arg(long, value_name = "STATE")]
    pub(super) state: Vec<String>,

    /// Maximum number of jobs
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = values::whole_number::<usize>)]
    pub(super) limit: usize,

    /// Print JSON, one object for each job
    #[arg(long)]
    pub(super) json: bool,
}

/// Show a job: its arguments, attempts, notes and outcome
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ShowOptions {
    #[command(flatten)]
    pub(super) job: JobOptions,

    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// A job, on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct JobOptions {
    #[command(flatten)]
    pub(super) queue: QueueOptions,

    /// Its oid, as `enqueue` and `list` print it, such as 0x2a
    #[arg(value_name = "OID", value_parser = values::oid)]
    pub(super) oid: Oid,
}

/// Divides arguments into positional and keyword ones.
///
/// `NAME=VALUE` is a keyword argument if `NAME` is an identifier. A value that is no JSON is a text.
pub(super) fn arguments(words: &[String]) -> (Vec<Json>, Map<String, Json>) {
    let (mut args, mut kwargs) = (Vec::new(), Map::new());
    for word in words {
        match word.split_once('=').filter(|(name, _)| is_identifier(name)) {
            Some((name, value)) => {
                kwargs.insert(name.to_owned(), value_of(value));
            }
            None => args.push(value_of(word)),
        }
    }
    (args, kwargs)
}

fn value_of(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn is_identifier(text: &str) -> bool {
    let is_letter = |c: char| c.is_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_json_or_text() {
        let words = ["1", "[2, null]", "a b", "\"3\"", "key=4", "other=x", "=5", "{\"a=b\": 1}"];
        let (args, kwargs) = arguments(&words.map(str::to_owned));
        assert_eq!(Json::from(args), json!([1, [2, null], "a b", "3", "=5", {"a=b": 1}]));
        assert_eq!(Json::from(kwargs), json!({"key": 4, "other": "x"}));
    }
}
