//! Whether a peer's certificate is accepted.
//!
//! A certificate is accepted in one of two ways:
//!
//! 1. **It is trusted itself**: exactly this certificate is in the trust store. It must be valid
//!    now, and its extended key usage must allow the peer's role. Its signature proves nothing that
//!    the store does not, so it may be self-signed, signed with SHA-1, or an authority's.
//! 2. **A trusted authority issued it**, directly or through authorities whose certificates the
//!    peer sent. webpki verifies this path by its own rules. The authority at its end must be valid
//!    now.
//!
//! In both ways, a certificate that a revocation list in the store names is refused, and so is one
//! that an authority issued whose own certificate is listed. If the store's file has lists, an
//! issued certificate needs a valid list of its issuer, as in Python.
//!
//! The peer proves in the handshake that it has the certificate's key. rustls verifies that.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::certificate::{Certificate, seconds};
use crate::refusal::{Peer, Refusal, Refused};
use crate::trust::{TrustStore, TrustedCertificates};

/// Verifies certificates of peers against a trust store.
#[derive(Debug)]
pub(crate) struct PathVerifier {
    pub(crate) store: TrustStore,
    pub(crate) algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

/// Why a certificate is accepted.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is in the trust store itself.
    Trusted(Arc<Certificate>),
    /// A trusted authority issued it.
    Issued(Arc<Certificate>),
}

impl Accepted {
    pub(crate) fn certificate(&self) -> &Certificate {
        match self {
            Self::Trusted(certificate) | Self::Issued(certificate) => certificate,
        }
    }
}

/// One certificate and what is known while it is verified.
struct Verification<'a> {
    verifier: &'a PathVerifier,
    trusted: &'a TrustedCertificates,
    leaf: &'a Certificate,
    sent_along: &'a [CertificateDer<'a>],
    now: UnixTime,
}

impl PathVerifier {
    /// Whether the certificate is accepted. The caller checks the name of the host.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        sent_along: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Accepted, Refused> {
        let leaf =
            Certificate::from_der(leaf).map_err(|_| Refused::unreadable(Refusal::Unreadable))?;
        let trusted = self.store.current();
        let verification =
            Verification { verifier: self, trusted: &trusted, leaf: &leaf, sent_along, now };
        let refused = |reason| Refused { subject: leaf.subject.text().to_owned(), reason };
        match trusted.certificates.iter().find(|it| it.der == leaf.der) {
            Some(itself) => {
                verification.check_trusted().map_err(refused)?;
                Ok(Accepted::Trusted(itself.clone()))
            }
            None => {
                verification.check_issued().map_err(refused)?;
                Ok(Accepted::Issued(Arc::new(leaf)))
            }
        }
    }

    fn peer(&self) -> Peer {
        self.store.peer()
    }
}

