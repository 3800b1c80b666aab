//! Lists of revoked certificates.

use std::collections::HashSet;

use x509_parser::asn1_rs::{FromDer, oid};
use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::x509::ReasonCode;

use crate::certificate::{Authority, Certificate, Scheme, Signed, outer_algorithm, point_names};
use crate::name::Name;

/// Bytes that are no revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate revocation list")]
pub(crate) struct NoRevocationList;

/// A list of revoked certificates.
#[derive(Clone, Debug)]
pub(crate) struct RevocationList {
    pub(crate) issuer: Name,
    pub(crate) this_update: i64,
    pub(crate) next_update: Option<i64>,
    pub(crate) signed: Signed,
    pub(crate) unhandled_critical: bool,
    /// Cannot be used at all: a list of changes, an indirect one, one for some reasons only.
    unusable: bool,
    authority: Option<Authority>,
    scope: Scope,
    revoked: HashSet<Vec<u8>>,
}

/// Which certificates of its issuer a list is about.
#[derive(Clone, Debug, Default)]
struct Scope {
    only_users: bool,
    only_cas: bool,
    only_attributes: bool,
    point: Option<Vec<String>>,
}

impl RevocationList {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, NoRevocationList> {
        let (rest, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| NoRevocationList)?;
        if !rest.is_empty() {
            return Err(NoRevocationList);
        }
        let tbs = &parsed.tbs_cert_list;
        let mut list = Self {
            issuer: Name::new(&tbs.issuer),
            this_update: tbs.this_update.timestamp(),
            next_update: tbs.next_update.map(|time| time.timestamp()),
            signed: Signed {
                message: tbs.as_ref().to_vec(),
                algorithm: outer_algorithm(der).ok_or(NoRevocationList)?,
                signature: parsed.signature_value.data.to_vec(),
                consistent: tbs.signature == parsed.signature_algorithm,
                scheme: Scheme::of(&parsed.signature_algorithm.algorithm),
            },
            unhandled_critical: false,
            unusable: false,
            authority: None,
            scope: Scope::default(),
            revoked: HashSet::new(),
        };
        list.read_extensions(&parsed);
        for entry in parsed.iter_revoked_certificates() {
            list.read_entry(entry);
        }
        Ok(list)
    }

    fn read_extensions(&mut self, parsed: &CertificateRevocationList<'_>) {
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(idp) => {
                    self.unusable |= idp.indirect_crl || idp.only_some_reasons.is_some();
                    self.scope = Scope {
                        only_users: idp.only_contains_user_certs,
                        only_cas: idp.only_contains_ca_certs,
                        only_attributes: idp.only_contains_attribute_certs,
                        point: idp.distribution_point.as_ref().map(point_names),
                    };
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority = Some(Authority::new(id));
                }
                ParsedExtension::ParseError { .. } => self.unusable = true,
                // A list of changes since another list.
                _ if extension.oid == oid!(2.5.29.27) => self.unusable = true,
                _ => self.unhandled_critical |= extension.critical,
            }
        }
    }

    fn read_entry(&mut self, entry: &RevokedCertificate<'_>) {
        for extension in entry.extensions() {
            let known = matches!(extension.parsed_extension(), ParsedExtension::ReasonCode(_));
            self.unhandled_critical |= extension.critical && !known;
        }
        // The reason of a certificate that was taken off again.
        if entry.reason_code().is_none_or(|(_, reason)| reason != ReasonCode::RemoveFromCRL) {
            self.revoked.insert(entry.raw_serial().to_vec());
        }
    }

    /// Whether it is a list by the issuer of this certificate.
    pub(crate) fn is_about(&self, leaf: &Certificate, issuer: &Certificate) -> bool {
        !self.unusable
            && self.issuer == leaf.issuer
            && self.authority.as_ref().is_none_or(|authority| authority.fits(issuer))
    }

    /// Whether certificates like this one would stand on it.
    pub(crate) fn covers(&self, leaf: &Certificate) -> bool {
        let scope = &self.scope;
        let kind = if leaf.is_ca() { !scope.only_users } else { !scope.only_cas };
        let points = &leaf.extensions.crl_points;
        let place = scope
            .point
            .as_ref()
            .is_none_or(|names| points.iter().flatten().any(|name| names.contains(name)));
        kind && place && !scope.only_attributes
    }

    pub(crate) fn is_valid_at(&self, now: i64) -> bool {
        self.this_update <= now && self.next_update.is_none_or(|next| now < next)
    }

    pub(crate) fn revokes(&self, leaf: &Certificate) -> bool {
        self.revoked.contains(&leaf.serial)
    }
}
