//! Which clients are let in: handshakes in memory, with rustls as the client.
//!
//! The differential judge `fixtures/python/tls_judge.py` compares many more certificates with what
//! Python's server does; here is one for each promise.

mod pki;

use pki::{Client, Trust, authority, sample, try_client};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
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
    // Another key of the same kind, and one of another.
    let thieves =
        [client.with_another_key(), Client::from_samples(&["self_signed_ec.pem"], "pkcs1.pem")];
    for thief in thieves {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let error = pki::Connections::new(&trust, &thief, version).connect();
            let error = error.expect_err("not the owner of the key");
            assert_eq!(rzeo_tls::refusal(&error), None, "the certificate as such is fine");
        }
    }
}

#[test]
fn nobody_may_be_trusted() {
    let client = Client::from_samples(&["self_signed.pem"], "pkcs1.pem");
    assert!(matches!(try_client(&Trust::nobody(), &client), Err(Refusal::Unknown { .. })));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    let error = pki::handshake(&trust, &Client::anonymous()).expect_err("no certificate");
    assert_eq!(error, rustls::Error::NoCertificatesPresented);
}

#[test]
fn who_is_issued_by_a_trusted_authority_is_accepted() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let ca = authority("root", algorithm);
        let trust = Trust::file(&[&ca.pem()]);
        assert_eq!(try_client(&trust, &ca.client("leaf", |_| {})), Ok(()));
    }
    let other = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::file(&[&authority("root", &PKCS_ECDSA_P256_SHA256).pem()]);
    assert!(matches!(
        try_client(&trust, &other.client("leaf", |_| {})),
        Err(Refusal::Unknown { .. })
    ));
}

#[test]
fn version_1_is_accepted_from_an_authority_and_sha_1_is_not() {
    let trust = Trust::file(&[&sample("authority.pem")]);
    let version_1 = Client::from_samples(&["version_1.pem"], "pkcs1.pem");
    assert_eq!(try_client(&trust, &version_1), Ok(()));
    let sha1 = Client::from_samples(&["sha1.pem"], "pkcs1.pem");
    assert!(matches!(try_client(&trust, &sha1), Err(Refusal::WeakSignature { .. })));
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
    // As in Python before 3.13: a chain has to end at a root.
    let between_only = Trust::file(&[&between.pem()]);
    assert!(matches!(try_client(&between_only, &client), Err(Refusal::NoRoot { .. })));
}

#[test]
fn a_trusted_client_cannot_vouch_for_others() {
    let lone = authority("lone", &PKCS_ECDSA_P256_SHA256);
    let client = lone.issuer_without_right("client");
    let friend = client.client("friend", |_| {});
    let trust = Trust::file(&[&client.pem()]);
    assert!(matches!(try_client(&trust, &friend), Err(Refusal::NotAnAuthority { .. })));
}

#[test]
fn an_untrusted_root_is_refused() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |_| {}).sending(&root);
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::UntrustedRoot { .. })));
}

/// A change to a client's certificate and a test for the reason of its refusal.
type Fault = (fn(&mut CertificateParams), fn(&Refusal) -> bool);

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::file(&[&root.pem()]);
    let faults: [Fault; 5] = [
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
            |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            |reason| matches!(reason, Refusal::WrongPurpose { .. }),
        ),
        (
            |params| params.custom_extensions.push(pki::unknown_critical()),
            |reason| matches!(reason, Refusal::UnhandledCritical { .. }),
        ),
    ];
    for (number, (change, expected)) in faults.into_iter().enumerate() {
        let reason = try_client(&trust, &root.client("leaf", change)).expect_err("a fault");
        assert!(expected(&reason), "{number}: {reason}");
    }
}

#[test]
fn path_lengths_hold() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let upper = root.authority("upper", |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    });
    let lower = upper.authority("lower", |_| {});
    let trust = Trust::file(&[&root.pem(), &upper.pem()]);
    assert_eq!(try_client(&trust, &upper.client("leaf", |_| {})), Ok(()));
    let client = lower.client("leaf", |_| {}).sending(&lower);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::PathTooLong { .. })));
}

