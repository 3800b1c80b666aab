//! Which clients are accepted: handshakes in memory, with rustls as the client.
//!
//! Many more certificates are compared with OpenSSL's verdict by `tests/test_tls_clients.py`;
//! here is one for each promise.

mod pki;

use pki::{Client, Trust, authority, sample, try_client};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};
use rzeo_tls::Refusal;

#[test]
fn a_self_signed_certificate_is_accepted_because_it_is_trusted() {
    let client = Client::from_samples(&["self_signed.pem"], "pkcs1.pem");
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    assert_eq!(try_client(&trust, &client), Ok(()));
}

#[test]
fn the_same_name_and_key_are_not_enough() {
    let client = Client::from_samples(&["mimic.pem"], "pkcs1.pem");
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
}

#[test]
fn the_certificate_without_its_key_is_not_enough() {
    let client = Client::from_samples(&["self_signed_ec.pem"], "sec1.pem");
    let trust = Trust::file(&[&sample("self_signed_ec.pem")]);
    assert_eq!(try_client(&trust, &client), Ok(()));
    // Another key of the same kind, and one of another kind.
    let thieves =
        [client.with_another_key(), Client::from_samples(&["self_signed_ec.pem"], "pkcs1.pem")];
    for thief in thieves {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let error = pki::Connections::new(&trust, &thief, version).connect();
            let error = error.expect_err("another key");
            assert_eq!(rzeo_tls::refusal(&error), None, "the certificate as such is fine");
        }
    }
}

#[test]
fn an_empty_trust_store_accepts_no_client() {
    let client = Client::from_samples(&["self_signed.pem"], "pkcs1.pem");
    assert!(matches!(try_client(&Trust::empty(), &client), Err(Refusal::Unknown { .. })));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    let error = pki::handshake(&trust, &Client::anonymous()).expect_err("no certificate");
    assert_eq!(error, rustls::Error::NoCertificatesPresented);
}

#[test]
fn a_certificate_by_a_trusted_authority_is_accepted() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let ca = authority("root", algorithm);
        let trust = Trust::file(&[&ca.pem()]);
        assert_eq!(try_client(&trust, &ca.client("leaf", |_| {})), Ok(()));
    }
    let other = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::file(&[&authority("root", &PKCS_ECDSA_P256_SHA256).pem()]);
    // Another authority of that name.
    let refused = try_client(&trust, &other.client("leaf", |_| {})).expect_err("another key");
    assert!(refused.to_string().contains("not by the issuer's key"), "{refused}");
}

#[test]
fn version_1_and_sha_1_are_refused_from_an_authority() {
    let trust = Trust::file(&[&sample("authority.pem")]);
    for (name, text) in [("version_1.pem", "X.509 version"), ("sha1.pem", "SHA-1")] {
        let client = Client::from_samples(&[name], "pkcs1.pem");
        let refused = try_client(&trust, &client).expect_err(name);
        assert!(matches!(refused, Refusal::Invalid { .. }), "{refused:?}");
        assert!(refused.to_string().contains(text), "{refused}");
    }
}

#[test]
fn an_authority_in_between_may_be_sent_or_trusted() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let between = root.authority("between", |_| {});
    let client = between.client("leaf", |_| {});
    let root_only = Trust::file(&[&root.pem()]);
    assert!(matches!(try_client(&root_only, &client), Err(Refusal::Unknown { .. })));
    assert_eq!(try_client(&root_only, &client.sending(&between)), Ok(()));
    let both = Trust::file(&[&root.pem(), &between.pem()]);
    assert_eq!(try_client(&both, &client), Ok(()));
    // A trusted authority need not be a root, as in Python since 3.13.
    let between_only = Trust::file(&[&between.pem()]);
    assert_eq!(try_client(&between_only, &client), Ok(()));
}

