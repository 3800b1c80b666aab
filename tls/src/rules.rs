//! What certificates of a chain have to be like: OpenSSL's rules, strict, for TLS.

use rustls_pki_types::{SignatureVerificationAlgorithm, UnixTime};

use crate::certificate::{Certificate, KeyKind, Scheme};
use crate::chain::Chain;
use crate::refusal::{Peer, Refusal};

/// Extensions, purpose and path lengths of all certificates.
pub(crate) fn extensions(chain: &Chain, peer: Peer) -> Result<(), Refusal> {
    let count = chain.certificates.len();
    // Authorities below the one that is looked at, without those that only renewed a key.
    let mut below = 0_u32;
    for (depth, certificate) in chain.certificates.iter().enumerate() {
        let at = || certificate.subject.shown().to_owned();
        let extensions = &certificate.extensions;
        if extensions.unhandled_critical {
            return Err(Refusal::UnhandledCritical { at: at() });
        }
        if extensions.invalid {
            return Err(Refusal::BadExtension { at: at() });
        }
        match authority(certificate) {
            Authority::Certainly => {}
            Authority::No if depth == 0 => {}
            Authority::No | Authority::OldStyle => {
                return Err(Refusal::NotAnAuthority { at: at() });
            }
        }
        if count > 1 {
            let broken = strict(certificate, depth + 1 == count);
            broken.map_or(Ok(()), |rule| Err(Refusal::Strict { at: at(), rule }))?;
        }
        if !fits_purpose(certificate, depth > 0, peer) {
            return Err(Refusal::WrongPurpose { at: at(), peer });
        }
        let limit = extensions.basic_constraints.and_then(|constraints| constraints.path_length);
        if depth > 1 && limit.is_some_and(|limit| below > limit) {
            return Err(Refusal::PathTooLong { at: at() });
        }
        if depth > 0 && !certificate.is_self_issued() {
            below += 1;
        }
    }
    Ok(())
}

/// Whether a certificate is one of an authority.
enum Authority {
    Certainly,
    /// By hints from before basic constraints.
    OldStyle,
    No,
}

fn authority(certificate: &Certificate) -> Authority {
    let extensions = &certificate.extensions;
    if extensions.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return Authority::No;
    }
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca => Authority::Certainly,
        Some(_) => Authority::No,
        None if certificate.is_version_1 && certificate.is_self_signed() => Authority::OldStyle,
        None if extensions.key_usage.is_some() => Authority::OldStyle,
        None if extensions.netscape_type.is_some_and(|kind| kind.any_ca) => Authority::OldStyle,
        None => Authority::No,
    }
}

fn fits_purpose(certificate: &Certificate, is_authority: bool, peer: Peer) -> bool {
    let extensions = &certificate.extensions;
    let is_server = peer == Peer::Server;
    let named = extensions
        .extended_usage
        .is_none_or(|usage| if is_server { usage.server } else { usage.client });
    if is_authority || !named {
        return named;
    }
    let usage = extensions.key_usage.is_none_or(|usage| {
        let signs = usage.digital_signature() || usage.key_agreement();
        signs || is_server && usage.key_encipherment()
    });
    let netscape = extensions.netscape_type;
    usage && netscape.is_none_or(|kind| if is_server { kind.server } else { kind.client })
}

/// Whether the key may sign a handshake of TLS 1.2, where OpenSSL asks that of servers' elliptic
/// curves; in TLS 1.3 it does not.
pub(crate) fn may_sign_tls12(certificate: &Certificate) -> bool {
    let signs = certificate.extensions.key_usage.is_none_or(|usage| usage.digital_signature());
    signs || matches!(certificate.key.kind, KeyKind::Rsa(_) | KeyKind::RsaPss(_))
}

