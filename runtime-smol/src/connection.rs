//! One connection of the server: admission, TLS, then the protocol.

use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use rzeo_host::{Admitted, Host};
use rzeo_net::smol::{FuturesStream, Smol};

/// Serves one connection to its end, wherever its stream comes from. `peer` names it in the log. The
/// connection counts among those of the host, and is closed at once if there are too many.
pub async fn serve_stream<S>(host: Arc<Host>, stream: S, peer: String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(admitted) = host.admit(peer) {
        serve_admitted(admitted, stream, None).await;
    }
}

/// Serves a connection that was admitted, to its end.
pub(crate) async fn serve_admitted<S>(admitted: Admitted, stream: S, tls: Option<Arc<ServerConfig>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connected = admitted.connect();
    let Some(tls) = tls else {
        return connected.serve(Smol, FuturesStream(stream)).await;
    };
    // Boxed, so that connections without TLS need not be as large as those with it.
    let secured = async {
        let accepted = TlsAcceptor::from(tls).accept(stream);
        let handshake = async { accepted.await.map_err(|error| rzeo_tls::explain(&error)) };
        if let Some(stream) = connected.handshake(&Smol, handshake).await {
            connected.serve(Smol, FuturesStream(stream)).await;
        }
    };
    Box::pin(secured).await;
}
