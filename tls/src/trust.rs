//! The trust store: certificates that the operator trusts, and revocation lists.
//!
//! It is made of PEM files and directories. A file is read once. In a directory, the files under
//! hashed names count, as `openssl rehash` makes them: `HHHHHHHH.0`, `HHHHHHHH.1` and so on for
//! certificates, `HHHHHHHH.r0` for lists. Their hashes are not computed, since a file is where the
//! operator put it. The directory is listed at each handshake and read again when one of its files
//! has changed, so that additions and removals count at once.
//!
//! With lists in the file, an issued certificate needs a valid list of its issuer, as in Python.
//! Lists in a directory, which Python does not read, only refuse the certificates that they name.
//!
//! The system's trust store is where OpenSSL looks by default: the file and the directories named
//! by the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR`, or else those of the
//! distribution, which the crate openssl-probe knows. What cannot be read there is skipped, since
//! the operator does not maintain it. A keychain that is not made of files, as on macOS, is not
//! read, as in Python.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls_pki_types::TrustAnchor;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use crate::certificate::Certificate;
use crate::error::TlsError;
use crate::pem_file::{Block, PemFile};
use crate::refusal::Peer;

/// The places of trusted certificates, and what was read there.
#[derive(Debug)]
pub(crate) struct TrustStore {
    peer: Peer,
    place: String,
    of_file: Arc<TrustedCertificates>,
    directories: Vec<PathBuf>,
    of_directories: Mutex<Option<DirectoryContents>>,
}

/// What the directories held when they were last read, together with what the file holds.
#[derive(Debug)]
struct DirectoryContents {
    listing: Vec<ListedFile>,
    trusted: Arc<TrustedCertificates>,
}

/// A file in a directory, as far as a change of it shows. One that cannot be examined has no stamp.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ListedFile {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
}

/// Trusted certificates and revocation lists, as they were at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedCertificates {
    pub(crate) certificates: Vec<Arc<Certificate>>,
    pub(crate) lists: Vec<Arc<CertRevocationList<'static>>>,
    /// Whether an issued certificate needs a valid list of its issuer.
    pub(crate) lists_required: bool,
    /// Those of the certificates that can issue others.
    pub(crate) authorities: Vec<Arc<Certificate>>,
    /// The authorities as webpki needs them, in the same order.
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
}

impl TrustStore {
    /// Opens the file or directory that the setting `authenticate` names. Without it, no client is
    /// trusted.
    pub(crate) fn open(path: Option<&Path>, peer: Peer) -> Result<Self, TlsError> {
        let Some(path) = path else {
            return Ok(Self::empty("the empty list of trusted certificates".to_owned(), peer));
        };
        if path.is_dir() {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            fs::read_dir(path).map_err(unreadable)?;
            let directories = vec![path.to_owned()];
            return Ok(Self { directories, ..Self::empty(path.display().to_string(), peer) });
        }
        let store = Self::of_file(&PemFile::read(path)?, peer)?;
        if store.of_file.certificates.is_empty() && store.of_file.lists.is_empty() {
            return Err(TlsError::NoCertificate { path: path.to_owned() });
        }
        Ok(store)
    }

    /// Opens the system's trust store.
    pub(crate) fn of_system(peer: Peer) -> Result<Self, TlsError> {
        let named = |variable| env::var_os(variable).filter(|value: &OsString| !value.is_empty());
        let known = openssl_probe::probe();
        let file = named(openssl_probe::ENV_CERT_FILE).map(PathBuf::from).or(known.cert_file);
        let directories = match named(openssl_probe::ENV_CERT_DIR) {
            Some(list) => env::split_paths(&list).collect(),
            None => known.cert_dir,
        };
        Self::of_places(file.as_deref(), directories, peer)
    }

