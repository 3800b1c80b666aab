//! Files and settings that cannot be used for TLS.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Files and settings that cannot be used for TLS. Each message names the file and says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file or directory that cannot be read.
    #[error("{} cannot be read: {source}; the user that rzeo runs as needs permission to read it", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that is too large to be one of certificates or a key.
    #[error(
        "{} has more than {limit} bytes, the maximum for a PEM file of certificates or a key",
        path.display()
    )]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
        /// Maximum bytes of a file.
        limit: u64,
    },
    /// A damaged PEM file.
    #[error("{} is not in the PEM format: {problem}", path.display())]
    NotPem {
        /// Path of the file.
        path: PathBuf,
        /// The rule that the content breaks.
        problem: String,
    },
    /// A PEM file without a certificate.
    #[error(
        "{} has no certificate; it needs one in the PEM format (BEGIN CERTIFICATE)",
        path.display()
    )]
    NoCertificate {
        /// Path of the file.
        path: PathBuf,
    },
    /// A certificate that cannot be used.
    #[error("a certificate in {} cannot be used: {problem}", path.display())]
    BadCertificate {
        /// Path of the file.
        path: PathBuf,
        /// The rule that the content breaks.
        problem: &'static str,
    },
    /// OpenSSL's own format for certificates with trust settings.
    #[error(
        "{} has a certificate in OpenSSL's own format (BEGIN TRUSTED CERTIFICATE), whose settings \
         are not supported; write it with `openssl x509 -in FILE -clrtrust -clrreject -outform PEM`",
        path.display()
    )]
    TrustedCertificate {
        /// Path of the file.
        path: PathBuf,
    },
    /// A revocation list that cannot be used.
    #[error(
        "a revocation list in {} is not an X.509 CRL of a supported kind ({problem}); get a full \
         list of version 2 from its issuer",
        path.display()
    )]
    BadRevocationList {
        /// Path of the file.
        path: PathBuf,
        /// What webpki does not accept.
        problem: String,
    },
    /// A PEM file without a key.
    #[error(
        "{} has no private key; set `key` in the section `ssl` to the file with the key, or put \
         the key into the certificate's file",
        path.display()
    )]
    NoKey {
        /// Path of the file.
        path: PathBuf,
    },
    /// An encrypted key without a password.
    #[error(
        "the key in {} is encrypted; give its password with `password-command` in the section \
         `ssl`, or in the environment variable RZEO_TLS_KEY_PASSWORD",
        path.display()
    )]
    PasswordNeeded {
        /// Path of the file.
        path: PathBuf,
    },
    /// An encrypted key with a wrong password.
    #[error("the password does not open the key in {}; check the password", path.display())]
    WrongPassword {
        /// Path of the file.
        path: PathBuf,
    },
    /// A key encryption that is not supported.
    #[error(
        "the key in {path} is encrypted with {encryption}, which is not supported; convert it with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out NEW` and set `key` to NEW",
        path = path.display()
    )]
    UnsupportedEncryption {
        /// Path of the file.
        path: PathBuf,
        /// The encryption that the file names.
        encryption: String,
    },
    /// A key that cannot be used.
    #[error(
        "the key in {} cannot be used ({problem}); supported are RSA with 2048 to 8192 bits, ECDSA \
         on P-256 or P-384, and Ed25519",
        path.display()
    )]
    BadKey {
        /// Path of the file.
        path: PathBuf,
        /// The rule that the content breaks.
        problem: String,
    },
    /// A key that is not the certificate's.
    #[error(
        "the key in {} does not belong to the first certificate in {}; name the certificate's own \
         key",
        key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// No `authenticate` is set, and the system has no known trust store.
    #[error(
        "this system has no trust store where OpenSSL looks for one; set `authenticate` in the \
         section `ssl` to the certificates to trust, or the environment variables SSL_CERT_FILE \
         and SSL_CERT_DIR to the system's"
    )]
    NoSystemStore,
    /// A host name that no certificate can have.
    #[error(
        "{name:?} is neither a host name nor an IP address; set `server-hostname` in the section \
         `ssl` to a name that the server's certificate has, in ASCII (xn--)"
    )]
    BadHostName {
        /// The value of the setting, or the host of the server's address.
        name: String,
    },
    /// A server without a host name, although names are checked.
    #[error(
        "a server at a Unix socket has no host name to check; set `server-hostname` in the section \
         `ssl` to a name that its certificate has, or `check-hostname` to off"
    )]
    NoHostName,
    /// A configuration that rustls refuses.
    #[error("rustls refuses the configuration: {0}")]
    Library(#[from] rustls::Error),
}
