//! What rzeo itself reads of a certificate: what it shows in messages, and whether a trusted
//! certificate is an authority's.
//!
//! Certificate paths, signatures and host names are verified by webpki. x509-parser is used for
//! what webpki does not tell: names as text, the validity of trusted certificates, and the
//! extensions that distinguish an authority from a client whose own certificate is trusted.

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::oid_registry;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{X509Name, X509Version};

use crate::refusal::Peer;

/// Maximum characters shown of a name, which is the peer's text.
const SHOWN_CHARS_MAX: usize = 200;

/// Bytes that are not an X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate")]
pub(crate) struct NotACertificate;

/// A certificate, with what rzeo reads of it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) subject: DistinguishedName,
    pub(crate) issuer: DistinguishedName,
    /// In seconds since 1970.
    pub(crate) not_before: i64,
    /// In seconds since 1970.
    pub(crate) not_after: i64,
    /// Why the certificate cannot issue others, if it cannot.
    pub(crate) not_an_authority: Option<&'static str>,
    /// Maximum number of authorities below it.
    pub(crate) path_length: Option<u32>,
    purposes: Option<Purposes>,
    dns_names: Vec<String>,
    addresses: Vec<String>,
    common_names: Vec<String>,
}

/// A distinguished name: its encoding, by which names are compared, and its text for messages.
#[derive(Clone, Debug)]
pub(crate) struct DistinguishedName {
    encoded: Vec<u8>,
    text: String,
}

/// The uses that an extended key usage extension allows, as far as TLS is concerned.
#[derive(Clone, Copy, Debug)]
struct Purposes {
    client: bool,
    server: bool,
}

impl Certificate {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, NotACertificate> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
        if !rest.is_empty() {
            return Err(NotACertificate);
        }
        let validity = parsed.validity();
        let usage = parsed.extended_key_usage().map_err(|_| NotACertificate)?;
        let constraints = parsed.basic_constraints().map_err(|_| NotACertificate)?;
        let mut certificate = Self {
            der: CertificateDer::from(der.to_vec()),
            subject: DistinguishedName::new(parsed.subject()),
            issuer: DistinguishedName::new(parsed.issuer()),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            not_an_authority: why_not_an_authority(&parsed),
            path_length: constraints.and_then(|it| it.value.path_len_constraint),
            purposes: usage.map(|usage| Purposes {
                client: usage.value.client_auth,
                server: usage.value.server_auth,
            }),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            common_names: Vec::new(),
        };
        certificate.read_names(&parsed)?;
        Ok(certificate)
    }

    fn read_names(&mut self, parsed: &X509Certificate<'_>) -> Result<(), NotACertificate> {
        let common_names = parsed.subject().iter_common_name();
        self.common_names =
            common_names.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
        let alternative = parsed.subject_alternative_name().map_err(|_| NotACertificate)?;
        for name in alternative.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(address) => self.addresses.extend(address_text(address)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The certificate as a trust anchor for certificates of such peers, if it can be one.
    pub(crate) fn anchor(&self, peer: Peer) -> Option<TrustAnchor<'static>> {
        if self.not_an_authority.is_some() || !self.is_for(peer) {
            return None;
        }
        webpki::anchor_from_trusted_cert(&self.der).ok().map(|anchor| anchor.to_owned())
    }

    pub(crate) fn is_valid_at(&self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&seconds(now))
    }

    /// Whether the extended key usage allows such a peer. Without the extension, all uses are
    /// allowed.
    pub(crate) fn is_for(&self, peer: Peer) -> bool {
        self.purposes.is_none_or(|purposes| match peer {
            Peer::Client => purposes.client,
            Peer::Server => purposes.server,
        })
    }

    /// Whether the common name is this host's, in a certificate without alternative names of hosts.
    pub(crate) fn has_common_name(&self, host: &ServerName<'_>) -> bool {
        let ServerName::DnsName(host) = host else { return false };
        let is_host = |name: &String| name.eq_ignore_ascii_case(host.as_ref());
        self.dns_names.is_empty() && self.common_names.iter().any(is_host)
    }

    /// The host names and addresses for a message.
    pub(crate) fn hosts_text(&self) -> String {
        let named = !self.dns_names.is_empty() || !self.addresses.is_empty();
        let all: Vec<&str> = self.dns_names.iter().chain(&self.addresses).map(|it| &**it).collect();
        match self.common_names.first() {
            _ if named => printable(&all.join(", ")),
            Some(name) => format!("no host (only the common name {})", printable(name)),
            None => "no host".to_owned(),
        }
    }
}

impl DistinguishedName {
    fn new(name: &X509Name<'_>) -> Self {
        let text = name.to_string_with_registry(oid_registry());
        let text = text.map_or("(a name in an old encoding)".to_owned(), |text| printable(&text));
        Self { encoded: name.as_raw().to_vec(), text }
    }

    /// The name for a message: bounded, and without control characters.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// As webpki compares names: byte by byte.
impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

/// Why a certificate cannot issue others. webpki leaves this check of trust anchors to its caller.
/// Without it, every client whose own certificate is trusted could issue certificates for others.
fn why_not_an_authority(parsed: &X509Certificate<'_>) -> Option<&'static str> {
    let constraints = parsed.basic_constraints().ok().flatten();
    let usage = parsed.key_usage().ok().flatten();
    if parsed.version() != X509Version::V3 {
        Some("its X.509 version is not 3")
    } else if !constraints.is_some_and(|constraints| constraints.value.ca) {
        Some("it has no basic constraints with CA:TRUE")
    } else if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
        Some("it has no key usage with keyCertSign")
    } else {
        None
    }
}

fn address_text(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// A peer's text for a message: one line of bounded length.
pub(crate) fn printable(text: &str) -> String {
    if text.is_empty() {
        return "(no name)".to_owned();
    }
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Seconds since 1970, as certificates count them.
pub(crate) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Damaged certificates are read or refused, without a panic.
    #[test]
    fn any_byte_may_be_wrong() {
        for text in [
            include_str!("../tests/samples/self_signed.pem"),
            include_str!("../tests/samples/version_1.pem"),
            include_str!("../tests/samples/authority.pem"),
            include_str!("../tests/samples/hashed/a82b9efe.0"),
        ] {
            let good = pem::parse(text).expect("a sample").into_contents();
            Certificate::from_der(&good).expect("a good certificate");
            for cut in 0..good.len() {
                assert!(Certificate::from_der(&good[..cut]).is_err(), "cut at {cut}");
            }
            for (index, value) in (0..good.len()).flat_map(|index| {
                [0, 1, 5, 0x30, 0x7f, 0x80, 0x84, 0xff].map(|value| (index, value))
            }) {
                let mut bad = good.clone();
                bad[index] = value;
                if let Ok(bad) = Certificate::from_der(&bad) {
                    let _ = (bad.anchor(Peer::Client), bad.hosts_text());
                }
            }
        }
    }

    #[test]
    fn a_message_has_one_line_of_bounded_length() {
        assert_eq!(printable(""), "(no name)");
        assert_eq!(printable("a\nb"), "a\u{fffd}b");
        assert_eq!(printable(&"ä".repeat(300)).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
