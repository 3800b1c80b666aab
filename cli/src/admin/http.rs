//! Sockets and requests of the admin listener.
//!
//! There is no authentication, so little is accepted: `GET` and `HEAD`, short headers and no body; time and
//! number of connections are limited.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rzeo_host::Host;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::debug;

use super::about::About;
use super::history::{self, History};
use super::report::{Report, problems};
use super::{metrics, page};
use crate::sockets::Listener;

/// Maximum number of connections at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 64;

/// Maximum time until a request has arrived, and for which a connection may be idle.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Maximum time for a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);

/// Maximum bytes and headers of a request.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How long to wait when the system has no more descriptors for a new connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// The page contains its style and loads nothing; no other page may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Data from which requests are answered.
struct AdminState {
    about: About,
    host: Arc<Host>,
    history: Mutex<History>,
}

/// Answers until `stopped` is done.
pub(super) async fn serve(
    sockets: Vec<rzeo_net::Listener>,
    host: Arc<Host>,
    about: About,
    stopped: oneshot::Receiver<()>,
) {
    let state = Arc::new(AdminState { about, host, history: Mutex::default() });
    let accepting = async {
        accept(&state, &Listener::new(sockets)?).await;
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        result = accepting => if let Err(error) = result {
            tracing::error!(target: "rzeo.admin", "the admin listener has ended: {error}");
        },
        () = watch(&state) => {}
        // The sender is dropped to stop it.
        _ = stopped => {}
    }
}

/// Takes samples for ever.
async fn watch(state: &AdminState) {
    let mut interval = tokio::time::interval(history::EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let samples = state.host.samples();
        state.history.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now(), samples);
    }
}

/// Takes connections for ever.
async fn accept(state: &Arc<AdminState>, listener: &Listener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(converse(state.clone(), stream));
                }
                Ok(_) => debug!(target: "rzeo.admin", "connection refused: the limit is {CONNECTIONS_MAX} connections"),
                Err(error) => {
                    debug!(target: "rzeo.admin", "cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until it ends.
async fn converse<S>(state: Arc<AdminState>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let response = state.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(REQUEST_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), answer);
    match timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(target: "rzeo.admin", "connection ended: {error}"),
        Err(_) => debug!(target: "rzeo.admin", "connection closed after its maximum time"),
    }
}

impl AdminState {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let text = "only GET and HEAD are allowed\n".to_owned();
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/" => {
                let refresh = page::refresh_of(request.uri().query().unwrap_or(""));
                respond(StatusCode::OK, HTML, page::html(&self.report(), refresh))
            }
            "/live" => respond(StatusCode::OK, PLAIN, "alive\n".to_owned()),
            "/ready" => self.ready(),
            "/metrics" => {
                let text = metrics::text(&self.about, &self.host);
                respond(StatusCode::OK, metrics::CONTENT_TYPE, text)
            }
            "/status.json" => match serde_json::to_string_pretty(&self.report()) {
                Ok(json) => respond(StatusCode::OK, JSON, json + "\n"),
                Err(error) => {
                    respond(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n"))
                }
            },
            _ => {
                let text = "not found; the paths are /, /live, /ready, /metrics and /status.json\n";
                respond(StatusCode::NOT_FOUND, PLAIN, text.to_owned())
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let problems = problems(self.host.is_stopping(), &self.host.overview());
        if problems.is_empty() {
            respond(StatusCode::OK, PLAIN, "ready\n".to_owned())
        } else {
            respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, problems.join("\n") + "\n")
        }
    }

    fn report(&self) -> Report {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        Report::new(&self.about, &self.host, &history)
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
