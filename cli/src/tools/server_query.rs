//! What tools ask a server before, or instead of, being its client: its figures, and whether it is the
//! server that is meant.
//!
//! A client waits for a server that may be starting. Some errors do not go away by waiting: TLS on one
//! side only, a port of another program, a storage that the server does not serve. [`Server::connect`]
//! finds them at once.

use std::io;
use std::time::{Duration, Instant};

use rzeo_client::{Client, ClientOptions, ConnectError};
use rzeo_core::client::{StatusQuery, StatusQueryError};
use rzeo_net::Address;
use rzeo_tls::client::ClientTls;
use rzeo_tls::{Refusal, refusal};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::ToolError;
use super::tls_options::TlsOptions;
use crate::sockets::{self, Stream};
use crate::values;

/// Pause between two attempts to reach a server.
const RETRY: Duration = Duration::from_secs(1);

/// Maximum time for one attempt, so that a server that is restarted meanwhile is found.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// The figures of all storages by name, as a server reports them.
pub(super) type Statuses = Map<String, Value>;

/// A server to ask.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) tls: Option<ClientTls>,
    /// The option that turns TLS on, for messages.
    pub(super) tls_option: &'static str,
}

/// Why a server did not report its figures.
#[derive(Debug, Error)]
pub(super) enum QueryError {
    /// No connection, or it broke.
    #[error("{}", explain(.0))]
    Io(#[from] io::Error),
    /// The server accepted the connection and sent nothing.
    #[error(
        "connected, but no answer within {} seconds; {}",
        seconds(time_max), advice(*unused_tls_option)
    )]
    Silent {
        /// How long it was asked.
        time_max: Duration,
        /// The option that turns TLS on, if it was not used.
        unused_tls_option: Option<&'static str>,
    },
    /// The server closed the connection and sent nothing. TLS servers in Python do so when they receive
    /// anything but TLS.
    #[error("the server closed the connection without an answer; {}", advice(*unused_tls_option))]
    Closed {
        /// The option that turns TLS on, if it was not used.
        unused_tls_option: Option<&'static str>,
    },
    /// TLS is spoken by the server only.
    #[error("the server speaks TLS; use {0}")]
    TlsWanted(&'static str),
    /// TLS is spoken by this side only.
    #[error("the server does not speak TLS; leave {0} out")]
    TlsUnwanted(&'static str),
    /// The server's certificate is trusted neither itself nor by its issuer.
    #[error("{}; name the file with it with --tls-ca", rzeo_tls::explain(.0))]
    NotTrusted(io::Error),
    /// TLS was spoken, and failed for another reason.
    #[error("{}", rzeo_tls::explain(.0))]
    Tls(io::Error),
    /// The server requires a client certificate.
    #[error("the server requires a client certificate; name it with --tls-certificate")]
    CertificateWanted,
    /// It is not a ZEO server.
    #[error(transparent)]
    NotZeo(StatusQueryError),
    /// The answer is not JSON, or not an object.
    #[error("the answer of the server is not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// The server has no such storage.
    #[error("the server does not serve a storage {name:?}; it serves {}", served.join(", "))]
    NoSuchStorage {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        served: Vec<String>,
    },
}

/// Why there is no client of a server.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// The server does not report that it serves the storage.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The client cannot be made, or the server does not register it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl QueryError {
    /// Whether it may go away by waiting.
    const fn is_temporary(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Silent { .. } | Self::Closed { .. })
    }

    /// The exit status of a command that only asks: 1 if there is an answer that cannot be understood, 2 if
    /// there is none.
    pub(super) const fn status(&self) -> u8 {
        match self {
            Self::Io(_)
            | Self::Silent { .. }
            | Self::Closed { .. }
            | Self::Tls(_)
            | Self::NotTrusted(_)
            | Self::TlsWanted(_)
            | Self::TlsUnwanted(_)
            | Self::CertificateWanted => 2,
            Self::NotZeo(_) | Self::Json(_) | Self::NoSuchStorage { .. } => 1,
        }
    }
}

/// An I/O error in plain words, without its number.
fn explain(error: &io::Error) -> String {
    let text = rzeo_tls::explain(error);
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    number.and_then(|number| text.strip_suffix(&number).map(str::to_owned)).unwrap_or(text)
}

/// What to check if a server sends nothing.
fn advice(unused_tls_option: Option<&str>) -> String {
    let tls = unused_tls_option.map(|option| format!(", and whether it needs {option}"));
    format!("check that a ZEO server listens there{}", tls.unwrap_or_default())
}