#[test]
fn name_constraints_hold() {
    let root = pki::authority_for_names("root", "example.org");
    let trust = Trust::file(&[&root.pem()]);
    let named = |name: &'static str| {
        root.client("leaf", move |params| {
            params.subject_alt_names =
                vec![rcgen::SanType::DnsName(name.try_into().expect("a name"))];
        })
    };
    assert_eq!(try_client(&trust, &named("a.example.org")), Ok(()));
    assert_eq!(try_client(&trust, &named("a.example.com")), Err(Refusal::NameConstraints));
    // The name of a host in the subject alone counts too.
    let in_subject = root.client("a.example.com", |_| {});
    assert_eq!(try_client(&trust, &in_subject), Err(Refusal::NameConstraints));
}

#[test]
fn with_revocation_lists_everybody_needs_a_valid_one() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("leaf", |params| params.serial_number = Some(77_u64.into()));
    let try_list = |list: &str| try_client(&Trust::file(&[&root.pem(), list]), &client);
    assert_eq!(try_list(&root.revocation_list(&[78], 2026, 2900)), Ok(()));
    let revoked = try_list(&root.revocation_list(&[77], 2026, 2900));
    assert!(matches!(revoked, Err(Refusal::Revoked { .. })));
    for (from, until) in [(2020, 2021), (2899, 2900)] {
        let problem = try_list(&root.revocation_list(&[], from, until));
        assert!(matches!(problem, Err(Refusal::UnusableRevocationList { .. })), "{problem:?}");
    }
    let other = authority("other", &PKCS_ECDSA_P256_SHA256);
    let none = try_list(&other.revocation_list(&[], 2026, 2900));
    assert!(matches!(none, Err(Refusal::NoRevocationList { .. })), "{none:?}");
    // One of the same name by another key.
    let forged = authority("root", &PKCS_ECDSA_P256_SHA256);
    assert!(try_list(&forged.revocation_list(&[], 2026, 2900)).is_err());
}

#[test]
fn a_directory_is_looked_up_at_each_handshake() {
    let trust = Trust::directory();
    let client = Client::from_samples(&["hashed/a82b9efe.0"], "pkcs1.pem");
    let unknown = try_client(&trust, &client).expect_err("nobody is there");
    assert!(unknown.to_string().contains("(looked for a82b9efe.0"), "{unknown}");
    // Under another number it is not found, as by OpenSSL.
    let text = sample("hashed/a82b9efe.0");
    trust.put("a82b9eff.0", &text);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
    // Nor after a gap; but after what cannot be read, and beside others of that number.
    trust.put("a82b9efe.1", &text);
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
    trust.put("a82b9efe.0", "nothing of use");
    assert_eq!(try_client(&trust, &client), Ok(()));
    trust.remove("a82b9efe.1");
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Unknown { .. })));
}

#[test]
fn a_directorys_revocation_lists_count_for_those_on_them() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let trust = Trust::directory();
    trust.put(&format!("{}.0", pki::ROOT_HASH), &root.pem());
    let client = root.client("leaf", |params| params.serial_number = Some(77_u64.into()));
    assert_eq!(try_client(&trust, &client), Ok(()));
    let list = format!("{}.r0", pki::ROOT_HASH);
    trust.put(&list, &root.revocation_list(&[77], 2026, 2900));
    assert!(matches!(try_client(&trust, &client), Err(Refusal::Revoked { .. })));
    // One that has expired is no reason to refuse who is not on it.
    trust.put(&list, &root.revocation_list(&[78], 2020, 2021));
    assert_eq!(try_client(&trust, &client), Ok(()));
    trust.put(&list, &root.revocation_list(&[77], 2020, 2021));
    assert!(matches!(try_client(&trust, &client), Err(Refusal::UnusableRevocationList { .. })));
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
fn the_log_tells_what_to_do_and_nothing_that_a_peer_could_forge() {
    let root = authority("root", &PKCS_ECDSA_P256_SHA256);
    let client = root.client("evil\nINFO all is well", |_| {});
    let trust = Trust::file(&[&sample("self_signed.pem")]);
    let error = pki::handshake(&trust, &client).expect_err("unknown");
    let told = rzeo_tls::explain(&std::io::Error::other(error.clone()));
    assert!(told.starts_with("certificate of CN=evil"), "{told}");
    assert!(told.contains("no certificate there issued it (wanted: CN=root)"), "{told}");
    assert!(!told.contains('\n'), "{told}");
    // Who does not ask for an explanation gets the same words.
    assert!(error.to_string().contains("no certificate there issued it"), "{error}");
}
