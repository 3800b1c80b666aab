//! What can be wrong with the files and settings for TLS.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Settings that neither a TLS server nor a client can be made of. Each names the file and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file or directory that cannot be read.
    #[error("{} cannot be read: {source}; the user that rzeo runs as has to be allowed to", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is larger than any such file.
    #[error(
        "{} has more than {limit} bytes: it is not a PEM file of certificates or a key",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
    /// A file that is not in the PEM format, though it seems to be.
    #[error("{} is not in the PEM format: {problem}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A PEM file without a certificate.
    #[error(
        "{} has no certificate; it has to have one in the PEM format (BEGIN CERTIFICATE)",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that is none.
    #[error("a certificate in {} cannot be read: its content is not an X.509 certificate", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
    },
    /// OpenSSL's own format for certificates with trust settings.
    #[error(
        "{} has a certificate in OpenSSL's own format (BEGIN TRUSTED CERTIFICATE), whose settings \
         are not supported; write it with `openssl x509 -in FILE -clrtrust -clrreject -outform PEM`",
        path.display()
    )]
    TrustedCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A list of revoked certificates that is none.
    #[error(
        "a revocation list in {} cannot be read: its content is not an X.509 CRL; get it anew from \
         its issuer",
        path.display()
    )]
    BadRevocationList {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of one's own that everybody would refuse.
    #[error(
        "the certificate in {} is too weak: {problem}; others refuse it, so make a new one with an \
         RSA key of 2048 bits or more and SHA-256",
        path.display()
    )]
    WeakCertificate {
        /// The file.
        path: PathBuf,
        /// What is weak.
        problem: &'static str,
    },
    /// A PEM file without a key.
    #[error(
        "{} has no private key; name the file with the key with `key` in the section `ssl`, or put \
         the key into the certificate's file",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// An encrypted key, and no password.
    #[error(
        "the key in {} is protected by a password; give it with `password-command` in the section \
         `ssl`, or in the environment variable RZEO_TLS_KEY_PASSWORD",
        path.display()
    )]
    PasswordNeeded {
        /// The file.
        path: PathBuf,
    },
    /// An encrypted key that this password does not open.
    #[error("the password does not open the key in {}", path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// An encryption that is not supported.
    #[error(
        "the key in {} is encrypted with {cipher}, which is not supported; encrypt it anew with \
         `openssl pkcs8 -topk8 -v2 aes256 -in FILE -out NEW`",
        path.display()
    )]
    UnsupportedEncryption {
        /// The file.
        path: PathBuf,
        /// What the file says.
        cipher: String,
    },
    /// A key that cannot be used.
    #[error(
        "the key in {} cannot be used ({problem}); RSA with 2048 to 8192 bits, ECDSA on P-256 or \
         P-384 and Ed25519 can",
        path.display()
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A key of another certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}, which is the first in its file",
        key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// No place of trusted certificates is given, and the system has none that is known.
    #[error(
        "this system has no trust store where OpenSSL would look for one; name the certificates to \
         trust with `authenticate` in the section `ssl`, or the system's with the environment \
         variables SSL_CERT_FILE and SSL_CERT_DIR"
    )]
    NoSystemStore,
    /// A server's name that none can have.
    #[error(
        "{name:?} is neither the name of a host nor an address, so no certificate can be for it; \
         set `server-hostname` in the section `ssl` to a name that the server's certificate has, \
         in ASCII (xn--)"
    )]
    BadHostName {
        /// The name.
        name: String,
    },
    /// A server without a name whose name is to be checked.
    #[error(
        "a server at a Unix socket has no name that its certificate could have: set \
         `server-hostname` in the section `ssl` to one, or `check-hostname` to off"
    )]
    NoHostName,
    /// A problem within the TLS library.
    #[error("the TLS library refuses the configuration: {0}")]
    Library(#[from] rustls::Error),
}
