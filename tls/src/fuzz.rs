//! What the fuzzer calls: certificates, lists and keys of anything. A peer sends certificates before anybody
//! knows who it is.

use std::path::Path;

use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::asn1_rs::nom::AsBytes as _;

use crate::certificate::Certificate;
use crate::chain::Judge;
use crate::crl::RevocationList;
use crate::key;
use crate::pem_file::{Block, PemFile};
use crate::pin::Pin;
use crate::refusal::Peer;
use crate::store::TrustStore;

/// What stands between two parts of an input (as in `rzeo_fixtures::fuzz`).
const MARK: [u8; 2] = [0xfe, 0xed];

/// Reads PEM files and certificates, and judges the latter. The first byte chooses what is judged when, the
/// next part is a PEM file of what is trusted, all others are the certificates that a peer sends.
///
/// # Panics
/// If somebody is trusted who cannot be.
pub fn certificates(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let mut parts = parts(rest).into_iter();
    let file = PemFile::parse(Path::new("trusted.pem"), parts.next().unwrap_or_default());
    if let Ok(file) = &file {
        look_into(file);
    }
    let sent: Vec<_> = parts.map(CertificateDer::from).collect();
    let lists = sent.iter().filter_map(|der| RevocationList::from_der(der).ok());
    assert!(lists.count() <= sent.len());
    let Some((leaf, along)) = sent.split_first() else { return };
    let peer = if choice & 1 == 0 { Peer::Client } else { Peer::Server };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        [1_767_225_600, 0, 4_000_000_000, u64::MAX][usize::from(choice >> 1) % 4],
    ));
    let none = TrustStore::open(None).expect("there is nothing to be read");
    assert!(judge(none, peer, leaf, along, now).is_none(), "somebody is trusted by nobody");
    let Some(store) = file.ok().and_then(|file| TrustStore::of_file(&file).ok()) else { return };
    if let Some(judged) = judge(store, peer, leaf, along, now) {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        assert!((judged.not_before..=judged.not_after).contains(&seconds), "its time is over");
        assert_eq!(judged.der.as_bytes(), leaf.as_bytes(), "another one was judged");
    }
}

fn judge(
    store: TrustStore,
    peer: Peer,
    leaf: &CertificateDer<'_>,
    along: &[CertificateDer<'_>],
    now: UnixTime,
) -> Option<std::sync::Arc<Certificate>> {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let judged = Judge { store, peer, algorithms }.judge(leaf, along, now);
    if let Err(refused) = &judged {
        // It goes to a log: one line that says something.
        let text = refused.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
    }
    judged.ok()
}

/// Reads whatever blocks there are.
fn look_into(file: &PemFile) {
    for block in file.blocks() {
        match block {
            Block::Certificate(der) => {
                let Ok(certificate) = Certificate::from_der(der) else { continue };
                assert_eq!(certificate.der.as_bytes(), der);
                let host = ServerName::try_from("db.example.org").expect("it is a name");
                let _ = certificate.hosts.include(&host);
                assert!(!certificate.hosts.shown().contains('\n'));
                let pin = Pin::of(der);
                assert_eq!(
                    pin.to_string().parse(),
                    Ok(pin),
                    "a pin is read otherwise than written"
                );
            }
            Block::RevocationList(der) => _ = RevocationList::from_der(der),
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
