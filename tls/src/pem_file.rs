//! PEM files: their certificates, revocation lists and keys, in the order of the file.
//!
//! Text between the blocks and blocks of other kinds are skipped, as in OpenSSL.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use pem::Pem;
use zeroize::Zeroizing;

use crate::error::TlsError;

/// Maximum bytes of a file. A bundle of all public authorities has a quarter of a megabyte;
/// revocation lists can be larger.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file and its blocks.
pub(crate) struct PemFile {
    path: PathBuf,
    pems: Vec<Pem>,
}

/// A block whose label is one that rzeo uses.
pub(crate) enum Block<'a> {
    Certificate(&'a [u8]),
    RevocationList(&'a [u8]),
    TrustedCertificate,
    Key(KeyBlock<'a>),
}

/// A private key, in the format of its file.
pub(crate) enum KeyBlock<'a> {
    Pkcs8(&'a [u8]),
    EncryptedPkcs8(&'a [u8]),
    /// In the format of its algorithm; `encryption` is the value of its header `DEK-Info`.
    Traditional {
        format: Format,
        content: &'a [u8],
        encryption: Option<&'a str>,
    },
    /// Of an algorithm that TLS no longer uses.
    Other(&'a str),
}

/// A traditional format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// PKCS#1, for RSA.
    Pkcs1,
    /// SEC1, for elliptic curves.
    Sec1,
}

impl PemFile {
    pub(crate) fn read(path: &Path) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new(Vec::new());
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(TlsError::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
        }
        Self::parse(path, &bytes)
    }

    /// Parses the bytes of a file.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, TlsError> {
        let not_pem = |error: pem::PemError| TlsError::NotPem {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let pems = pem::parse_many(bytes).map_err(not_pem)?;
        Ok(Self { path: path.to_owned(), pems })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.pems.iter().filter_map(|pem| {
            let content = pem.contents();
            Some(match pem.tag() {
                "CERTIFICATE" | "X509 CERTIFICATE" => Block::Certificate(content),
                "TRUSTED CERTIFICATE" => Block::TrustedCertificate,
                "X509 CRL" => Block::RevocationList(content),
                "PRIVATE KEY" => Block::Key(KeyBlock::Pkcs8(content)),
                "ENCRYPTED PRIVATE KEY" => Block::Key(KeyBlock::EncryptedPkcs8(content)),
                "RSA PRIVATE KEY" => Block::Key(traditional(pem, Format::Pkcs1)),
                "EC PRIVATE KEY" => Block::Key(traditional(pem, Format::Sec1)),
                tag if tag.ends_with(" PRIVATE KEY") => Block::Key(KeyBlock::Other(tag)),
                _ => return None,
            })
        })
    }

    pub(crate) fn bad_certificate(&self) -> TlsError {
        let problem = "its content is not an X.509 certificate";
        TlsError::BadCertificate { path: self.path.clone(), problem }
    }
}

fn traditional(pem: &Pem, format: Format) -> KeyBlock<'_> {
    let encrypted = pem.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"));
    let encryption = encrypted.then(|| pem.headers().get("DEK-Info").unwrap_or_default());
    KeyBlock::Traditional { format, content: pem.contents(), encryption }
}