#[test]
fn an_issued_certificate_may_be_trusted_itself() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |_| {});
    let trust = Trust::file(&[&client.pem()]);
    assert_eq!(try_client(&trust, &client), Ok(()));
    let other = root.client("leaf", |_| {});
    assert!(matches!(try_client(&trust, &other), Err(Refusal::Unknown { .. })));
}

#[test]
fn a_trusted_client_cannot_issue_certificates() {
    for (with_ca, lacking) in [(false, "CA:TRUE"), (true, "keyCertSign")] {
        let client = pki::self_signed_client("client", with_ca);
        let friend = client.client("friend", |_| {});
        let trust = Trust::file(&[&client.pem()]);
        let refused = try_client(&trust, &friend).expect_err("issued by a client");
        assert!(matches!(refused, Refusal::NotAnAuthority { .. }), "{refused:?}");
        assert!(refused.to_string().contains(lacking), "{refused}");
        assert!(try_client(&trust, &friend.sending(&client)).is_err());
    }
}

#[test]
fn a_trusted_client_cannot_be_an_issuer_in_between() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let between = root.authority("between", |params| params.is_ca = IsCa::ExplicitNoCa);
    let friend = between.client("friend", |_| {}).sending(&between);
    let trust = Trust::file(&[&root.pem(), &between.pem()]);
    assert!(try_client(&trust, &friend).is_err());
}

#[test]
fn an_authority_is_accepted_as_a_client_only_if_it_is_trusted_itself() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let between = root.authority("between", |_| {});
    let trust = Trust::file(&[&root.pem()]);
    let refused = try_client(&trust, &between.as_client());
    assert!(matches!(refused, Err(Refusal::AuthorityAsPeer { .. })), "{refused:?}");
    assert_eq!(try_client(&trust, &root.as_client()), Ok(()));
}

#[test]
fn an_authority_that_has_expired_or_is_for_others_is_not_accepted() {
    let expired = pki::authority_with("root", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let refused = try_client(&Trust::file(&[&expired.pem()]), &expired.client("leaf", |_| {}));
    assert!(
        matches!(refused, Err(Refusal::Expired { ref at, .. }) if at == "CN=root"),
        "{refused:?}"
    );
    let for_servers = pki::authority_with("root", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let client = for_servers.client("leaf", |_| {});
    let refused = try_client(&Trust::file(&[&for_servers.pem()]), &client);
    assert!(matches!(refused, Err(Refusal::NotAnAuthority { .. })), "{refused:?}");
}

#[test]
fn a_trusted_certificate_must_be_valid_and_for_clients() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let faults: [Fault; 3] = [
        (
            |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            |reason| matches!(reason, Refusal::Expired { .. }),
        ),
        (
            |params| params.not_before = rcgen::date_time_ymd(2900, 1, 1),
            |reason| matches!(reason, Refusal::NotYetValid { .. }),
        ),
        (
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            |reason| matches!(reason, Refusal::WrongPurpose { .. }),
        ),
    ];
    for (number, (change, expected)) in faults.into_iter().enumerate() {
        let client = root.client("leaf", change);
        let reason = try_client(&Trust::file(&[&client.pem()]), &client).expect_err("a fault");
        assert!(expected(&reason), "{number}: {reason}");
    }
}

#[test]
fn an_untrusted_root_is_refused() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |_| {}).sending(&root);
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
}

/// A change to a client's certificate and a test for the reason of its refusal.
type Fault = (fn(&mut CertificateParams), fn(&Refusal) -> bool);

#[test]
fn a_refusal_has_its_reason() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::file(&[&root.pem()]);
    let faults: [Fault; 4] = [
        (
            |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            |reason| matches!(reason, Refusal::Expired { .. }),
        ),
        (
            |params| params.not_before = rcgen::date_time_ymd(2900, 1, 1),
            |reason| matches!(reason, Refusal::NotYetValid { .. }),
        ),
        (
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            |reason| matches!(reason, Refusal::WrongPurpose { .. }),
        ),
        (
            |params| params.custom_extensions.push(pki::unknown_critical()),
            |reason| reason.to_string().contains("critical extension"),
        ),
    ];
    for (number, (change, expected)) in faults.into_iter().enumerate() {
        let reason = try_client(&trust, &root.client("leaf", change)).expect_err("a fault");
        assert!(expected(&reason), "{number}: {reason}");
    }
}

