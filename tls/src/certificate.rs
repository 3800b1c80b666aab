//! A certificate as it is needed to decide about a chain.
//!
//! The bytes are taken apart once; what is odd is remembered rather than refused, because OpenSSL
//! takes many an odd certificate. Only what is no certificate at all is an error here.

use std::collections::HashSet;

use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, SignatureVerificationAlgorithm};
use x509_parser::asn1_rs::{Any, FromDer, Oid, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    AuthorityKeyIdentifier, DistributionPointName, GeneralName, KeyUsage, ParsedExtension,
};
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::host::HostNames;
use crate::name::Name;

/// Bytes that are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate")]
pub(crate) struct NoCertificate;

/// A certificate.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) is_version_3: bool,
    pub(crate) is_version_1: bool,
    pub(crate) key: PublicKey,
    pub(crate) signed: Signed,
    pub(crate) extensions: Extensions,
    pub(crate) hosts: HostNames,
}

/// The public key.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    pub(crate) spki: Vec<u8>,
    /// The inside of the algorithm identifier.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) bits: Vec<u8>,
    pub(crate) kind: KeyKind,
}

/// What kind of key, and how strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA, for any padding, with the bits of the modulus.
    Rsa(usize),
    /// RSA for PSS only.
    RsaPss(usize),
    /// An elliptic curve for ECDSA, with the bits of its order.
    Ec(usize),
    /// Ed25519 or Ed448.
    Edwards,
    /// Another kind.
    Other,
}

/// What is signed, and the signature.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) message: Vec<u8>,
    /// The inside of the algorithm identifier.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// The algorithm is the same inside and outside.
    pub(crate) consistent: bool,
    pub(crate) scheme: Scheme,
}

/// The kind of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// By an RSA key.
    Rsa,
    /// By an RSA key, with PSS padding.
    RsaPss,
    /// By an elliptic curve's key.
    Ecdsa,
    /// Ed25519 or Ed448.
    Edwards,
    /// By an RSA or elliptic curve key, over a hash that is not collision-resistant.
    Weak(KeyFamily),
    /// Another kind.
    Other,
}

/// The family of keys that can make a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFamily {
    /// RSA.
    Rsa,
    /// Elliptic curves.
    Ec,
}

/// What the extensions say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) any: bool,
    /// One that OpenSSL looks at cannot be read, or is there twice.
    pub(crate) invalid: bool,
    /// A critical one that nobody here understands.
    pub(crate) unhandled_critical: bool,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_usage: Option<ExtendedUsage>,
    pub(crate) netscape_type: Option<NetscapeType>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority: Option<Authority>,
    pub(crate) alt_name: Option<AltName>,
    pub(crate) name_constraints: bool,
    pub(crate) crl_points: Vec<Vec<String>>,
}

/// The basic constraints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BasicConstraints {
    pub(crate) ca: bool,
    pub(crate) path_length: Option<u32>,
    pub(crate) critical: bool,
}

/// Whom the extended key usage names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtendedUsage {
    pub(crate) client: bool,
    pub(crate) server: bool,
}

/// The old Netscape extension for a certificate's purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetscapeType {
    pub(crate) client: bool,
    pub(crate) server: bool,
    pub(crate) any_ca: bool,
}

/// The other names of a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AltName {
    pub(crate) critical: bool,
    pub(crate) empty: bool,
    pub(crate) dns: bool,
}

/// How a certificate or a list names its issuer's key.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) key_id: Option<Vec<u8>>,
    serial: Option<Vec<u8>>,
    issuer: Option<Name>,
}

impl Authority {
    pub(crate) fn new(parsed: &AuthorityKeyIdentifier<'_>) -> Self {
        let names = parsed.authority_cert_issuer.iter().flatten();
        let issuer = names
            .filter_map(|name| match name {
                GeneralName::DirectoryName(name) => Some(Name::new(name)),
                _ => None,
            })
            .next();
        Self {
            key_id: parsed.key_identifier.as_ref().map(|id| id.0.to_vec()),
            serial: parsed.authority_cert_serial.map(<[u8]>::to_vec),
            issuer,
        }
    }

