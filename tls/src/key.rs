//! The server's private key, out of any of the formats that OpenSSL writes.

use std::path::Path;

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, KeyIvInit, KeySizeUser};
use des::TdesEde3;
use md5::{Digest, Md5};
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::pkcs5::EncryptionScheme;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use zeroize::Zeroizing;

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
    let password = || password.ok_or_else(|| TlsError::PasswordNeeded { path: path.to_owned() });
    match key {
        None => Err(TlsError::NoKey { path: path.to_owned() }),
        Some(KeyBlock::Pkcs8(der)) => Ok(PrivatePkcs8KeyDer::from(der.to_vec()).into()),
        Some(KeyBlock::EncryptedPkcs8(der)) => encrypted_pkcs8(path, der, password()?),
        Some(KeyBlock::Traditional { format, content, encryption: None }) => {
            Ok(traditional(format, content.to_vec()))
        }
        Some(KeyBlock::Traditional { format, content, encryption: Some(info) }) => {
            let der = encrypted_traditional(path, content, info, password()?)?;
            Ok(traditional(format, der))
        }
        Some(KeyBlock::Other(tag)) => {
            Err(TlsError::BadKey { path: path.to_owned(), problem: format!("it is a {tag}") })
        }
    }
}

fn traditional(format: Format, der: Vec<u8>) -> PrivateKeyDer<'static> {
    match format {
        Format::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        Format::Sec1 => PrivateSec1KeyDer::from(der).into(),
    }
}

fn encrypted_pkcs8(
    path: &Path,
    der: &[u8],
    password: &Password,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unsupported = |cipher: &str| TlsError::UnsupportedEncryption {
        path: path.to_owned(),
        cipher: cipher.to_owned(),
    };
    let unknown = |_| unsupported("a scheme that is not known");
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(unknown)?;
    if !matches!(info.encryption_algorithm, EncryptionScheme::Pbes2(_)) {
        return Err(unsupported("an old scheme of PKCS#5 or PKCS#12"));
    }
    let wrong = |_| TlsError::WrongPassword { path: path.to_owned() };
    let key = info.decrypt(password.bytes()).map_err(wrong)?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// Decrypts the content of a block with `DEK-Info: CIPHER,SALT`.
fn encrypted_traditional(
    path: &Path,
    content: &[u8],
    info: &str,
    password: &Password,
) -> Result<Vec<u8>, TlsError> {
    let unsupported =
        || TlsError::UnsupportedEncryption { path: path.to_owned(), cipher: info.to_owned() };
    let (cipher, iv) = info.split_once(',').ok_or_else(unsupported)?;
    let iv = from_hex(iv.trim()).ok_or_else(unsupported)?;
    let decrypt = match cipher.trim() {
        "DES-EDE3-CBC" => decrypt::<TdesEde3>,
        "AES-128-CBC" => decrypt::<Aes128>,
        "AES-192-CBC" => decrypt::<Aes192>,
        "AES-256-CBC" => decrypt::<Aes256>,
        _ => return Err(unsupported()),
    };
    let plain = decrypt(content, &iv, password.bytes());
    // Of 256 wrong passwords one gives a right padding.
    let plain = plain.filter(|der| is_sequence(der));
    plain.ok_or_else(|| TlsError::WrongPassword { path: path.to_owned() })
}

fn decrypt<C>(content: &[u8], iv: &[u8], password: &[u8]) -> Option<Vec<u8>>
where
    cbc::Decryptor<C>: KeyIvInit + BlockDecryptMut,
    C: BlockCipher + BlockDecryptMut,
{
    let key = derive(password, iv.get(..8)?, cbc::Decryptor::<C>::key_size());
    let cipher = cbc::Decryptor::<C>::new_from_slices(&key, iv).ok()?;
    let mut buffer = Zeroizing::new(content.to_vec());
    cipher.decrypt_padded_mut::<Pkcs7>(&mut buffer).ok().map(<[u8]>::to_vec)
}

/// OpenSSL's old way from a password to a key: MD5 over and over, one round each.
fn derive(password: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last: Option<Zeroizing<Vec<u8>>> = None;
    while key.len() < length {
        let mut hash = Md5::new();
        if let Some(last) = &last {
            hash.update(last);
        }
        hash.update(password);
        hash.update(salt);
        let block = Zeroizing::new(hash.finalize().to_vec());
        key.extend_from_slice(&block);
        last = Some(block);
    }
    key.truncate(length);
    key
}

/// Whether these bytes look like one DER sequence, from the first byte to the last.
fn is_sequence(der: &[u8]) -> bool {
    Any::from_der(der).is_ok_and(|(rest, any)| rest.is_empty() && any.tag() == Tag::Sequence)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|char| char.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}
