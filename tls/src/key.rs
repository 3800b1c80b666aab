//! The private key of this side, in the formats that OpenSSL writes.
//!
//! Keys may be encrypted in the format PKCS#8 (PBES2) with AES, or with triple DES, which `openssl
//! req -newkey` still uses by default in OpenSSL 3.0. The key of the cipher comes from PBKDF2 with
//! SHA-2 or from scrypt. Older encryptions, with a key from MD5 or SHA-1, are refused with the
//! command that converts them.

use std::path::Path;

use pkcs8::pkcs5::{self, EncryptionScheme};
use pkcs8::{EncryptedPrivateKeyInfo, Error};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use crate::error::TlsError;
use crate::password::Password;
use crate::pem_file::{Block, Format, KeyBlock, PemFile};

/// The first private key of a file.
pub(crate) fn load(
    file: &PemFile,
    password: Option<&Password>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = file.blocks().find_map(|block| match block {
        Block::Key(key) => Some(key),
        Block::Certificate(_) | Block::RevocationList(_) | Block::TrustedCertificate => None,
    });
    let path = file.path();
    match key {
        None => Err(TlsError::NoKey { path: path.to_owned() }),
        Some(KeyBlock::Pkcs8(der)) => Ok(PrivatePkcs8KeyDer::from(der.to_vec()).into()),
        Some(KeyBlock::EncryptedPkcs8(der)) => encrypted_pkcs8(path, der, password),
        Some(KeyBlock::Traditional { format, content, encryption: None }) => Ok(match format {
            Format::Pkcs1 => PrivatePkcs1KeyDer::from(content.to_vec()).into(),
            Format::Sec1 => PrivateSec1KeyDer::from(content.to_vec()).into(),
        }),
        Some(KeyBlock::Traditional { encryption: Some(info), .. }) => {
            let cipher = info.split(',').next().unwrap_or_default();
            Err(unsupported(path, format!("OpenSSL's traditional format (DEK-Info: {cipher})")))
        }
        Some(KeyBlock::Other(tag)) => {
            Err(TlsError::BadKey { path: path.to_owned(), problem: format!("it is a {tag}") })
        }
    }
}

fn encrypted_pkcs8(
    path: &Path,
    der: &[u8],
    password: Option<&Password>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let old = || unsupported(path, "single DES or an old scheme of PKCS#5 or PKCS#12".to_owned());
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| old())?;
    if !matches!(info.encryption_algorithm, EncryptionScheme::Pbes2(_)) {
        return Err(old());
    }
    let password = password.ok_or_else(|| TlsError::PasswordNeeded { path: path.to_owned() })?;
    match info.decrypt(password.bytes()) {
        Ok(key) => Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into()),
        Err(Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { oid })) => {
            Err(unsupported(path, format!("an old algorithm such as SHA-1 ({oid})")))
        }
        Err(_) => Err(TlsError::WrongPassword { path: path.to_owned() }),
    }
}

fn unsupported(path: &Path, encryption: String) -> TlsError {
    TlsError::UnsupportedEncryption { path: path.to_owned(), encryption }
}