    /// Opens the store that is made of those of these places that exist.
    fn of_places(
        file: Option<&Path>,
        mut directories: Vec<PathBuf>,
        peer: Peer,
    ) -> Result<Self, TlsError> {
        directories.retain(|directory| directory.is_dir());
        let mut places: Vec<PathBuf> = Vec::new();
        let mut trusted = TrustedCertificates::default();
        if let Some(file) = file.filter(|file| file.is_file()) {
            match PemFile::read(file) {
                Ok(read) => {
                    trusted.add_readable(&read, peer);
                    trusted.lists_required = !trusted.lists.is_empty();
                    places.push(file.to_owned());
                }
                Err(error) => tracing::warn!("skipped: {error}"),
            }
        }
        places.extend(directories.iter().cloned());
        if places.is_empty() {
            return Err(TlsError::NoSystemStore);
        }
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        let place = format!("the system's trust store ({})", places.join(", "));
        Ok(Self { of_file: Arc::new(trusted), directories, ..Self::empty(place, peer) })
    }

    /// The store that is made of a file.
    pub(crate) fn of_file(file: &PemFile, peer: Peer) -> Result<Self, TlsError> {
        let mut trusted = TrustedCertificates::default();
        file.blocks().try_for_each(|block| trusted.add(file, &block, peer))?;
        trusted.lists_required = !trusted.lists.is_empty();
        let place = file.path().display().to_string();
        Ok(Self { of_file: Arc::new(trusted), ..Self::empty(place, peer) })
    }

    fn empty(place: String, peer: Peer) -> Self {
        let of_file = Arc::default();
        Self { peer, place, of_file, directories: Vec::new(), of_directories: Mutex::default() }
    }

    /// The role of the peers whose certificates are verified with the store.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The file or directory, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What to do if a certificate was not found, for messages.
    pub(crate) fn hint(&self) -> &'static str {
        if self.directories.is_empty() {
            ""
        } else {
            "; a directory needs hashed names, which `openssl rehash DIRECTORY` makes"
        }
    }

    /// What is trusted at this moment.
    pub(crate) fn current(&self) -> Arc<TrustedCertificates> {
        if self.directories.is_empty() {
            return self.of_file.clone();
        }
        let listing: Vec<ListedFile> = self.directories.iter().flat_map(|it| list(it)).collect();
        let mut contents = self.of_directories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contents) = contents.as_ref().filter(|it| it.listing == listing) {
            return contents.trusted.clone();
        }
        let mut trusted = TrustedCertificates::clone(&self.of_file);
        for file in &listing {
            match PemFile::read(&file.path) {
                Ok(read) => trusted.add_readable(&read, self.peer),
                Err(error) => tracing::warn!("skipped: {error}"),
            }
        }
        let trusted = Arc::new(trusted);
        *contents = Some(DirectoryContents { listing, trusted: trusted.clone() });
        trusted
    }
}

impl TrustedCertificates {
    /// Whether a revocation list names the certificate with this issuer and serial number. The
    /// signature of the list does not count: the operator put it here.
    pub(crate) fn is_revoked(&self, issuer: &[u8], serial: &[u8]) -> bool {
        let of_issuer = self.lists.iter().filter(|list| list.issuer() == issuer);
        let mut found = of_issuer.map(|list| list.find_serial(serial));
        // An entry that cannot be read may be this one's.
        found.any(|entry| !matches!(entry, Ok(None)))
    }

    fn add(&mut self, file: &PemFile, block: &Block<'_>, peer: Peer) -> Result<(), TlsError> {
        match block {
            Block::Certificate(der) => {
                let certificate = Certificate::from_der(der);
                let certificate = Arc::new(certificate.map_err(|_| file.bad_certificate())?);
                if let Some(anchor) = certificate.anchor(peer) {
                    self.authorities.push(certificate.clone());
                    self.anchors.push(anchor);
                }
                self.certificates.push(certificate);
            }
            Block::RevocationList(der) => {
                let list = OwnedCertRevocationList::from_der(der);
                let bad = |error: webpki::Error| TlsError::BadRevocationList {
                    path: file.path().to_owned(),
                    problem: format!("{error:?}"),
                };
                self.lists.push(Arc::new(list.map_err(bad)?.into()));
            }
            Block::TrustedCertificate => {
                return Err(TlsError::TrustedCertificate { path: file.path().to_owned() });
            }
            Block::Key(_) => {}
        }
        Ok(())
    }

