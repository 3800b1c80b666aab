//! Which hosts a certificate names, and whether one of them is the one that is wanted.
//!
//! As OpenSSL compares them for Python: a name of a host is looked for among the alternative names,
//! and among the common names only if there is none of its kind; an address among the alternative
//! names only, bit by bit. A star stands for one whole label, the first, with two or more labels behind
//! it. There are no other wildcards, and case counts for nothing.

use std::net::IpAddr;

use rustls_pki_types::ServerName;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::name::{shown, text};

/// The tag of a host's name among alternative names.
const DNS: u32 = 2;

/// The hosts that a certificate names.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostNames {
    /// Alternative names, also such that no host can have.
    dns: Vec<Vec<u8>>,
    /// Four bytes or sixteen, or something else.
    addresses: Vec<Vec<u8>>,
    common: Vec<Vec<u8>>,
}

impl HostNames {
    pub(crate) fn new(parsed: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        for entry in parsed.subject().iter_common_name() {
            names.common.extend(text(entry.attr_value()));
        }
        for extension in parsed.extensions() {
            if let ParsedExtension::SubjectAlternativeName(alternative) =
                extension.parsed_extension()
            {
                alternative.general_names.iter().for_each(|name| names.read(name));
            }
        }
        names
    }

    fn read(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push(name.as_bytes().to_vec()),
            GeneralName::Invalid(tag, bytes) if tag.0 == DNS => self.dns.push(bytes.to_vec()),
            GeneralName::IPAddress(address) => self.addresses.push(address.to_vec()),
            _ => {}
        }
    }

    /// Whether the certificate is one of this host.
    pub(crate) fn include(&self, host: &ServerName<'_>) -> bool {
        match host {
            ServerName::DnsName(name) => {
                let names = if self.dns.is_empty() { &self.common } else { &self.dns };
                names.iter().any(|pattern| fits(pattern, name.as_ref().as_bytes()))
            }
            ServerName::IpAddress(address) => {
                let wanted = match IpAddr::from(*address) {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                self.addresses.contains(&wanted)
            }
            _ => false,
        }
    }

    /// The names for a log.
    pub(crate) fn shown(&self) -> String {
        let names = if self.dns.is_empty() { &self.common } else { &self.dns };
        let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned());
        let all: Vec<String> = names.chain(self.addresses.iter().map(|it| address(it))).collect();
        if all.is_empty() { "no host".to_owned() } else { shown(&all.join(", ")) }
    }
}

fn address(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(four).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(sixteen).to_string()
    } else {
        "an address that is none".to_owned()
    }
}

/// Whether a name in a certificate, which may begin with a star, stands for a host.
fn fits(pattern: &[u8], host: &[u8]) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(suffix) = pattern.strip_prefix(b"*").filter(|suffix| is_domain(suffix)) else {
        return false;
    };
    let Some(label) = host.len().checked_sub(suffix.len()).filter(|length| *length > 0) else {
        return false;
    };
    let (label, rest) = host.split_at(label);
    rest.eq_ignore_ascii_case(suffix)
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Whether this is a dot and a domain with another dot in it, of labels that begin with a letter or
/// a digit, and do not end with a hyphen.
fn is_domain(suffix: &[u8]) -> bool {
    let mut labels = suffix.split(|byte| *byte == b'.');
    let starts_with_dot = labels.next().is_some_and(<[u8]>::is_empty);
    let labels: Vec<&[u8]> = labels.collect();
    let good = |label: &&[u8]| {
        label.first().is_some_and(u8::is_ascii_alphanumeric)
            && label.last() != Some(&b'-')
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    starts_with_dot && labels.len() >= 2 && labels.iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_whole_label() {
        let cases = [
            ("zeo.example.org", "ZEO.example.org", true),
            ("zeo.example.org", "zeo.example.org.", false),
            ("*.example.org", "zeo.Example.org", true),
            ("*.example.org", "xn--zo-9ka.example.org", true),
            ("*.xn--bcher-kva.example", "a.xn--bcher-kva.example", true),
            ("*.xn---a.example", "a.xn---a.example", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "a.zeo.example.org", false),
            ("*.example.org", "a_b.example.org", false),
            ("*.org", "example.org", false),
            ("*", "example", false),
            ("z*.example.org", "zeo.example.org", false),
            ("*o.example.org", "zeo.example.org", false),
            ("a.*.example.org", "a.zeo.example.org", false),
            ("*.*.example.org", "a.zeo.example.org", false),
            ("*.example-.org", "a.example-.org", false),
            ("*.-example.org", "a.-example.org", false),
            ("*.example.org.", "a.example.org.", false),
            ("*..org", "a..org", false),
        ];
        for (pattern, host, expected) in cases {
            let fits = fits(pattern.as_bytes(), host.as_bytes());
            assert_eq!(fits, expected, "{pattern} {host}");
        }
    }
}