    /// Whether it may be this issuer; what either side does not say does not count.
    pub(crate) fn fits(&self, issuer: &Certificate) -> bool {
        let key = match (&self.key_id, &issuer.extensions.subject_key_id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        key && self.serial.as_ref().is_none_or(|serial| *serial == issuer.serial)
            && self.issuer.as_ref().is_none_or(|name| *name == issuer.issuer)
    }
}

impl Certificate {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, NoCertificate> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        if !rest.is_empty() {
            return Err(NoCertificate);
        }
        let tbs = &parsed.tbs_certificate;
        let signature = &parsed.signature_algorithm;
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            issuer: Name::new(&tbs.issuer),
            subject: Name::new(&tbs.subject),
            serial: tbs.raw_serial().to_vec(),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            is_version_3: tbs.version.0 >= 2,
            is_version_1: tbs.version.0 == 0,
            key: PublicKey::new(&tbs.subject_pki).ok_or(NoCertificate)?,
            signed: Signed {
                message: tbs.as_ref().to_vec(),
                algorithm: outer_algorithm(der).ok_or(NoCertificate)?,
                signature: parsed.signature_value.data.to_vec(),
                consistent: tbs.signature == *signature,
                scheme: Scheme::of(&signature.algorithm),
            },
            extensions: Extensions::new(&parsed),
            hosts: HostNames::new(&parsed),
        })
    }

    pub(crate) fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it names itself as its issuer. The signature is not looked at.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.may_have_issued(self)
    }

    /// Whether names, key identifiers and kinds of key allow that this one issued the other.
    pub(crate) fn may_have_issued(&self, subject: &Self) -> bool {
        self.subject == subject.issuer
            && !self.extensions.invalid
            && !subject.extensions.invalid
            && subject.extensions.authority.as_ref().is_none_or(|authority| authority.fits(self))
            && subject.signed.scheme.fits(self.key.kind)
    }

    pub(crate) fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

impl PublicKey {
    fn new(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let (_, sequence) = Any::from_der(spki.raw).ok()?;
        let (_, algorithm) = Any::from_der(sequence.data).ok()?;
        Some(Self {
            spki: spki.raw.to_vec(),
            algorithm: algorithm.data.to_vec(),
            bits: spki.subject_public_key.data.to_vec(),
            kind: KeyKind::of(spki),
        })
    }

    /// Whether a signature over a message is this key's.
    pub(crate) fn signed(
        &self,
        signed: &Signed,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
    ) -> bool {
        algorithms
            .iter()
            .filter(|algorithm| same(&algorithm.signature_alg_id(), &signed.algorithm))
            .filter(|algorithm| same(&algorithm.public_key_alg_id(), &self.algorithm))
            .any(|algorithm| {
                algorithm.verify_signature(&self.bits, &signed.message, &signed.signature).is_ok()
            })
    }
}

/// Whether an algorithm identifier has this inside.
pub(crate) fn same(identifier: &AlgorithmIdentifier, inside: &[u8]) -> bool {
    identifier.as_ref() == inside
}

/// The inside of the algorithm identifier of a certificate or list.
pub(crate) fn outer_algorithm(der: &[u8]) -> Option<Vec<u8>> {
    let (_, sequence) = Any::from_der(der).ok()?;
    let (rest, _to_be_signed) = Any::from_der(sequence.data).ok()?;
    let (_, algorithm) = Any::from_der(rest).ok()?;
    Some(algorithm.data.to_vec())
}

impl KeyKind {
    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &spki.algorithm.algorithm;
        if *algorithm == oid!(1.3.101.112) || *algorithm == oid!(1.3.101.113) {
            return Self::Edwards;
        }
        match spki.parsed() {
            Ok(ParsedKey::RSA(key)) if *algorithm == oid!(1.2.840.113549.1.1.10) => {
                Self::RsaPss(bits(key.modulus))
            }
            Ok(ParsedKey::RSA(key)) => Self::Rsa(bits(key.modulus)),
            // The curves that are not of full bytes (P-521) are far above any limit.
            Ok(ParsedKey::EC(point)) => Self::Ec(point.key_size()),
            _ if *algorithm == oid!(1.2.840.113549.1.1.10) => {
                pss_modulus(spki).map_or(Self::Other, Self::RsaPss)
            }
            _ => Self::Other,
        }
    }

    /// The strength in bits, as NIST and OpenSSL count it, up to what matters here.
    pub(crate) fn is_strong_enough(self) -> bool {
        match self {
            Self::Rsa(bits) | Self::RsaPss(bits) => bits >= 2048,
            Self::Ec(bits) => bits >= 224,
            Self::Edwards => true,
            Self::Other => false,
        }
    }
}