/// Milliseconds are enough of what is left of a longer time.
fn seconds(time: &Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

impl Server {
    /// Asks for the figures of all storages; returns the answer as it came.
    pub(super) fn ask(&self, time_max: Duration) -> Result<Vec<u8>, QueryError> {
        runtime()?.block_on(self.query(time_max))
    }

    pub(super) fn statuses(&self, time_max: Duration) -> Result<Statuses, QueryError> {
        Ok(serde_json::from_slice(&self.ask(time_max)?)?)
    }

    /// Connects a client with these options, whose addresses, TLS and timeouts are set here. Waits for a
    /// server that is being started, but not for one that does not serve the storage.
    ///
    /// `on_failure` receives the reason of each attempt that failed.
    pub(super) async fn connect(
        &self,
        options: ClientOptions,
        time_max: Duration,
        on_failure: impl FnMut(&QueryError),
    ) -> Result<Client, ClientError> {
        let start = Instant::now();
        self.wait_for_storage(&options.storage, time_max, on_failure).await?;
        let left = time_max.saturating_sub(start.elapsed());
        // Errors name the time.
        let left = Duration::from_secs_f64(seconds(&left).max(0.001));
        let options = ClientOptions {
            addresses: vec![self.address.clone()],
            tls: self.tls.clone(),
            wait_timeout: left,
            connect_timeout: left,
            ..options
        };
        Ok(rzeo_tokio::connect(options).await?)
    }

    /// Waits until the server answers, and checks that it serves a storage. `on_failure` receives the
    /// reason of each attempt that failed.
    async fn wait_for_storage(
        &self,
        storage: &str,
        time_max: Duration,
        mut on_failure: impl FnMut(&QueryError),
    ) -> Result<(), QueryError> {
        let start = Instant::now();
        loop {
            let left = time_max.saturating_sub(start.elapsed());
            let answer = self.query(left.min(ATTEMPT_TIME_MAX)).await;
            match answer.and_then(|json| Ok(serde_json::from_slice::<Statuses>(&json)?)) {
                Ok(statuses) if statuses.contains_key(storage) => return Ok(()),
                Ok(statuses) => {
                    let served = statuses.keys().map(|name| format!("{name:?}")).collect();
                    return Err(QueryError::NoSuchStorage { name: storage.to_owned(), served });
                }
                Err(error) if error.is_temporary() && start.elapsed() + RETRY < time_max => {
                    on_failure(&error);
                    sleep(RETRY).await;
                }
                // The last attempt had only the rest of the time.
                Err(QueryError::Silent { unused_tls_option, .. }) => {
                    return Err(QueryError::Silent { time_max, unused_tls_option });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn query(&self, time_max: Duration) -> Result<Vec<u8>, QueryError> {
        let start = Instant::now();
        let connected = timeout(time_max, sockets::connect_plain(&self.address)).await;
        let stream = connected.unwrap_or_else(|_| {
            let text = format!("no connection within {} seconds", seconds(&time_max));
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })?;
        let left = time_max.saturating_sub(start.elapsed());
        let answer = timeout(left, self.exchange(stream)).await;
        let unused_tls_option = self.unused_tls_option();
        answer.unwrap_or(Err(QueryError::Silent { time_max, unused_tls_option }))
    }

    fn unused_tls_option(&self) -> Option<&'static str> {
        self.tls.is_none().then_some(self.tls_option)
    }

    async fn exchange(&self, stream: Box<dyn Stream>) -> Result<Vec<u8>, QueryError> {
        let secured = sockets::secure(stream, &self.address, self.tls.as_ref()).await;
        let mut stream = secured.map_err(|error| self.classify(error))?;
        let mut query = StatusQuery::new();
        stream.write_all(&StatusQuery::request()).await?;
        let mut buffer = [0; 16 * 1024];
        let mut is_silent = true;
        loop {
            let count = stream.read(&mut buffer).await.map_err(|error| self.classify(error))?;
            if count == 0 && is_silent {
                return Err(QueryError::Closed { unused_tls_option: self.unused_tls_option() });
            }
            if count == 0 {
                let text = "the server closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
            }
            is_silent = false;
            match query.handle_bytes(&buffer[..count]) {
                Ok(Some(answer)) => return Ok(answer.to_vec()),
                Ok(None) => {}
                Err(StatusQueryError::Tls) => return Err(QueryError::TlsWanted(self.tls_option)),
                Err(error) => return Err(QueryError::NotZeo(error)),
            }
        }
    }

    /// Finds the errors of TLS that an option mends.
    fn classify(&self, error: io::Error) -> QueryError {
        use tokio_rustls::rustls::{AlertDescription, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidMessage(_)) => QueryError::TlsUnwanted(self.tls_option),
            Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                QueryError::CertificateWanted
            }
            Some(tls) if is_unknown(tls) => QueryError::NotTrusted(error),
            Some(_) => QueryError::Tls(error),
            None => QueryError::Io(error),
        }
    }
}

/// Whether a certificate was refused because the trust store knows neither it nor its issuer.
fn is_unknown(error: &tokio_rustls::rustls::Error) -> bool {
    refusal(error).is_some_and(|refused| matches!(refused.reason, Refusal::Unknown { .. }))
}

/// A runtime for the calling thread.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A server to ask, on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerOptions {
    /// The server: HOST:PORT, HOST, PORT, [IPV6]:PORT, unix:PATH or a path
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:8100", value_parser = values::address)]
    address: Address,

    /// Maximum time to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    pub(super) timeout: Duration,

    #[command(flatten)]
    tls: TlsOptions,
}

impl ServerOptions {
    /// Reads the TLS files.
    pub(super) fn server(&self) -> Result<Server, ToolError> {
        let tls = self.tls.configure()?;
        Ok(Server { address: self.address.clone(), tls, tls_option: "--tls" })
    }
}
