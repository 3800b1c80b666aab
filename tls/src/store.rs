//! The certificates of clients, or of those who issue them, that the operator trusts.
//!
//! A file is read once. In a directory, certificates are found as OpenSSL finds them: by a number
//! that is made from the subject's name, `HHHHHHHH.0`, `HHHHHHHH.1` and so on until one is missing,
//! and lists of revoked certificates as `HHHHHHHH.r0`, by their issuer's. They are looked up at each
//! handshake and not kept, so that what is added counts at once, as with OpenSSL, and what is removed
//! too, which with OpenSSL takes a restart.
//!
//! Python's server checks revocation only if there is a list when it starts, and then of everybody;
//! and it never has one from a directory. Here, lists in a directory count for those who stand on
//! them, and nobody needs one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::certificate::Certificate;
use crate::crl::RevocationList;
use crate::error::TlsError;
use crate::name::Name;
use crate::pem_file::{Block, PemFile};

/// Whether the authorities' lists of revoked certificates are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// There are none.
    Off,
    /// Each client's issuer has to have a valid one.
    Required,
    /// Who stands on one is refused.
    IfListed,
}

/// What is trusted.
#[derive(Debug)]
pub(crate) struct TrustStore {
    place: Place,
    shown: String,
}

#[derive(Debug)]
enum Place {
    Nothing,
    File { certificates: Vec<Arc<Certificate>>, lists: Vec<Arc<RevocationList>> },
    Directory(PathBuf),
}

impl TrustStore {
    /// Opens what the setting `authenticate` names; without it, nobody is trusted.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, TlsError> {
        let Some(path) = path else {
            let shown = "the empty list of trusted clients".to_owned();
            return Ok(Self { place: Place::Nothing, shown });
        };
        let shown = path.display().to_string();
        if path.is_dir() {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            fs::read_dir(path).map_err(unreadable)?;
            return Ok(Self { place: Place::Directory(path.to_owned()), shown });
        }
        let (certificates, lists) = load(&PemFile::read(path)?)?;
        if certificates.is_empty() && lists.is_empty() {
            return Err(TlsError::NoCertificate { path: path.to_owned() });
        }
        Ok(Self { place: Place::File { certificates, lists }, shown })
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Where certificates of a subject were looked for, for a log.
    pub(crate) fn shown_for(&self, name: &Name) -> String {
        match &self.place {
            Place::Nothing | Place::File { .. } => self.shown.clone(),
            Place::Directory(_) => {
                let hash = name.hash();
                format!(
                    "{} (looked for {hash:08x}.0; `openssl rehash` makes such names)",
                    self.shown
                )
            }
        }
    }

    pub(crate) fn revocation(&self) -> Revocation {
        match &self.place {
            Place::Nothing => Revocation::Off,
            Place::File { lists, .. } if lists.is_empty() => Revocation::Off,
            Place::File { .. } => Revocation::Required,
            Place::Directory(_) => Revocation::IfListed,
        }
    }

    /// The trusted certificates with this subject.
    pub(crate) fn by_subject(&self, name: &Name) -> Vec<Arc<Certificate>> {
        match &self.place {
            Place::Nothing => Vec::new(),
            Place::File { certificates, .. } => {
                certificates.iter().filter(|it| it.subject == *name).cloned().collect()
            }
            Place::Directory(directory) => {
                let found = look_up(directory, name, "").into_iter().flat_map(|(found, _)| found);
                found.filter(|it| it.subject == *name).collect()
            }
        }
    }

    /// The lists by this issuer.
    pub(crate) fn lists_by(&self, issuer: &Name) -> Vec<Arc<RevocationList>> {
        match &self.place {
            Place::Nothing => Vec::new(),
            Place::File { lists, .. } => {
                lists.iter().filter(|it| it.issuer == *issuer).cloned().collect()
            }
            Place::Directory(directory) => {
                let found =
                    look_up(directory, issuer, "r").into_iter().flat_map(|(_, found)| found);
                found.filter(|it| it.issuer == *issuer).collect()
            }
        }
    }
}

type Loaded = (Vec<Arc<Certificate>>, Vec<Arc<RevocationList>>);

/// All certificates and lists of a file.
fn load(file: &PemFile) -> Result<Loaded, TlsError> {
    let mut certificates = Vec::new();
    let mut lists = Vec::new();
    for block in file.blocks() {
        match block {
            Block::Certificate(der) => {
                let certificate = Certificate::from_der(der);
                certificates.push(Arc::new(certificate.map_err(|_| file.bad_certificate())?));
            }
            Block::RevocationList(der) => {
                let list = RevocationList::from_der(der);
                let bad = |_| TlsError::BadRevocationList { path: file.path().to_owned() };
                lists.push(Arc::new(list.map_err(bad)?));
            }
            Block::TrustedCertificate => {
                return Err(TlsError::TrustedCertificate { path: file.path().to_owned() });
            }
            Block::Key(_) => {}
        }
    }
    Ok((certificates, lists))
}

/// The files of a hashed directory for a name. One that cannot be used is passed over, as by OpenSSL.
fn look_up(directory: &Path, name: &Name, infix: &str) -> Vec<Loaded> {
    let hash = name.hash();
    let mut found = Vec::new();
    for number in 0_u32.. {
        let path = directory.join(format!("{hash:08x}.{infix}{number}"));
        if let Err(error) = path.symlink_metadata() {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("{}: {error}", path.display());
            }
            break;
        }
        match PemFile::read(&path).and_then(|file| load(&file)) {
            Ok(loaded) => found.push(loaded),
            Err(error) => tracing::warn!("passed over: {error}"),
        }
    }
    found
}