/// The bits of the modulus of a key for PSS only.
fn pss_modulus(spki: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let (_, sequence) = Any::from_der(&spki.subject_public_key.data).ok()?;
    let (_, modulus) = Any::from_der(sequence.data).ok()?;
    Some(bits(modulus.data))
}

/// The bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
    let zeros = digits.first().map_or(0, |byte| byte.leading_zeros());
    digits.len() * 8 - usize::try_from(zeros).unwrap_or(0)
}

impl Scheme {
    pub(crate) fn of(algorithm: &Oid<'_>) -> Self {
        let pkcs1 = |last| *algorithm == oid!(1.2.840.113549.1.1).child(last);
        if pkcs1(10) {
            Self::RsaPss
        } else if (11..=14).any(pkcs1) {
            Self::Rsa
        } else if (2..=5).any(pkcs1) || *algorithm == oid!(1.3.14.3.2.29) {
            Self::Weak(KeyFamily::Rsa)
        } else if *algorithm == oid!(1.2.840.10045.4.1) {
            Self::Weak(KeyFamily::Ec)
        } else if algorithm.starts_with(&oid!(1.2.840.10045.4.3)) {
            Self::Ecdsa
        } else if *algorithm == oid!(1.3.101.112) || *algorithm == oid!(1.3.101.113) {
            Self::Edwards
        } else {
            Self::Other
        }
    }

    /// Whether a key of this kind makes such signatures.
    fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::Rsa | Self::Weak(KeyFamily::Rsa) => matches!(kind, KeyKind::Rsa(_)),
            Self::RsaPss => matches!(kind, KeyKind::Rsa(_) | KeyKind::RsaPss(_)),
            Self::Ecdsa | Self::Weak(KeyFamily::Ec) => matches!(kind, KeyKind::Ec(_)),
            Self::Edwards => matches!(kind, KeyKind::Edwards),
            Self::Other => false,
        }
    }
}

trait Child {
    fn child(&self, last: u8) -> Oid<'static>;
}

impl Child for Oid<'_> {
    fn child(&self, last: u8) -> Oid<'static> {
        let mut bytes = self.as_bytes().to_vec();
        bytes.push(last);
        Oid::new(bytes.into())
    }
}

impl Extensions {
    fn new(parsed: &X509Certificate<'_>) -> Self {
        let mut extensions = Self::default();
        let mut seen = HashSet::new();
        for extension in parsed.extensions() {
            extensions.any = true;
            extensions.invalid |= !seen.insert(extension.oid.clone());
            extensions.unhandled_critical |= extension.critical && !is_understood(&extension.oid);
            extensions.read(extension.parsed_extension(), extension.critical);
            extensions.invalid |= is_refused(&extension.oid);
        }
        extensions
    }

    fn read(&mut self, extension: &ParsedExtension<'_>, critical: bool) {
        match extension {
            ParsedExtension::BasicConstraints(it) => {
                self.basic_constraints = Some(BasicConstraints {
                    ca: it.ca,
                    path_length: it.path_len_constraint,
                    critical,
                });
            }
            ParsedExtension::KeyUsage(usage) => {
                self.invalid |= usage.flags == 0;
                self.key_usage = Some(*usage);
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_usage = Some(ExtendedUsage {
                    client: usage.client_auth,
                    server: usage.server_auth || usage.other.iter().any(is_gated_cryptography),
                });
            }
            ParsedExtension::NSCertType(kind) => {
                self.netscape_type = Some(NetscapeType {
                    client: kind.ssl_client(),
                    server: kind.ssl_server(),
                    any_ca: kind.ssl_ca() || kind.smime_ca() || kind.object_signing_ca(),
                });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority = Some(Authority::new(id))
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let names = &names.general_names;
                let dns = names.iter().any(|name| matches!(name, GeneralName::DNSName(_)));
                self.alt_name = Some(AltName { critical, empty: names.is_empty(), dns });
            }
            ParsedExtension::NameConstraints(_) => self.name_constraints = true,
            ParsedExtension::CRLDistributionPoints(points) => {
                // A point of another issuer, or for some reasons only, is none for the lists read here.
                self.crl_points = (points.points.iter())
                    .filter(|point| point.crl_issuer.is_none() && point.reasons.is_none())
                    .filter_map(|point| point.distribution_point.as_ref().map(point_names))
                    .collect();
            }
            ParsedExtension::ParseError { .. } => self.invalid = true,
            _ => {}
        }
    }
}

