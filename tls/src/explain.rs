//! Errors of TLS connections in plain words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::refusal::refusal;

/// The reason why a handshake or connection failed, for a log.
///
/// Give it the error of accepting or making a connection, or, in TLS 1.3, of a client's first read:
/// the server's alert about the client's certificate arrives after the handshake. For a refused
/// certificate the text says what is wrong and what to do. Errors that are not TLS's keep their
/// text.
pub fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(tls) => explain_tls(tls).unwrap_or_else(|| tls.to_string()),
        None => explain_end(error),
    }
}

fn explain_tls(error: &Error) -> Option<String> {
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        ) => Some("the peer does not speak TLS".to_owned()),
        Error::InvalidMessage(problem) => {
            Some(format!("the peer sent an invalid TLS message ({problem:?})"))
        }
        Error::PeerIncompatible(problem) => Some(format!(
            "the peer supports no TLS version, cipher or signature that this side supports \
             ({problem:?})"
        )),
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            Some("the peer does not have the key of the certificate that it sent".to_owned())
        }
        Error::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Some(
            "the key of the peer's certificate is of a kind that is not supported; supported are RSA \
             with 2048 to 8192 bits, ECDSA on P-256 or P-384, and Ed25519"
                .to_owned(),
        ),
        Error::NoCertificatesPresented => {
            Some("the client sent no certificate; it needs one that this server trusts".to_owned())
        }
        Error::AlertReceived(alert) => refused_by_peer(*alert),
        other => refusal(other).map(ToString::to_string),
    }
}

/// The reason of an alert that the peer sent.
fn refused_by_peer(alert: AlertDescription) -> Option<String> {
    let reason = match alert {
        AlertDescription::CertificateRequired => {
            return Some(
                "the server requires a client certificate and got none; name one with `certificate` \
                 in the section `ssl`, or with the option --tls-certificate"
                    .to_owned(),
            );
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            return Some(format!(
                "the peer supports no TLS version, cipher or signature that this side supports \
                 (alert {alert:?})"
            ));
        }
        AlertDescription::UnknownCA => "the peer trusts neither it nor its issuer",
        AlertDescription::CertificateExpired => "it has expired, or is not yet valid",
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::BadCertificate => "the peer found an error in it",
        AlertDescription::UnsupportedCertificate => "it is of an unsupported kind or purpose",
        AlertDescription::CertificateUnknown => "the peer's log may have the reason",
        _ => return None,
    };
    Some(format!("the peer refused this side's certificate: {reason} (alert {alert:?})"))
}

/// The end of a connection, which the TLS libraries report as text.
fn explain_end(error: &io::Error) -> String {
    let text = error.to_string();
    if error.kind() != io::ErrorKind::UnexpectedEof {
        text
    } else if text.contains("handshake eof") {
        "the peer closed the connection during the TLS handshake".to_owned()
    } else if text.contains("close_notify") {
        "the peer closed the connection without ending the TLS session".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connections_are_explained() {
        let tls = |error: Error| explain(&io::Error::new(io::ErrorKind::InvalidData, error));
        let plain = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(tls(plain), "the peer does not speak TLS");
        let odd = tls(Error::InvalidMessage(InvalidMessage::InvalidCcs));
        assert_eq!(odd, "the peer sent an invalid TLS message (InvalidCcs)");
        let none = tls(Error::NoCertificatesPresented);
        assert!(none.starts_with("the client sent no certificate"), "{none}");
        let alert = tls(Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(alert.ends_with("neither it nor its issuer (alert UnknownCA)"), "{alert}");
        let other = tls(Error::AlertReceived(AlertDescription::InternalError));
        assert_eq!(other, "received fatal alert: InternalError");
    }

    #[test]
    fn ends_of_connections_are_explained() {
        let end = |text: &str| explain(&io::Error::new(io::ErrorKind::UnexpectedEof, text));
        assert!(end("tls handshake eof").ends_with("during the TLS handshake"));
        assert!(end("… without sending TLS close_notify: …").ends_with("the TLS session"));
        assert_eq!(end("early eof"), "early eof");
        assert_eq!(explain(&io::Error::other("refused")), "refused");
    }
}
