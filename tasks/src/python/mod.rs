//! Jobs whose functions are written in Python: a pool of processes that execute them.
//!
//! ```text
//!   execute(task) ──► waiting tasks ──► runner, a thread ──► process: python3, child.py ──► storage
//!                                        runner           ──► process                   ──► storage
//!   stop, abandon ────────────────────────────────────────► process that has the lease
//! ```
//!
//! Each process has its own connection to the database. It reads the job itself, so that arguments and
//! changes are those of the database, and it commits the function's changes with the result and the final
//! state of the job, if the job still belongs to the claim. Everything else is decided and written by the
//! worker: a process only reports how a job ended.
//!
//! A process executes one job at a time. It is killed with all processes that the function has started if
//! the function does not stop. A process that dies ends its job as [`Ended::Died`]; the next job gets another
//! process. Processes end with the worker, because their input ends then.
//!
//! | file | what it is |
//! |---|---|
//! | `child.py` | the program of the processes |
//! | `message.rs` | messages, `docs/job-process.md` |
//! | `output.rs` | lines that functions print |
//! | `process.rs` | one process |
//! | `pool.rs` | the processes of a worker |
//! | `settings.rs` | settings |
//!
//! [`Ended::Died`]: rzeo_zasync::machine::Ended::Died

mod message;
mod output;
mod pool;
mod process;
mod settings;

pub use self::pool::PythonPool;
pub use self::process::StartError;
pub use self::settings::{PythonSettings, PythonTls};