/// Microsoft's and Netscape's names for servers that were allowed strong ciphers, when those were
/// not for everybody.
fn is_gated_cryptography(oid: &Oid<'_>) -> bool {
    [oid!(1.3.6.1.4.1.311.10.3.3), oid!(2.16.840.1.113730.4.1)].contains(oid)
}

/// The names of a place where lists are published, for comparison.
pub(crate) fn point_names(point: &DistributionPointName<'_>) -> Vec<String> {
    match point {
        DistributionPointName::FullName(names) => {
            names.iter().map(|name| format!("{name:?}")).collect()
        }
        DistributionPointName::NameRelativeToCRLIssuer(_) => Vec::new(),
    }
}

/// The critical extensions that OpenSSL does not stumble over, without those that [`is_refused`].
fn is_understood(oid: &Oid<'_>) -> bool {
    [
        oid!(2.16.840.1.113730.1.1), // Netscape certificate type
        oid!(2.5.29.15),             // key usage
        oid!(2.5.29.17),             // subject alternative name
        oid!(2.5.29.19),             // basic constraints
        oid!(2.5.29.30),             // name constraints
        oid!(2.5.29.31),             // distribution points of revocation lists
        oid!(2.5.29.32),             // policies
        oid!(2.5.29.33),             // policy mappings
        oid!(2.5.29.36),             // policy constraints
        oid!(2.5.29.37),             // extended key usage
        oid!(2.5.29.54),             // inhibit any policy
        oid!(1.3.6.1.5.5.7.48.1.5),  // no check by OCSP
    ]
    .contains(oid)
}

/// Extensions whose rules are not implemented here: proxy certificates, which OpenSSL refuses too, and
/// the address blocks of RFC 3779, which are for routers.
fn is_refused(oid: &Oid<'_>) -> bool {
    [oid!(1.3.6.1.5.5.7.1.14), oid!(1.3.6.1.5.5.7.1.7), oid!(1.3.6.1.5.5.7.1.8)].contains(oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spoiled certificates are read, or not; reading them never panics, nor does asking them.
    #[test]
    fn any_byte_may_be_wrong() {
        for text in [
            include_str!("../tests/samples/self_signed.pem"),
            include_str!("../tests/samples/version_1.pem"),
            include_str!("../tests/samples/authority.pem"),
            include_str!("../tests/samples/hashed/a82b9efe.0"),
        ] {
            let good = pem::parse(text).expect("a sample").into_contents();
            let certificate = Certificate::from_der(&good).expect("a good certificate");
            for cut in 0..good.len() {
                assert!(Certificate::from_der(&good[..cut]).is_err(), "cut at {cut}");
            }
            for (index, value) in (0..good.len()).flat_map(|index| {
                [0, 1, 5, 0x30, 0x7f, 0x80, 0x84, 0xff].map(|value| (index, value))
            }) {
                let mut bad = good.clone();
                bad[index] = value;
                if let Ok(bad) = Certificate::from_der(&bad) {
                    let _ = (bad.may_have_issued(&certificate), bad.subject.hash());
                    let _ = (bad.is_self_signed(), bad.key.kind.is_strong_enough());
                }
            }
        }
    }

    #[test]
    fn the_bits_of_a_number() {
        for (number, expected) in [(&[][..], 0), (&[0, 0], 0), (&[0, 1], 1), (&[0x80, 0], 16)] {
            assert_eq!(bits(number), expected);
        }
    }
}
