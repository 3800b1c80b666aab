//! From a peer's certificate to one that is trusted, and whether the way may be gone.
//!
//! Python's server and client leave this to OpenSSL, with its strict rules, for the purpose "TLS
//! client" or "TLS server", at security level 2, without partial chains. The same certificates are to be accepted and refused
//! here, so this follows what OpenSSL 3.0 does (`crypto/x509/x509_vfy.c` and `v3_purp.c`; judged
//! against the real thing by `fixtures/python/tls_judge.py`):
//!
//! 1. From the leaf upwards an issuer is looked for among the trusted certificates, by name, key
//!    identifier and kind of key; if there is none, among those that the peer sent along. Once a
//!    trusted one is found, only trusted ones follow. The chain has to end at a trusted certificate
//!    that names itself as its issuer: a root, or the leaf itself.
//! 2. Each certificate of the chain has to be fit for its place: extensions, purpose, path lengths,
//!    the rules of RFC 5280.
//! 3. Keys and hashes have to be strong; the trusted end may be signed with anything, or wrongly:
//!    its signature proves nothing. So a leaf that is itself trusted may be signed with SHA-1.
//! 4. Every other signature has to be right, and every certificate valid now, the trusted too.
//! 5. The leaf must not be revoked.
//!
//! What OpenSSL would take and this does not: algorithms that ring lacks (P-521, Ed448, SHA-224,
//! keys for RSA-PSS only), address blocks of RFC 3779. The other way round: of several trusted
//! certificates of one name, OpenSSL looks at one; here the one fits that signed.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

use crate::certificate::{Certificate, Scheme};
use crate::refusal::{Peer, Refusal, Refused};
use crate::rules;
use crate::store::{Revocation, TrustStore};

/// As many certificates as OpenSSL follows.
const CHAIN_MAX: usize = 100;

/// Decides about chains.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) store: TrustStore,
    /// Whose certificates are judged.
    pub(crate) peer: Peer,
    pub(crate) algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

/// A chain from a leaf to a root, which are the same if the leaf is trusted as such.
pub(crate) struct Chain {
    pub(crate) certificates: Vec<Arc<Certificate>>,
}

impl Judge {
    /// Whether this certificate is to be believed. On the way its names are of no interest but to
    /// authorities with name constraints; whether it is the host's is the caller's question, who gets it
    /// back, taken apart.
    pub(crate) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        sent_along: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Arc<Certificate>, Refused> {
        let unreadable =
            |_| Refused { subject: "(unreadable)".into(), reason: Refusal::Unreadable };
        let leaf = Arc::new(Certificate::from_der(leaf).map_err(unreadable)?);
        let refused = |reason| Refused { subject: leaf.subject.shown().to_owned(), reason };
        let sent_along: Result<Vec<_>, _> =
            sent_along.iter().map(|der| Certificate::from_der(der).map(Arc::new)).collect();
        let sent_along = sent_along.map_err(unreadable)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let chain = self.build(&leaf, &sent_along, seconds).map_err(refused)?;
        self.check(&chain, now).map_err(refused)?;
        Ok(leaf)
    }

