//! The certificates of peers, or of those who issue them, that the operator trusts.
//!
//! A file is read once. In a directory, certificates are found as OpenSSL finds them: by a number
//! that is made from the subject's name, `HHHHHHHH.0`, `HHHHHHHH.1` and so on until one is missing,
//! and lists of revoked certificates as `HHHHHHHH.r0`, by their issuer's. They are looked up at each
//! handshake and not kept, so that what is added counts at once, as with OpenSSL, and what is removed
//! too, which with OpenSSL takes a restart.
//!
//! Python checks revocation only if there is a list when it starts, and then of everybody; and it
//! never has one from a directory. Here, lists in a directory count for those who stand on them, and
//! nobody needs one.
//!
//! The system's trust store is where OpenSSL looks when it is told nothing: a file and directories
//! that the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name, or else those of the distribution, for
//! which the crate openssl-probe has a list. As they are PEM files and hashed directories, they are
//! read like the operator's own, and judged by the same rules; only what cannot be read is passed
//! over, as it is not the operator's to mend. A keychain that is not made of files, as macOS has one, is
//! not looked at, nor does Python look at it.

use std::env;
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

/// What is trusted: what was read from files, and directories to look into.
#[derive(Debug)]
pub(crate) struct TrustStore {
    certificates: Vec<Arc<Certificate>>,
    lists: Vec<Arc<RevocationList>>,
    directories: Vec<PathBuf>,
    shown: String,
}

impl TrustStore {
    /// Opens what the setting `authenticate` names; without it, nobody is trusted.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, TlsError> {
        let Some(path) = path else {
            return Ok(Self::empty("the empty list of trusted clients".to_owned()));
        };
        if path.is_dir() {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            fs::read_dir(path).map_err(unreadable)?;
            let directories = vec![path.to_owned()];
            return Ok(Self { directories, ..Self::empty(path.display().to_string()) });
        }
        let store = Self::of_file(&PemFile::read(path)?)?;
        if store.certificates.is_empty() && store.lists.is_empty() {
            return Err(TlsError::NoCertificate { path: path.to_owned() });
        }
        Ok(store)
    }

    /// Opens the system's trust store.
    pub(crate) fn of_system() -> Result<Self, TlsError> {
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty());
        let known = openssl_probe::probe();
        let file = named(openssl_probe::ENV_CERT_FILE).map(PathBuf::from).or(known.cert_file);
        let directories = match named(openssl_probe::ENV_CERT_DIR) {
            Some(list) => env::split_paths(&list).collect(),
            None => known.cert_dir,
        };
        Self::of_places(file.as_deref(), directories)
    }

    /// Opens a store that is made of these, if they are there.
    fn of_places(file: Option<&Path>, mut directories: Vec<PathBuf>) -> Result<Self, TlsError> {
        directories.retain(|directory| directory.is_dir());
        let mut store = Self { directories, ..Self::empty(String::new()) };
        let mut places: Vec<PathBuf> = Vec::new();
        if let Some(file) = file.filter(|file| file.is_file()) {
            match PemFile::read(file) {
                Ok(read) => {
                    (store.certificates, store.lists) = load_readable(&read);
                    places.push(file.to_owned());
                }
                Err(error) => tracing::warn!("passed over: {error}"),
            }
        }
        places.extend(store.directories.iter().cloned());
        if places.is_empty() {
            return Err(TlsError::NoSystemStore);
        }
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        store.shown = format!("the system's trust store ({})", places.join(", "));
        Ok(store)
    }

    /// What is in a file.
    pub(crate) fn of_file(file: &PemFile) -> Result<Self, TlsError> {
        let (certificates, lists) = load(file)?;
        Ok(Self { certificates, lists, ..Self::empty(file.path().display().to_string()) })
    }

    fn empty(shown: String) -> Self {
        Self { certificates: Vec::new(), lists: Vec::new(), directories: Vec::new(), shown }
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Where certificates of a subject were looked for, for a log.
    pub(crate) fn shown_for(&self, name: &Name) -> String {
        if self.directories.is_empty() {
            return self.shown.clone();
        }
        let (shown, hash) = (&self.shown, name.hash());
        format!("{shown} (looked for {hash:08x}.0; `openssl rehash` makes such names)")
    }

    pub(crate) fn revocation(&self) -> Revocation {
        match (self.lists.is_empty(), self.directories.is_empty()) {
            (false, _) => Revocation::Required,
            (true, false) => Revocation::IfListed,
            (true, true) => Revocation::Off,
        }
    }

    /// The trusted certificates with this subject.
    pub(crate) fn by_subject(&self, name: &Name) -> Vec<Arc<Certificate>> {
        let looked_up = self.directories.iter().flat_map(|directory| look_up(directory, name, ""));
        let looked_up = looked_up.flat_map(|(found, _)| found);
        let all = self.certificates.iter().cloned().chain(looked_up);
        all.filter(|it| it.subject == *name).collect()
    }

    /// The lists by this issuer.
    pub(crate) fn lists_by(&self, issuer: &Name) -> Vec<Arc<RevocationList>> {
        let looked_up =
            self.directories.iter().flat_map(|directory| look_up(directory, issuer, "r"));
        let looked_up = looked_up.flat_map(|(_, found)| found);
        let all = self.lists.iter().cloned().chain(looked_up);
        all.filter(|it| it.issuer == *issuer).collect()
    }
}

type Loaded = (Vec<Arc<Certificate>>, Vec<Arc<RevocationList>>);

/// All certificates and lists of a file.
fn load(file: &PemFile) -> Result<Loaded, TlsError> {
    let mut loaded = Loaded::default();
    file.blocks().try_for_each(|block| load_block(file, &block, &mut loaded))?;
    Ok(loaded)
}

/// The same without what cannot be read.
fn load_readable(file: &PemFile) -> Loaded {
    let mut loaded = Loaded::default();
    for block in file.blocks() {
        if let Err(error) = load_block(file, &block, &mut loaded) {
            tracing::warn!("passed over: {error}");
        }
    }
    loaded
}

fn load_block(
    file: &PemFile,
    block: &Block<'_>,
    (certificates, lists): &mut Loaded,
) -> Result<(), TlsError> {
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
    Ok(())
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
        let store = TrustStore::of_places(Some(&file), directories).expect("a store");
        let subject_of = |name: &str| {
            let pem = pem::parse(fs::read(samples().join(name)).expect("a sample")).expect("PEM");
            Certificate::from_der(pem.contents()).expect("a certificate").subject
        };
        assert_eq!(store.by_subject(&subject_of("authority.pem")).len(), 1);
        assert_eq!(store.by_subject(&subject_of("hashed/a82b9efe.0")).len(), 1);
        assert!(store.by_subject(&subject_of("self_signed_ec.pem")).is_empty());
        assert_eq!(store.revocation(), Revocation::IfListed);
        assert!(store.shown().contains("bundle.pem, "), "{}", store.shown());
        assert!(!store.shown().contains("missing"), "{}", store.shown());
    }

    #[test]
    fn a_system_without_a_store_says_so() {
        let missing = samples().join("missing");
        let store = TrustStore::of_places(Some(&missing), vec![missing.clone()]);
        assert!(matches!(store, Err(TlsError::NoSystemStore)));
    }
}