#[test]
fn path_lengths_are_enforced() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let upper = root.authority("upper", |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    });
    let lower = upper.authority("lower", |_| {});
    let trust = Trust::file(&[&root.pem()]);
    let client = upper.client("leaf", |_| {}).sending(&upper);
    assert_eq!(try_client(&trust, &client), Ok(()));
    let client = lower.client("leaf", |_| {}).sending(&lower).sending(&upper);
    let refused = try_client(&trust, &client).expect_err("too many authorities");
    assert!(refused.to_string().contains("fewer authorities"), "{refused}");
}

#[test]
fn a_trusted_authoritys_path_length_is_enforced() {
    let root = pki::authority_with("root", |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    });
    let between = root.authority("between", |_| {});
    let trust = Trust::file(&[&root.pem()]);
    assert_eq!(try_client(&trust, &root.client("leaf", |_| {})), Ok(()));
    let client = between.client("leaf", |_| {}).sending(&between);
    let refused = try_client(&trust, &client).expect_err("an authority too many");
    assert!(refused.to_string().contains("fewer authorities"), "{refused}");
}

#[test]
fn name_constraints_are_enforced() {
    let root = pki::authority_for_names("root", "example.org");
    let trust = Trust::file(&[&root.pem()]);
    let named = |name: &'static str| {
        root.client("leaf", move |params| {
            params.subject_alt_names =
                vec![rcgen::SanType::DnsName(name.try_into().expect("a name"))];
        })
    };
    assert_eq!(try_client(&trust, &named("a.example.org")), Ok(()));
    let refused = try_client(&trust, &named("a.example.com")).expect_err("another domain");
    assert!(refused.to_string().contains("not allowed to issue"), "{refused}");
}

#[test]
fn with_revocation_lists_an_issued_certificate_needs_a_valid_one() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |params| params.serial_number = Some(77_u64.into()));
    let try_list = |list: &str| try_client(&Trust::file(&[&root.pem(), list]), &client);
    assert_eq!(try_list(&root.revocation_list(&[78], 2026, 2900)), Ok(()));
    let revoked = try_list(&root.revocation_list(&[77], 2026, 2900));
    assert!(matches!(revoked, Err(Refusal::Revoked)));
    let expired = try_list(&root.revocation_list(&[], 2020, 2021));
    assert!(matches!(expired, Err(Refusal::UnusableRevocationList { .. })), "{expired:?}");
    let other = authority("other", &PKCS_ECDSA_P256_SHA256);
    let none = try_list(&other.revocation_list(&[], 2026, 2900));
    assert!(matches!(none, Err(Refusal::NoRevocationList { .. })), "{none:?}");
    // A list of the same issuer name, signed by another key.
    let forged = authority("root", &PKCS_ECDSA_P256_SHA256);
    let refused = try_list(&forged.revocation_list(&[], 2026, 2900));
    assert!(matches!(refused, Err(Refusal::UnusableRevocationList { .. })), "{refused:?}");
    // In any order: one valid list is enough, and one list that names the certificate refuses it.
    let (old, new) = (root.revocation_list(&[], 2020, 2021), root.revocation_list(&[], 2026, 2900));
    assert_eq!(try_list(&format!("{old}{new}")), Ok(()));
    let listed = root.revocation_list(&[77], 2026, 2900);
    for lists in [format!("{new}{listed}"), format!("{listed}{new}")] {
        assert_eq!(try_list(&lists), Err(Refusal::Revoked));
    }
}

