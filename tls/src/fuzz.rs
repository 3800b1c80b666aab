//! The target of the fuzzer: PEM files, and certificates that a peer sends before it is known.

use std::path::Path;
use std::time::Duration;

use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::OwnedCertRevocationList;

use crate::certificate::{Certificate, seconds};
use crate::key;
use crate::path::{Accepted, PathVerifier};
use crate::pem_file::{Block, PemFile};
use crate::pin::Pin;
use crate::refusal::Peer;
use crate::trust::TrustStore;

/// The mark between two parts of an input (as in `rzeo_fixtures::fuzz`).
const MARK: [u8; 2] = [0xfe, 0xed];

/// Reads PEM files and certificates, and verifies the latter. The first byte chooses the role of
/// the peer and the time, the next part is a PEM file of trusted certificates, all others are the
/// certificates that the peer sends.
///
/// # Panics
/// If a certificate is accepted that cannot be.
pub fn certificates(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let mut parts = parts(rest).into_iter();
    let file = PemFile::parse(Path::new("trusted.pem"), parts.next().unwrap_or_default());
    if let Ok(file) = &file {
        read_blocks(file);
    }
    let sent: Vec<_> = parts.map(CertificateDer::from).collect();
    let lists = sent.iter().filter_map(|der| OwnedCertRevocationList::from_der(der).ok());
    assert!(lists.count() <= sent.len());
    let Some((leaf, along)) = sent.split_first() else { return };
    let peer = if choice & 1 == 0 { Peer::Client } else { Peer::Server };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(
        [1_767_225_600, 0, 4_000_000_000, u64::MAX][usize::from(choice >> 1) % 4],
    ));
    let none = TrustStore::open(None, peer).expect("there is nothing to be read");
    assert!(verify(none, leaf, along, now).is_none(), "accepted by an empty store");
    let store = file.ok().and_then(|file| TrustStore::of_file(&file, peer).ok());
    let Some(store) = store else { return };
    let has_authorities = !store.current().anchors.is_empty();
    let Some(accepted) = verify(store, leaf, along, now) else { return };
    let certificate = accepted.certificate();
    let validity = certificate.not_before..=certificate.not_after;
    assert!(validity.contains(&seconds(now)), "accepted outside of its validity");
    assert_eq!(certificate.der.as_ref(), leaf.as_ref(), "another certificate was accepted");
    assert!(certificate.is_for(peer), "accepted for another purpose");
    if let Accepted::Issued(_) = accepted {
        assert!(has_authorities, "issued without an authority");
    }
}

fn verify(
    store: TrustStore,
    leaf: &CertificateDer<'_>,
    along: &[CertificateDer<'_>],
    now: UnixTime,
) -> Option<Accepted> {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let accepted = PathVerifier { store, algorithms }.verify(leaf, along, now);
    if let Err(refused) = &accepted {
        // It goes to a log, as one line.
        let text = refused.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
    }
    accepted.ok()
}

/// Reads all blocks of a file.
fn read_blocks(file: &PemFile) {
    for block in file.blocks() {
        match block {
            Block::Certificate(der) => {
                let Ok(certificate) = Certificate::from_der(der) else { continue };
                assert_eq!(certificate.der.as_ref(), der);
                let host = ServerName::try_from("db.example.org").expect("it is a name");
                let _ = certificate.has_common_name(&host);
                assert!(!certificate.hosts_text().contains('\n'));
                let pin = Pin::of(der);
                assert_eq!(pin.to_string().parse(), Ok(pin), "a pin changes when it is read");
            }
            Block::RevocationList(der) => _ = OwnedCertRevocationList::from_der(der),
            Block::TrustedCertificate | Block::Key(_) => {}
        }
    }
    let _ = key::load(file, None);
}

fn parts(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(MARK.len()).position(|two| two == MARK) {
        parts.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
