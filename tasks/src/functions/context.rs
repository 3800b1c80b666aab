//! The job that calls a function, for the function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_lite::future::block_on;
use rzeo_core::Oid;
use rzeo_objects::PyValue;
use rzeo_zasync::machine::Task;
use rzeo_zasync::{Error, deferred};

use crate::database::{Database, Uncommitted};

/// The job that a function is called for.
#[derive(Clone, Debug)]
pub struct Context(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    job: Oid,
    id: String,
    attempt: u32,
    database: Database,
    is_stopped: AtomicBool,
}

impl Context {
    pub(crate) fn new(task: &Task, database: Database) -> Self {
        Self(Arc::new(Shared {
            job: task.job,
            id: task.id.clone(),
            attempt: task.attempt,
            database,
            is_stopped: AtomicBool::new(false),
        }))
    }

    /// The record of the job.
    #[must_use]
    pub fn job(&self) -> Oid {
        self.0.job
    }

    /// The id of the job. With the number of the attempt, external systems can see which calls belong
    /// together.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Number of the attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Whether the function is asked to stop: the job is cancelled or out of time, or the worker ends.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Stores a note with the job, in a transaction of its own: other programs can read it when this
    /// returns.
    ///
    /// # Errors
    /// [`Uncommitted`].
    pub async fn note(
        &self,
        name: &str,
        value: impl Into<PyValue>,
    ) -> Result<(), Uncommitted<Error>> {
        let value = value.into();
        let noted = self
            .0
            .database
            .transact(|snapshot| deferred::note(snapshot, self.0.job, name, value.clone()));
        noted.await.map(|_| ())
    }

    /// The same for functions that block.
    ///
    /// # Errors
    /// [`Uncommitted`].
    pub fn note_blocking(
        &self,
        name: &str,
        value: impl Into<PyValue>,
    ) -> Result<(), Uncommitted<Error>> {
        block_on(self.note(name, value))
    }
}