#[test]
fn a_revoked_authority_in_between_is_refused_with_all_that_it_issued() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let between = root.authority("between", |params| params.serial_number = Some(77_u64.into()));
    let client = between.client("leaf", |_| {}).sending(&between);
    let own_list = between.revocation_list(&[], 2026, 2900);
    let try_list = |list: &str| try_client(&Trust::file(&[&root.pem(), &own_list, list]), &client);
    assert_eq!(try_list(""), Ok(()));
    assert_eq!(try_list(&root.revocation_list(&[77], 2026, 2900)), Err(Refusal::Revoked));
}

#[test]
fn a_trusted_certificate_needs_no_list_but_must_not_be_on_one() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |params| params.serial_number = Some(77_u64.into()));
    let try_list = |list: &str| try_client(&Trust::file(&[&client.pem(), list]), &client);
    let other = authority("other", &PKCS_ECDSA_P256_SHA256);
    assert_eq!(try_list(&other.revocation_list(&[77], 2026, 2900)), Ok(()));
    assert_eq!(try_list(&root.revocation_list(&[77], 2026, 2900)), Err(Refusal::Revoked));
}

#[test]
fn a_directory_is_listed_in_each_handshake() {
    let trust = Trust::directory();
    let client = Client::from_samples(&["hashed/a82b9efe.0"], "pkcs1.pem");
    let unknown = try_client(&trust, &client).expect_err("the directory is empty");
    assert!(unknown.to_string().contains("openssl rehash"), "{unknown}");
    // Under other names than hashed ones, certificates do not count, as in OpenSSL.
    let text = sample("hashed/a82b9efe.0");
    trust.put("client.pem", &text);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
    trust.put("a82b9efe.0", "nothing of use");
    trust.put("a82b9efe.1", &text);
    assert_eq!(try_client(&trust, &client), Ok(()));
    trust.remove("a82b9efe.1");
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
}

#[test]
fn a_directorys_revocation_lists_refuse_only_what_they_name() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::directory();
    trust.put(&format!("{}.0", pki::ROOT_HASH), &root.pem());
    let client = root.client("leaf", |params| params.serial_number = Some(77_u64.into()));
    assert_eq!(try_client(&trust, &client), Ok(()));
    let list = format!("{}.r0", pki::ROOT_HASH);
    trust.put(&list, &root.revocation_list(&[77], 2026, 2900));
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Revoked)));
    // An expired list refuses no other certificate.
    trust.put(&list, &root.revocation_list(&[78], 2020, 2021));
    assert_eq!(try_client(&trust, &client), Ok(()));
    trust.put(&list, &root.revocation_list(&[77], 2020, 2021));
    assert_eq!(try_client(&trust, &client), Err(Refusal::Revoked));
}

#[test]
fn a_session_is_not_resumed() {
    let client = Client::from_samples(&["hashed/a82b9efe.0"], "pkcs1.pem");
    let trust = Trust::directory();
    trust.put("a82b9efe.0", &sample("hashed/a82b9efe.0"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut connections = pki::Connections::new(&trust, &client, version);
        assert_eq!(connections.connect(), Ok(rustls::HandshakeKind::Full));
        assert_eq!(connections.connect(), Ok(rustls::HandshakeKind::Full));
    }
}

#[test]
fn the_log_explains_the_refusal_and_a_peer_cannot_forge_lines() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("evil\nINFO all is well", |_| {});
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    let error = pki::handshake(&trust, &client).expect_err("unknown");
    let text = rzeo_tls::explain(&std::io::Error::other(error.clone()));
    assert!(text.starts_with("certificate of CN=evil"), "{text}");
    assert!(text.contains("no certificate there issued it (wanted: CN=root)"), "{text}");
    assert!(!text.contains('\n'), "{text}");
    // The error itself has the same text.
    assert!(error.to_string().contains("no certificate there issued it"), "{error}");
}