impl Verification<'_> {
    /// Checks a certificate that is in the trust store.
    fn check_trusted(&self) -> Result<(), Refusal> {
        let (leaf, peer) = (self.leaf, self.verifier.peer());
        let entity = EndEntityCert::try_from(&leaf.der).map_err(|error| self.reason(error))?;
        let at = || leaf.subject.text().to_owned();
        if seconds(self.now) < leaf.not_before {
            Err(Refusal::NotYetValid { at: at(), not_before: leaf.not_before })
        } else if !leaf.is_valid_at(self.now) {
            Err(Refusal::Expired { at: at(), not_after: leaf.not_after })
        } else if !leaf.is_for(peer) {
            Err(Refusal::WrongPurpose { peer })
        } else if self.trusted.is_revoked(entity.issuer(), entity.serial()) {
            Err(Refusal::Revoked)
        } else {
            Ok(())
        }
    }

    /// Checks a certificate that an authority issued.
    fn check_issued(&self) -> Result<(), Refusal> {
        let entity = EndEntityCert::try_from(&self.leaf.der);
        let entity = entity.map_err(|error| self.reason(error))?;
        self.check_path(&entity, None).map_err(|error| self.reason(error))?;
        if !self.trusted.lists_required {
            return Ok(());
        }
        let issuer = || self.leaf.issuer.text().to_owned();
        let store = self.verifier.store.place().to_owned();
        let mut refusal = Refusal::NoRevocationList { store, issuer: issuer() };
        // webpki looks at the first list of an issuer only, so each one is tried.
        for list in self.trusted.lists.iter().filter(|list| list.issuer() == entity.issuer()) {
            match self.check_path(&entity, Some(list)) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let problem = list_problem(&error);
                    refusal = Refusal::UnusableRevocationList { issuer: issuer(), problem };
                }
            }
        }
        Err(refusal)
    }

    /// Looks for a path from the certificate to a trusted authority, and with a list, checks the
    /// certificate against it.
    fn check_path(
        &self,
        entity: &EndEntityCert<'_>,
        list: Option<&CertRevocationList<'static>>,
    ) -> Result<(), webpki::Error> {
        let revocation = RevocationOptionsBuilder::new(list.as_slice()).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let usage = match self.verifier.peer() {
            Peer::Client => KeyUsage::client_auth(),
            Peer::Server => KeyUsage::server_auth(),
        };
        let candidate = |path: &VerifiedPath<'_>| self.check_candidate(path);
        let path = entity.verify_for_usage(
            self.verifier.algorithms,
            &self.trusted.anchors,
            self.sent_along,
            self.now,
            usage,
            revocation,
            Some(&candidate),
        );
        path.map(|_| ())
    }

    /// What webpki leaves to its caller: the validity and the path length of the authority at the
    /// end of the path, and lists that need not be there.
    fn check_candidate(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        let trusted = self.trusted.authorities.iter().zip(&self.trusted.anchors);
        let mut authorities =
            trusted.filter(|(_, anchor)| *anchor == path.anchor()).map(|(authority, _)| authority);
        let Some(first) = authorities.next() else { return Err(webpki::Error::UnknownIssuer) };
        let valid = |it: &Arc<Certificate>| it.is_valid_at(self.now);
        if !valid(first) && !authorities.any(valid) {
            return Err(untimely(first, self.now));
        }
        let below = path.intermediate_certificates().count();
        let allows = |limit: u32| usize::try_from(limit).is_ok_and(|limit| below <= limit);
        if !first.path_length.is_none_or(allows) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        let entity = path.end_entity();
        let mut certificates = std::iter::once(&**entity).chain(path.intermediate_certificates());
        if certificates.any(|it| self.trusted.is_revoked(it.issuer(), it.serial())) {
            return Err(webpki::Error::CertRevoked);
        }
        Ok(())
    }

    /// webpki's error as a reason for the user.
    fn reason(&self, error: webpki::Error) -> Refusal {
        match error {
            webpki::Error::UnknownIssuer => self.unknown_issuer(),
            webpki::Error::CertExpired { not_after, .. } => {
                let not_after = seconds(not_after);
                Refusal::Expired { at: self.subject(|it| it.not_after == not_after), not_after }
            }
            webpki::Error::CertNotValidYet { not_before, .. } => {
                let not_before = seconds(not_before);
                let at = self.subject(|it| it.not_before == not_before);
                Refusal::NotYetValid { at, not_before }
            }
            webpki::Error::CertRevoked => Refusal::Revoked,
            webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension => {
                Refusal::WrongPurpose { peer: self.verifier.peer() }
            }
            // `openssl req -x509` makes such a certificate. The reason to report is that it is
            // not trusted.
            webpki::Error::CaUsedAsEndEntity if self.leaf.subject == self.leaf.issuer => {
                self.unknown_issuer()
            }
            webpki::Error::CaUsedAsEndEntity => {
                let store = self.verifier.store.place().to_owned();
                Refusal::AuthorityAsPeer { store }
            }
            other => Refusal::Invalid { problem: path_problem(&other) },
        }
    }

    /// Why no path leads to a trusted authority.
    fn unknown_issuer(&self) -> Refusal {
        let sent = self.sent_along.iter().filter_map(|der| Certificate::from_der(der).ok());
        let sent: Vec<Certificate> = sent.collect();
        let mut last = self.leaf;
        for _ in 0..sent.len() {
            match sent.iter().find(|it| it.subject == last.issuer) {
                Some(issuer) => last = issuer,
                None => break,
            }
        }
        let issuer = last.issuer.text().to_owned();
        let store = self.verifier.store.place().to_owned();
        let peer = self.verifier.peer();
        let is_issuer = |it: &&Arc<Certificate>| it.subject == last.issuer;
        let in_store = self.trusted.certificates.iter().find(is_issuer);
        // A self-signed certificate of the same name is not its issuer.
        let in_store = in_store.filter(|_| last.subject != last.issuer);
        let problem = in_store.map(|it| match it.not_an_authority {
            Some(problem) => problem,
            None if it.is_for(peer) => "webpki cannot use it as a trust anchor",
            None => "its extended key usage allows no such peers",
        });
        match problem {
            Some(problem) => Refusal::NotAnAuthority { issuer, store, problem },
            None => Refusal::Unknown { issuer, store, hint: self.verifier.store.hint() },
        }
    }

    /// The subject of the certificate that webpki means: it does not name it.
    fn subject(&self, is_meant: impl Fn(&Certificate) -> bool) -> String {
        if is_meant(self.leaf) {
            return self.leaf.subject.text().to_owned();
        }
        let sent = self.sent_along.iter().filter_map(|der| Certificate::from_der(der).ok());
        let trusted = self.trusted.certificates.iter().map(|it| (**it).clone());
        let meant = sent.chain(trusted).find(|it| is_meant(it));
        meant.map_or("a certificate above it".to_owned(), |it| it.subject.text().to_owned())
    }
}

