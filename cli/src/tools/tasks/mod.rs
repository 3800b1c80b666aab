//! `rzeo tasks`: jobs that are stored in a ZODB, from the command line.
//!
//! Each command but `worker` is one or two transactions of a client. `worker` runs until a signal ends it.

mod errors;
mod json;
mod manage;
mod options;
mod show;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use rzeo_client::{Client, ClientOptions};
use rzeo_tasks::Tasks;

pub(crate) use self::options::TasksOptions;
use self::options::{Action, ManageAction, QueueOptions};
use super::ToolError;
use super::progress::Spinner;
use super::server_query::{Server, runtime};

/// Maximum time that a call of these commands waits for a lost connection.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &TasksOptions) -> Result<ExitCode, ToolError> {
    match &options.action {
        Action::Worker(options) => worker::run(options),
        Action::Manage(action) => {
            let queue = action.queue();
            runtime()?.block_on(async {
                let client = queue.connect("rzeo tasks").await?;
                let mut tasks = Tasks::new(client.clone(), &queue.queue);
                let done = manage::run(action, &mut tasks).await;
                client.close().await;
                done
            })
        }
    }
}

impl ManageAction {
    fn queue(&self) -> &QueueOptions {
        match self {
            Self::Init(options) => &options.queue,
            Self::Enqueue(options) => &options.queue,
            Self::List(options) => &options.queue,
            Self::Show(options) => &options.job.queue,
            Self::Cancel(options) | Self::Retry(options) => &options.queue,
        }
    }
}

impl QueueOptions {
    fn client_options(&self, label: &str) -> ClientOptions {
        ClientOptions {
            storage: self.storage.clone(),
            label: Some(label.to_owned()),
            ..ClientOptions::default()
        }
    }

    /// Connects a client; waits for a server that is being started.
    async fn connect(&self, label: &str) -> Result<Client, ToolError> {
        let tls = self.tls.configure()?;
        let server = Server { address: self.address.clone(), tls, tls_option: "--tls" };
        let spinner = Spinner::new(format!("waiting for {}", server.address));
        let connecting =
            server.connect(self.client_options(label), self.connect_timeout, |error| {
                spinner.set(format!("waiting for {}: {error}", self.address));
            });
        connecting.await.map_err(|error| {
            ToolError::Refused(format!("cannot use the server {}: {error}", self.address))
        })
    }

    /// Another client of the same server, which connects by itself.
    fn open_client(&self, label: &str) -> Result<Client, ToolError> {
        let options = ClientOptions {
            addresses: vec![self.address.clone()],
            tls: self.tls.configure()?,
            wait_timeout: WAIT_TIMEOUT,
            ..self.client_options(label)
        };
        rzeo_tokio::open_client(options).map_err(|error| ToolError::Refused(error.to_string()))
    }
}