    /// Adds the blocks of a file that can be read.
    fn add_readable(&mut self, file: &PemFile, peer: Peer) {
        for block in file.blocks() {
            if let Err(error) = self.add(file, &block, peer) {
                tracing::warn!("skipped: {error}");
            }
        }
    }
}

/// The files of a directory under hashed names, in the order of their names.
fn list(directory: &Path) -> Vec<ListedFile> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!("{}: {error}", directory.display());
            return Vec::new();
        }
    };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    let hashed = names.filter(|name| name.to_str().is_some_and(is_hashed_name));
    let mut listing: Vec<ListedFile> = hashed
        .map(|name| {
            let path = directory.join(name);
            let stamp = stamp(&path).ok();
            ListedFile { path, stamp }
        })
        .collect();
    listing.sort();
    listing
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = path.metadata()?;
    Ok((metadata.modified()?, metadata.len()))
}

/// Whether a name is that of a certificate or list in a hashed directory, such as `a82b9efe.0` or
/// `a82b9efe.r0`.
fn is_hashed_name(name: &str) -> bool {
    let Some((hash, number)) = name.split_once('.') else { return false };
    let number = number.strip_prefix('r').unwrap_or(number);
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    hash.len() == 8
        && hash.bytes().all(is_lower_hex)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
    }

    #[test]
    fn a_systems_file_and_directories_are_one_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bundle.pem");
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let good = fs::read_to_string(samples().join("authority.pem")).expect("a sample");
        fs::write(&file, format!("{rubbish}{good}")).expect("written");
        let directories = vec![samples().join("hashed"), samples().join("missing")];
        let store = TrustStore::of_places(Some(&file), directories, Peer::Client).expect("a store");
        let trusted = store.current();
        let has = |name: &str| {
            let pem = pem::parse(fs::read(samples().join(name)).expect("a sample")).expect("PEM");
            trusted.certificates.iter().any(|it| it.der.as_ref() == pem.contents())
        };
        assert!(has("authority.pem"));
        assert!(has("hashed/a82b9efe.0"));
        assert!(!has("self_signed_ec.pem"));
        assert_eq!(trusted.anchors.len(), 1);
        assert!(!trusted.lists_required);
        assert!(store.place().contains("bundle.pem, "), "{}", store.place());
        assert!(!store.place().contains("missing"), "{}", store.place());
    }

    #[test]
    fn a_system_without_a_store_is_an_error() {
        let missing = samples().join("missing");
        let store = TrustStore::of_places(Some(&missing), vec![missing.clone()], Peer::Server);
        assert!(matches!(store, Err(TlsError::NoSystemStore)));
    }

    #[test]
    fn a_directory_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = TrustStore::open(Some(folder.path()), Peer::Client).expect("a store");
        let empty = store.current();
        assert!(Arc::ptr_eq(&empty, &store.current()));
        let sample = samples().join("hashed/a82b9efe.0");
        fs::copy(&sample, folder.path().join("a82b9efe.0")).expect("copied");
        assert_eq!(store.current().certificates.len(), 1);
        fs::write(folder.path().join("a82b9efe.0"), "nothing of use").expect("written");
        assert_eq!(store.current().certificates.len(), 0);
    }

    #[test]
    fn hashed_names_are_what_rehash_makes() {
        for name in ["a82b9efe.0", "00000000.12", "a82b9efe.r0"] {
            assert!(is_hashed_name(name), "{name}");
        }
        for name in [
            "client.pem",
            "a82b9efe",
            "a82b9efe.",
            "A82B9EFE.0",
            "a82b9ef.0",
            "a82b9efe.0.old",
            "a82b9efe.rr0",
        ] {
            assert!(!is_hashed_name(name), "{name}");
        }
    }
}