/// The rule of RFC 5280 that a certificate in a chain of several breaks, if any.
fn strict(certificate: &Certificate, is_last: bool) -> Option<&'static str> {
    let extensions = &certificate.extensions;
    let is_ca = certificate.is_ca();
    let has_usage = extensions.key_usage.is_some();
    let cert_sign = extensions.key_usage.is_some_and(|usage| usage.key_cert_sign());
    let crl_sign = extensions.key_usage.is_some_and(|usage| usage.crl_sign());
    let constraints = extensions.basic_constraints;
    let limited = constraints.is_some_and(|constraints| constraints.path_length.is_some());
    let no_subject = certificate.subject.is_empty();
    let alt_name = extensions.alt_name;
    let key_id = extensions.authority.as_ref().and_then(|authority| authority.key_id.as_ref());
    let broken = [
        (limited && !is_ca, "a path length in a certificate that is not an authority's"),
        (limited && !cert_sign, "a path length without the key usage keyCertSign"),
        (
            is_ca && constraints.is_some_and(|constraints| !constraints.critical),
            "an authority's basic constraints have to be critical",
        ),
        (is_ca && !has_usage, "an authority needs a key usage"),
        (
            !is_ca && cert_sign,
            "the key usage keyCertSign in a certificate that is not an authority's",
        ),
        (certificate.issuer.is_empty(), "the issuer has to have a name"),
        (no_subject && (is_ca || crl_sign || alt_name.is_none()), "the subject has to have a name"),
        (
            no_subject && alt_name.is_some_and(|names| !names.critical),
            "alternative names in the place of a subject have to be critical",
        ),
        (alt_name.is_some_and(|names| names.empty), "alternative names without a name"),
        (!certificate.signed.consistent, "two different signature algorithms"),
        (
            certificate.is_version_3 && !is_last && key_id.is_none(),
            "what was issued needs an authority key identifier",
        ),
        (
            certificate.is_version_3 && is_ca && extensions.subject_key_id.is_none(),
            "an authority needs a subject key identifier",
        ),
        (!certificate.is_version_3 && extensions.any, "extensions need version 3"),
    ];
    broken.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule)
}

/// Keys of all, and hashes of all but the trusted end.
pub(crate) fn strength(chain: &Chain) -> Result<(), Refusal> {
    let last = chain.certificates.len() - 1;
    for (depth, certificate) in chain.certificates.iter().enumerate() {
        let at = || certificate.subject.shown().to_owned();
        if !certificate.key.kind.is_strong_enough() {
            return Err(Refusal::WeakKey { at: at() });
        }
        if depth < last && matches!(certificate.signed.scheme, Scheme::Weak(_)) {
            return Err(Refusal::WeakSignature { at: at() });
        }
    }
    Ok(())
}

/// Names that authorities may give. Rare, and webpki knows the rules; it has to take the whole chain.
pub(crate) fn name_constraints(
    chain: &Chain,
    algorithms: &[&'static dyn SignatureVerificationAlgorithm],
    now: UnixTime,
    peer: Peer,
) -> Result<(), Refusal> {
    let authorities = chain.certificates.get(1..).unwrap_or_default();
    let Some((root, between)) = authorities.split_last() else { return Ok(()) };
    if !authorities.iter().any(|it| it.extensions.name_constraints) {
        return Ok(());
    }
    let leaf = chain.leaf();
    // A name of a host in the subject would have to be looked at too, which webpki does not.
    let has_dns = leaf.extensions.alt_name.is_some_and(|names| names.dns);
    if !has_dns && leaf.subject.has_dot() {
        return Err(Refusal::NameConstraints);
    }
    let anchor = webpki::anchor_from_trusted_cert(&root.der);
    let entity = webpki::EndEntityCert::try_from(&leaf.der);
    let (Ok(anchor), Ok(entity)) = (anchor, entity) else { return Err(Refusal::NameConstraints) };
    let between: Vec<_> = between.iter().map(|it| it.der.clone()).collect();
    let usage = match peer {
        Peer::Client => webpki::KeyUsage::client_auth(),
        Peer::Server => webpki::KeyUsage::server_auth(),
    };
    entity
        .verify_for_usage(algorithms, &[anchor], &between, now, usage, None, None)
        .map(|_| ())
        .map_err(|_| Refusal::NameConstraints)
}
