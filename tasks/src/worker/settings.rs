//! What a worker is made of.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rzeo_client::Client;
use rzeo_zasync::Retry;
use rzeo_zasync::machine::WorkerSettings;
use rzeo_zasync::worker::WorkerInfo;

use crate::executor::Executor;
use crate::functions::Functions;

/// Runs a future as a task of a runtime.
pub type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;

/// What a worker is made of.
#[derive(Clone)]
pub struct WorkerOptions {
    /// What its machine does.
    pub settings: WorkerSettings,
    /// Functions in Rust.
    pub functions: Functions,
    /// Executes functions of other names.
    pub executor: Option<Arc<dyn Executor>>,
    /// For the transactions of the bookkeeper.
    pub bookkeeper: Client,
    /// For everything else. Without any, the bookkeeper's is used. About as many as slots, up to eight,
    /// are useful.
    pub pool: Vec<Client>,
}

impl std::fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("settings", &self.settings)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

impl WorkerOptions {
    /// A worker of a queue that executes up to `slots` jobs at the same time, with defaults for everything
    /// else.
    #[must_use]
    pub fn new(queue: &str, slots: u32, functions: Functions, bookkeeper: Client) -> Self {
        let info = WorkerInfo {
            accept: functions.names().map(str::to_owned).collect(),
            slots,
            host: String::new(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let settings = WorkerSettings {
            queue: queue.to_owned(),
            name: "worker".to_owned(),
            info,
            retry: Retry::EXTERNAL,
            beat: Duration::from_secs(10),
            dead_after: Duration::from_secs(45),
            grace: Duration::from_secs(10),
        };
        Self { settings, functions, executor: None, bookkeeper, pool: Vec::new() }
    }
}
