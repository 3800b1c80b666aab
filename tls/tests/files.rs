//! Which files the TLS configuration accepts, and the errors for all others.

use std::fs;
use std::path::{Path, PathBuf};

use rzeo_tls::{Password, TlsError, TlsFiles, server_config};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

fn files(certificate: &str, key: &str) -> TlsFiles {
    TlsFiles {
        certificate: sample(certificate),
        key: Some(sample(key)),
        password: None,
        authenticate: Some(sample("self_signed.pem")),
    }
}

fn with_password(certificate: &str, key: &str, password: &str) -> TlsFiles {
    TlsFiles { password: Some(Password::new(password.to_owned())), ..files(certificate, key) }
}

fn error(files: &TlsFiles) -> TlsError {
    server_config(files).expect_err("these files do not fit")
}

#[test]
fn keys_that_are_not_encrypted() {
    for (certificate, key) in [
        ("self_signed.pem", "pkcs1.pem"),
        ("self_signed.pem", "pkcs8.pem"),
        ("self_signed_ec.pem", "sec1.pem"),
        ("self_signed_ed25519.pem", "ed25519.pem"),
    ] {
        server_config(&files(certificate, key)).unwrap_or_else(|error| panic!("{key}: {error}"));
        // A password that is not needed does no harm, as in Python.
        let files = with_password(certificate, key, "1234");
        server_config(&files).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

const ENCRYPTED: [(&str, &str); 3] = [
    ("self_signed.pem", "pkcs8_aes256.pem"),
    // As `openssl req -newkey` of OpenSSL 3.0 makes it.
    ("self_signed.pem", "pkcs8_des3.pem"),
    ("self_signed.pem", "pkcs8_scrypt.pem"),
];

#[test]
fn keys_that_are_encrypted() {
    for (certificate, key) in ENCRYPTED {
        let right = with_password(certificate, key, "1234");
        server_config(&right).unwrap_or_else(|error| panic!("{key}: {error}"));
        let error = error(&files(certificate, key));
        assert!(matches!(error, TlsError::PasswordNeeded { .. }), "{key}: {error}");
    }
}

#[test]
fn a_wrong_password_is_called_wrong() {
    for (certificate, key) in ENCRYPTED {
        for password in ["", "12345"] {
            let error = error(&with_password(certificate, key, password));
            assert!(matches!(error, TlsError::WrongPassword { .. }), "{key}: {error}");
        }
    }
}

#[test]
fn old_encryptions_are_refused_with_the_command_that_converts_them() {
    for (certificate, key, named) in [
        ("self_signed.pem", "pkcs1_des3.pem", "DEK-Info: DES-EDE3-CBC"),
        ("self_signed_ec.pem", "sec1_aes128.pem", "DEK-Info: AES-128-CBC"),
        ("self_signed.pem", "pkcs8_pbes1.pem", "an old scheme"),
        ("self_signed.pem", "pkcs8_sha1.pem", "SHA-1"),
    ] {
        let error = error(&with_password(certificate, key, "1234"));
        assert!(matches!(error, TlsError::UnsupportedEncryption { .. }), "{key}: {error}");
        let text = error.to_string();
        assert!(text.contains(named), "{text}");
        let path = sample(key);
        let command = format!("`openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out", path.display());
        assert!(text.contains(&command), "{text}");
    }
}

#[test]
fn the_key_may_be_in_the_certificates_file() {
    let both = TlsFiles { key: None, ..files("both.pem", "") };
    server_config(&both).expect("certificate and key in one file");
    let certificate_only = TlsFiles { key: None, ..files("self_signed.pem", "") };
    assert!(matches!(error(&certificate_only), TlsError::NoKey { .. }));
}

#[test]
fn a_key_has_to_fit_its_certificate() {
    for (certificate, key) in [
        ("self_signed.pem", "sec1.pem"),
        ("self_signed_ec.pem", "pkcs1.pem"),
        ("self_signed.pem", "ed25519.pem"),
    ] {
        let error = error(&files(certificate, key));
        assert!(matches!(error, TlsError::KeyMismatch { .. }), "{certificate}, {key}: {error}");
    }
}

#[test]
fn certificates_that_no_client_of_rzeo_accepts_are_not_served() {
    let short = error(&files("self_signed_short.pem", "short.pem"));
    assert!(matches!(short, TlsError::BadKey { .. }), "{short}");
    let version_1 = error(&files("version_1.pem", "pkcs1.pem"));
    assert!(matches!(version_1, TlsError::BadCertificate { .. }), "{version_1}");
    assert!(version_1.to_string().contains("X.509 version"), "{version_1}");
}

#[test]
fn missing_files_are_named() {
    for files in [
        files("missing.pem", "pkcs1.pem"),
        files("self_signed.pem", "missing.pem"),
        TlsFiles {
            authenticate: Some(sample("missing.pem")),
            ..files("self_signed.pem", "pkcs1.pem")
        },
    ] {
        let error = error(&files);
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let base = files("self_signed.pem", "pkcs1.pem");
    let own = TlsFiles { certificate: sample("pkcs1.pem"), ..base.clone() };
    assert!(matches!(error(&own), TlsError::NoCertificate { .. }));
    let clients = TlsFiles { authenticate: Some(sample("pkcs1.pem")), ..base.clone() };
    assert!(matches!(error(&clients), TlsError::NoCertificate { .. }));
    let trusted = TlsFiles { authenticate: Some(sample("trusted.pem")), ..base };
    assert!(matches!(error(&trusted), TlsError::TrustedCertificate { .. }));
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let base = files("self_signed.pem", "pkcs1.pem");
    let good = fs::read_to_string(sample("self_signed.pem")).expect("a sample");

    let cut = file("cut", "-----BEGIN CERTIFICATE-----\nMII*\n-----END CERTIFICATE-----\n");
    let cut = error(&TlsFiles { certificate: cut, ..base.clone() });
    assert!(matches!(cut, TlsError::NotPem { .. }), "{cut}");

    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let clients = file("clients", &format!("{good}{rubbish}"));
    let clients = error(&TlsFiles { authenticate: Some(clients), ..base.clone() });
    assert!(matches!(clients, TlsError::BadCertificate { .. }), "{clients}");

    let rubbish = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let list = file("list", &format!("{good}{rubbish}"));
    let list = error(&TlsFiles { authenticate: Some(list), ..base.clone() });
    assert!(matches!(list, TlsError::BadRevocationList { .. }), "{list}");

    let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let key = error(&TlsFiles { key: Some(file("key", rubbish)), ..base.clone() });
    assert!(matches!(key, TlsError::BadKey { .. }), "{key}");

    let rubbish = "-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n";
    let key = error(&TlsFiles { key: Some(file("dsa", rubbish)), ..base });
    assert!(matches!(key, TlsError::BadKey { .. }), "{key}");
}

#[test]
fn the_trust_store_is_a_file_a_directory_or_empty() {
    let base = files("self_signed.pem", "pkcs1.pem");
    for authenticate in [Some(sample("hashed")), None] {
        server_config(&TlsFiles { authenticate, ..base.clone() }).expect("usable");
    }
}
