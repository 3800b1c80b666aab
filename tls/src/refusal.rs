//! Why a peer's certificate is not accepted, and other reasons why a handshake fails.

use std::fmt;
use std::io;

use rustls::AlertDescription;
use thiserror::Error;

use crate::pin::Pin;

/// A peer that is refused because of its certificate: whose, and why.
///
/// rustls hands it on inside its own error; [`refusal`] and [`explain`] find it again.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("certificate of {subject} refused: {reason}")]
pub struct Refused {
    /// The subject of the peer's certificate.
    pub subject: String,
    /// Why.
    pub reason: Refusal,
}

/// As it is shown otherwise: rustls shows errors of others in this form only.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason why a handshake failed, for a log.
///
/// Give it the error that accepting or making a connection ended with, or, in TLS 1.3, a client's
/// first reading: the server's word about its certificate comes after the handshake. Of a certificate
/// it tells what is wrong and what to do, of anything else what rustls tells.
pub fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let told = tls.and_then(|tls| match tls {
        rustls::Error::AlertReceived(alert) => refused_by_peer(*alert),
        other => refusal(other).map(ToString::to_string),
    });
    told.unwrap_or_else(|| error.to_string())
}

/// What the other side does not like about this side's certificate.
fn refused_by_peer(alert: AlertDescription) -> Option<String> {
    let reason = match alert {
        AlertDescription::CertificateRequired => {
            return Some(
                "the server wants a certificate and got none; name one with `certificate` in the \
                 section `ssl`"
                    .to_owned(),
            );
        }
        AlertDescription::UnknownCA => "it does not trust it nor who issued it",
        AlertDescription::CertificateExpired => "it has expired, or is not yet valid",
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::BadCertificate => "something in it is wrong",
        AlertDescription::UnsupportedCertificate => "it is of a wrong kind or for other purposes",
        AlertDescription::CertificateUnknown => "for a reason that its log may tell",
        _ => return None,
    };
    Some(format!("the other side refuses the certificate that it was shown: {reason} ({alert:?})"))
}

/// Whose certificate is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client's, by a server.
    Client,
    /// A server's, by a client.
    Server,
}

/// As certificates speak of them.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "TLS clients",
            Self::Server => "TLS servers",
        })
    }
}

/// The refusal of a peer's certificate inside an error of a handshake, if it is one.
pub fn refusal(error: &rustls::Error) -> Option<&Refused> {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref()
        }
        _ => None,
    }
}

/// What is wrong with a certificate or with the chain above it.
///
/// `at` is the subject of the certificate in the chain that does not fit. Words in the variants'
/// documentation after "OpenSSL:" are the name that OpenSSL has for it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are no certificate.
    #[error("a certificate that was sent cannot be read")]
    Unreadable,
    /// OpenSSL: unable to get local issuer certificate.
    #[error(
        "it is not in {store}, and no certificate there issued it (wanted: {issuer}); add it, if it \
         is self-signed, or its issuer's"
    )]
    Unknown {
        /// The place of the trusted certificates.
        store: String,
        /// The issuer that was looked for.
        issuer: String,
    },
    /// OpenSSL: self-signed certificate in certificate chain.
    #[error("it ends at {at}, which is self-signed and not in {store}")]
    UntrustedRoot {
        /// The last certificate.
        at: String,
        /// The place of the trusted certificates.
        store: String,
    },
    /// A trusted certificate that leads nowhere.
    #[error(
        "{at} is in {store}, but is not self-signed, and its issuer {issuer} is not there; add that \
         too"
    )]
    NoRoot {
        /// The last certificate.
        at: String,
        /// The place of the trusted certificates.
        store: String,
        /// Its issuer.
        issuer: String,
    },
    /// OpenSSL: certificate chain too long.
    #[error("the chain has more than {limit} certificates")]
    ChainTooLong {
        /// The limit.
        limit: usize,
    },
    /// OpenSSL: certificate has expired.
    #[error("{at} has expired (seconds since 1970: valid until {not_after}, now {now})")]
    Expired {
        /// The certificate.
        at: String,
        /// Seconds since 1970.
        not_after: i64,
        /// Seconds since 1970.
        now: i64,
    },
    /// OpenSSL: certificate is not yet valid.
    #[error("{at} is not yet valid (seconds since 1970: valid from {not_before}, now {now})")]
    NotYetValid {
        /// The certificate.
        at: String,
        /// Seconds since 1970.
        not_before: i64,
        /// Seconds since 1970.
        now: i64,
    },
    /// OpenSSL: invalid extension.
    #[error("{at} has an extension that cannot be read, is there twice or is not supported")]
    BadExtension {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: unhandled critical extension.
    #[error("{at} has a critical extension that is not understood")]
    UnhandledCritical {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: invalid CA certificate.
    #[error("{at} is not a certificate for an authority: it needs basic constraints with CA:TRUE")]
    NotAnAuthority {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: unsuitable certificate purpose.
    #[error("{at} is not for {peer}, by its key usage or extended key usage")]
    WrongPurpose {
        /// The certificate.
        at: String,
        /// Whom it would have to be for.
        peer: Peer,
    },
    /// OpenSSL: Hostname mismatch, IP address mismatch.
    #[error(
        "it is not for {wanted}, but for {names}; connect to a name that it has, or set \
         `server-hostname` to one"
    )]
    WrongHost {
        /// The name or address that the server ought to have.
        wanted: String,
        /// Those that it has.
        names: String,
    },
    /// Another certificate than those that are pinned.
    #[error("it is not one of those that are pinned; its fingerprint is {found}")]
    NotPinned {
        /// The SHA-256 of the server's certificate.
        found: Pin,
    },
    /// A rule of RFC 5280 that Python insists on.
    #[error("{at} breaks a rule of RFC 5280: {rule}")]
    Strict {
        /// The certificate.
        at: String,
        /// The rule.
        rule: &'static str,
    },
    /// OpenSSL: path length constraint exceeded.
    #[error("{at} allows fewer authorities below it")]
    PathTooLong {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: EE certificate key too weak, CA certificate key too weak.
    #[error("the key of {at} is too weak or of an unknown kind: RSA needs 2048 bits")]
    WeakKey {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: CA signature digest algorithm too weak.
    #[error(
        "{at} is signed with MD5 or SHA-1, which others can forge; issue it again with SHA-256"
    )]
    WeakSignature {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: certificate signature failure.
    #[error("the signature on {at} is wrong, or of a kind that is not supported")]
    BadSignature {
        /// The certificate.
        at: String,
    },
    /// OpenSSL: permitted subtree violation, excluded subtree violation.
    #[error("its names are not among those that an authority above it may name")]
    NameConstraints,
    /// OpenSSL: unable to get certificate CRL.
    #[error("{store} has revocation lists, but none of {issuer}")]
    NoRevocationList {
        /// The place of the trusted certificates.
        store: String,
        /// The issuer of the peer's certificate.
        issuer: String,
    },
    /// OpenSSL: CRL has expired, CRL is not yet valid, different CRL scope and so on.
    #[error("the revocation list of {issuer} {problem}")]
    UnusableRevocationList {
        /// The issuer of the peer's certificate.
        issuer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// OpenSSL: certificate revoked.
    #[error("{issuer} has revoked it")]
    Revoked {
        /// The issuer of the peer's certificate.
        issuer: String,
    },
}