    fn check(&self, chain: &Chain, now: UnixTime) -> Result<(), Refusal> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        rules::extensions(chain, self.peer)?;
        rules::strength(chain)?;
        self.signatures(chain, seconds)?;
        rules::name_constraints(chain, self.algorithms, now, self.peer)?;
        self.revocation(chain, seconds)
    }

    /// Step 1.
    fn build(
        &self,
        leaf: &Arc<Certificate>,
        sent_along: &[Arc<Certificate>],
        now: i64,
    ) -> Result<Chain, Refusal> {
        let mut chain = vec![leaf.clone()];
        let mut trusted = false;
        loop {
            let current = chain.last().map_or(leaf, |last| last).clone();
            let candidates = self.issuers(&current);
            if current.is_self_signed() {
                if candidates.iter().any(|it| it.der == current.der) {
                    return Ok(Chain { certificates: chain });
                }
                return Err(self.no_way(&chain, trusted));
            }
            if chain.len() > CHAIN_MAX {
                return Err(Refusal::ChainTooLong { limit: CHAIN_MAX });
            }
            let issuer = if let Some(issuer) = best(self.signers(candidates, &current), now) {
                trusted = true;
                issuer
            } else if trusted {
                return Err(self.no_way(&chain, trusted));
            } else {
                let fresh = |it: &&Arc<Certificate>| {
                    it.may_have_issued(&current) && !chain.iter().any(|above| above.der == it.der)
                };
                let candidates: Vec<_> = sent_along.iter().filter(fresh).cloned().collect();
                best(candidates, now).ok_or_else(|| self.no_way(&chain, trusted))?
            };
            chain.push(issuer);
        }
    }

    /// The trusted certificates that may have issued this one.
    fn issuers(&self, subject: &Certificate) -> Vec<Arc<Certificate>> {
        let mut candidates = self.store.by_subject(&subject.issuer);
        candidates.retain(|it| it.may_have_issued(subject));
        candidates
    }

    /// Of several trusted certificates of one name, those that signed.
    fn signers(
        &self,
        mut candidates: Vec<Arc<Certificate>>,
        subject: &Certificate,
    ) -> Vec<Arc<Certificate>> {
        let signed = |it: &Arc<Certificate>| it.key.signed(&subject.signed, self.algorithms);
        if candidates.len() > 1 && candidates.iter().any(signed) {
            candidates.retain(signed);
        }
        candidates
    }

    /// Why a chain that ends here is of no use.
    fn no_way(&self, chain: &[Arc<Certificate>], trusted: bool) -> Refusal {
        let Some(last) = chain.last() else { return Refusal::Unreadable };
        let store = self.store.shown_for(&last.issuer);
        let (at, issuer) = (last.subject.shown().to_owned(), last.issuer.shown().to_owned());
        match (trusted, last.is_self_signed(), chain.len()) {
            (true, _, _) => Refusal::NoRoot { at, store, issuer },
            (false, true, 2..) => Refusal::UntrustedRoot { at, store },
            (false, _, _) => Refusal::Unknown { store, issuer },
        }
    }

    /// Step 4, from the top down.
    fn signatures(&self, chain: &Chain, now: i64) -> Result<(), Refusal> {
        for (subject, issuer) in chain.pairs() {
            let at = || subject.subject.shown().to_owned();
            if let Some(issuer) = issuer
                && !issuer.key.signed(&subject.signed, self.algorithms)
            {
                return Err(Refusal::BadSignature { at: at() });
            }
            if subject.not_before > now {
                return Err(Refusal::NotYetValid { at: at(), not_before: subject.not_before, now });
            }
            if subject.not_after <= now {
                return Err(Refusal::Expired { at: at(), not_after: subject.not_after, now });
            }
        }
        Ok(())
    }

    /// Step 5.
    fn revocation(&self, chain: &Chain, now: i64) -> Result<(), Refusal> {
        let required = match self.store.revocation() {
            Revocation::Off => return Ok(()),
            Revocation::Required => true,
            Revocation::IfListed => false,
        };
        let (leaf, issuer) = (chain.leaf(), chain.issuer());
        let mut lists = self.store.lists_by(&leaf.issuer);
        lists.retain(|list| list.is_about(leaf, issuer));
        lists.sort_by_key(|list| {
            let good = (!list.unhandled_critical, list.covers(leaf), list.is_valid_at(now));
            (good, list.this_update)
        });
        let shown = || leaf.issuer.shown().to_owned();
        let Some(list) = lists.last() else {
            let store = self.store.shown().to_owned();
            let none = Refusal::NoRevocationList { store, issuer: shown() };
            return if required { Err(none) } else { Ok(()) };
        };
        let unusable = |problem| Refusal::UnusableRevocationList { issuer: shown(), problem };
        let usage = issuer.extensions.key_usage;
        let problem = if usage.is_some_and(|usage| !usage.crl_sign()) {
            Some("is by a key that is not for signing such lists")
        } else if !list.covers(leaf) {
            Some("is not about such certificates")
        } else if list.this_update > now {
            Some("is not yet valid")
        } else if !list.is_valid_at(now) {
            Some("has expired; put a new one in its place")
        } else if matches!(list.signed.scheme, Scheme::Weak(_))
            || !list.signed.consistent
            || !issuer.key.signed(&list.signed, self.algorithms)
        {
            Some("has a wrong signature, or one of a kind that is not supported")
        } else if list.unhandled_critical {
            Some("has a critical extension that is not understood")
        } else {
            None
        };
        match problem {
            Some(problem) if required => Err(unusable(problem)),
            Some(problem) if list.revokes(leaf) => Err(unusable(problem)),
            None if list.revokes(leaf) => Err(Refusal::Revoked { issuer: shown() }),
            Some(_) | None => Ok(()),
        }
    }
}

/// One that is valid now; if there is none, the one that was valid until last.
fn best(candidates: Vec<Arc<Certificate>>, now: i64) -> Option<Arc<Certificate>> {
    candidates.into_iter().max_by_key(|it| (it.is_valid_at(now), it.not_after))
}

impl Chain {
    pub(crate) fn leaf(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// The issuer of the leaf, which may be the leaf.
    pub(crate) fn issuer(&self) -> &Certificate {
        self.certificates.get(1).map_or(self.leaf(), |issuer| issuer)
    }

    /// Every certificate with the one that issued it, from the top; the first without.
    fn pairs(&self) -> impl Iterator<Item = (&Certificate, Option<&Certificate>)> {
        let count = self.certificates.len();
        (0..count).rev().map(|index| {
            (self.certificates[index].as_ref(), self.certificates.get(index + 1).map(|it| &**it))
        })
    }
}