fn untimely(certificate: &Certificate, now: UnixTime) -> webpki::Error {
    let time = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    if certificate.not_before > seconds(now) {
        webpki::Error::CertNotValidYet { time: now, not_before: time(certificate.not_before) }
    } else {
        webpki::Error::CertExpired { time: now, not_after: time(certificate.not_after) }
    }
}

/// What is wrong with a certificate or with one above it.
#[expect(deprecated, reason = "webpki may still report the kinds without context")]
fn path_problem(error: &webpki::Error) -> String {
    use webpki::Error;
    let problem = match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => {
            "its encoding is invalid"
        }
        Error::UnsupportedCertVersion => {
            "its X.509 version is not 3; issue it again with version 3 (with `openssl x509`, give \
             it -extfile)"
        }
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not supported",
        Error::EndEntityUsedAsCa => {
            "a certificate that issued it is not an authority's (basic constraints with CA:TRUE)"
        }
        Error::InvalidSignatureForPublicKey => {
            "its signature, or that of an issuer, is not by the issuer's key"
        }
        Error::SignatureAlgorithmMismatch => "it names two different signature algorithms",
        Error::UnsupportedSignatureAlgorithm
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it or an issuer is signed with an algorithm that is not supported, such as SHA-1; issue \
             it again with SHA-256 and an RSA key of 2048 to 8192 bits, P-256, P-384 or Ed25519"
        }
        Error::NameConstraintViolation => {
            "an authority above it is not allowed to issue certificates for its names"
        }
        Error::PathLenConstraintViolated => {
            "an authority above it allows fewer authorities below itself"
        }
        other => return format!("webpki reports {other:?}"),
    };
    problem.to_owned()
}

/// What is wrong with a revocation list.
#[expect(deprecated, reason = "webpki may still report the kinds without context")]
fn list_problem(error: &webpki::Error) -> String {
    use webpki::Error;
    let problem = match error {
        Error::CrlExpired { .. } => "has expired; replace it with a new one",
        Error::InvalidCrlSignatureForPublicKey => "has a wrong signature",
        Error::UnsupportedCrlSignatureAlgorithm
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKey
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            "is signed with an algorithm that is not supported, such as SHA-1"
        }
        Error::IssuerNotCrlSigner => "is signed with a key that may not sign lists",
        Error::UnknownRevocationStatus => "does not cover such certificates",
        other => return format!("cannot be used: webpki reports {other:?}"),
    };
    problem.to_owned()
}
