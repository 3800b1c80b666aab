//! Why a peer's certificate is refused.

use std::fmt;

use thiserror::Error;

use crate::date::date;
use crate::pin::Pin;

/// A refused certificate of a peer: its subject, and the reason.
///
/// rustls carries it inside its own error; [`refusal`] and [`explain`](crate::explain) find it
/// there.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("certificate of {subject} refused: {reason}")]
pub struct Refused {
    /// The subject of the peer's certificate.
    pub subject: String,
    /// Why it is refused.
    pub reason: Refusal,
}

impl Refused {
    pub(crate) fn unreadable(reason: Refusal) -> Self {
        Self { subject: "(unreadable)".to_owned(), reason }
    }
}

/// Like its `Display`: rustls shows errors of others in this form only.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The role of the peer whose certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client, verified by a server.
    Client,
    /// A server, verified by a client.
    Server,
}

/// The name of the purpose in certificates.
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

/// What is wrong with a certificate or with one above it.
///
/// `at` is the subject of the certificate that is at fault; `store` is the file, directory or trust
/// store with the trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a certificate.
    #[error("the peer sent bytes that are not an X.509 certificate")]
    Unreadable,
    /// Neither the certificate nor its issuer is trusted.
    #[error(
        "it is not in {store}, and no certificate there issued it (wanted: {issuer}); add it, or \
         its issuer's{hint}"
    )]
    Unknown {
        /// File, directory or system store with the trusted certificates.
        store: String,
        /// The issuer that was looked for.
        issuer: String,
        /// What a trust store of this kind needs.
        hint: &'static str,
    },
    /// The issuer's certificate is in the trust store, but is not an authority's.
    #[error(
        "its issuer {issuer} is in {store}, but is not an authority: {problem}; issue the issuer's \
         certificate again as an authority's, or add this certificate itself"
    )]
    NotAnAuthority {
        /// Subject of the issuer's certificate.
        issuer: String,
        /// File, directory or system store with the trusted certificates.
        store: String,
        /// What the issuer's certificate lacks.
        problem: &'static str,
    },
    /// An authority's certificate that is used for a connection and is not trusted itself.
    #[error(
        "it is an authority's certificate (CA:TRUE); issue one with CA:FALSE for the connection, or \
         add this one to {store}"
    )]
    AuthorityAsPeer {
        /// File, directory or system store with the trusted certificates.
        store: String,
    },
    /// The certificate or one above it has expired.
    #[error("{at} expired on {}; renew it", date(*not_after))]
    Expired {
        /// Subject of the expired certificate.
        at: String,
        /// The end of its validity, in seconds since 1970.
        not_after: i64,
    },
    /// The certificate or one above it is not valid yet.
    #[error("{at} is valid from {}, which is in the future; check the clocks", date(*not_before))]
    NotYetValid {
        /// Subject of the certificate.
        at: String,
        /// The beginning of its validity, in seconds since 1970.
        not_before: i64,
    },
    /// The extended key usage does not allow the peer's role.
    #[error("it or a certificate above it is not for {peer}, by its extended key usage")]
    WrongPurpose {
        /// The purpose that is needed.
        peer: Peer,
    },
    /// The certificate does not name the host.
    #[error(
        "it is not for {wanted}, but for {names}; connect to a name that it has, or set \
         `server-hostname` to one"
    )]
    WrongHost {
        /// The expected name or address.
        wanted: String,
        /// The names and addresses of the certificate.
        names: String,
    },
    /// The certificate is not one of the pinned ones.
    #[error("it is not one of the pinned certificates; its fingerprint is {found}")]
    NotPinned {
        /// The SHA-256 of the server's certificate.
        found: Pin,
    },
    /// A revocation list names the certificate or one above it.
    #[error("it or a certificate above it is revoked by a list in the trust store")]
    Revoked,
    /// The trust store has revocation lists, but not the issuer's.
    #[error(
        "{store} has revocation lists, but none of {issuer}; add that issuer's list, or remove the \
         others"
    )]
    NoRevocationList {
        /// File, directory or system store with the trusted certificates.
        store: String,
        /// The issuer of the peer's certificate.
        issuer: String,
    },
    /// The issuer's revocation list cannot be used.
    #[error("the revocation list of {issuer} {problem}")]
    UnusableRevocationList {
        /// The issuer of the peer's certificate.
        issuer: String,
        /// What is wrong with the list.
        problem: String,
    },
    /// The path to the trusted authority breaks another rule of webpki.
    #[error("{problem}")]
    Invalid {
        /// The broken rule, in words.
        problem: String,
    },
}
