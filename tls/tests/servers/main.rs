//! Which servers a client accepts: handshakes in memory, most with rustls as the server.
//!
//! Many more certificates are compared with OpenSSL's verdict by
//! `tests/test_tls_servers.py`; here is one for each promise.

mod pki;

use std::io;
use std::sync::Arc;

use pki::{Folder, VERSIONS, authority, dns, handshake, lone_server, sample_path, try_server};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use rzeo_tls::client::{ClientFiles, client_config};
use rzeo_tls::{Password, Peer, Refusal, TlsError, TlsFiles, server_config};

const HOST: &str = "zeo.example.org";

#[test]
fn a_certificate_by_a_trusted_authority_is_accepted() {
    let (folder, root) = (Folder::new(), authority("root"));
    let server = root.server(|_| {});
    assert_eq!(try_server(&folder.trusting(&[&root.pem()]), &server, HOST), Ok(()));
    let other = authority("other").pem();
    let unknown = try_server(&folder.trusting(&[&other]), &server, HOST);
    assert!(matches!(unknown, Err(Refusal::Unknown { .. })), "{unknown:?}");
}

#[test]
fn a_self_signed_certificate_is_accepted_because_it_is_trusted() {
    let (folder, server) = (Folder::new(), lone_server(|_| {}));
    assert_eq!(try_server(&folder.trusting(&[&server.pem]), &server, HOST), Ok(()));
    // It must still name the host.
    let elsewhere = try_server(&folder.trusting(&[&server.pem]), &server, "example.org");
    assert!(matches!(elsewhere, Err(Refusal::WrongHost { .. })), "{elsewhere:?}");
    let mimic = lone_server(|_| {});
    let refused = try_server(&folder.trusting(&[&server.pem]), &mimic, HOST);
    assert!(matches!(refused, Err(Refusal::Unknown { .. })), "{refused:?}");
}

#[test]
fn an_issued_certificate_may_be_trusted_itself_or_pinned() {
    let folder = Folder::new();
    let server = authority("root").server(|_| {});
    assert_eq!(try_server(&folder.trusting(&[&server.pem]), &server, HOST), Ok(()));
    let pinned = ClientFiles { pins: vec![server.pin()], ..ClientFiles::default() };
    assert_eq!(try_server(&pinned, &server, HOST), Ok(()));
}

#[test]
fn the_certificate_must_name_the_host() {
    let (folder, root) = (Folder::new(), authority("root"));
    let files = folder.trusting(&[&root.pem()]);
    let named = |names: Vec<SanType>, common: &str| {
        root.server(|params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, common);
            params.subject_alt_names = names;
        })
    };
    let address = SanType::IpAddress("192.0.2.1".parse().expect("an address"));
    let cases = [
        (vec![dns("zeo.example.org")], "x", "zeo.example.org", true),
        (vec![dns("zeo.example.org")], "x", "ZEO.example.org", true),
        (vec![dns("zeo.example.org")], "x", "www.example.org", false),
        (vec![dns("*.example.org")], "x", "zeo.example.org", true),
        (vec![dns("*.example.org")], "x", "a.zeo.example.org", false),
        (vec![dns("zeo.example.org"), address.clone()], "x", "192.0.2.1", true),
        (vec![address], "x", "192.0.2.2", false),
        (vec![dns("192.0.2.1")], "192.0.2.1", "192.0.2.1", false),
        // The common name does not count.
        (vec![], "zeo.example.org", "zeo.example.org", false),
        (vec![dns("www.example.org")], "zeo.example.org", "zeo.example.org", false),
    ];
    for (names, common, host, right) in cases {
        let server = named(names.clone(), common);
        let result = try_server(&files, &server, host);
        let as_expected = match &result {
            Ok(()) => right,
            Err(reason) => !right && matches!(reason, Refusal::WrongHost { .. }),
        };
        assert!(as_expected, "{names:?} {common} {host}: {result:?}");
    }
}

#[test]
fn a_trusted_certificate_may_have_the_host_as_its_common_name() {
    let folder = Folder::new();
    let named = |names: Vec<SanType>| {
        lone_server(|params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, HOST);
            params.subject_alt_names = names;
        })
    };
    let address = SanType::IpAddress("192.0.2.1".parse().expect("an address"));
    for (names, host, right) in [
        (vec![], "ZEO.example.org", true),
        (vec![], "www.example.org", false),
        (vec![address], HOST, true),
        (vec![dns("www.example.org")], HOST, false),
    ] {
        let server = named(names);
        let result = try_server(&folder.trusting(&[&server.pem]), &server, host);
        assert_eq!(result.is_ok(), right, "{host}: {result:?}");
    }
}

#[test]
fn another_name_or_none_can_be_expected() {
    let (folder, root) = (Folder::new(), authority("root"));
    let server = root.server(|_| {});
    let files = folder.trusting(&[&root.pem()]);
    let elsewhere = "127.0.0.1";
    assert!(try_server(&files, &server, elsewhere).is_err());
    let unchecked = ClientFiles { check_hostname: false, ..files.clone() };
    assert_eq!(try_server(&unchecked, &server, elsewhere), Ok(()));
    let named = ClientFiles { server_hostname: Some(HOST.to_owned()), ..files.clone() };
    assert_eq!(try_server(&named, &server, elsewhere), Ok(()));
    let misnamed =
        ClientFiles { server_hostname: Some("www.example.org".to_owned()), ..files.clone() };
    assert!(try_server(&misnamed, &server, HOST).is_err());

    // Without names there is nothing to check, as at a Unix socket.
    let tls = client_config(&files).expect("good files");
    assert!(matches!(tls.server_name(None), Err(TlsError::NoHostName)));
    assert!(matches!(tls.server_name(Some("a b")), Err(TlsError::BadHostName { .. })));
    for files in [unchecked, ClientFiles { pins: vec![server.pin()], ..files.clone() }] {
        let tls = client_config(&files).expect("good files");
        tls.server_name(None).expect("a name of no meaning");
        tls.server_name(Some("a b")).expect("a name of no meaning");
    }
    let impossible = ClientFiles { server_hostname: Some("zö".to_owned()), ..files };
    assert!(matches!(client_config(&impossible), Err(TlsError::BadHostName { .. })));
}

#[test]
fn a_pin_is_that_certificate_and_no_other() {
    let (folder, root) = (Folder::new(), authority("root"));
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (server, other) = (root.server(old), root.server(|_| {}));
    // The other certificate has the same authority.
    let files = ClientFiles { pins: vec![server.pin()], ..folder.trusting(&[&root.pem()]) };
    assert_eq!(try_server(&files, &server, "elsewhere"), Ok(()));
    let refused = try_server(&files, &other, HOST).expect_err("not pinned");
    assert_eq!(refused, Refusal::NotPinned { found: other.pin() });
    assert!(refused.to_string().contains(&other.pin().to_string()), "{refused}");
    let both = ClientFiles { pins: vec![server.pin(), other.pin()], ..files };
    assert_eq!(try_server(&both, &other, HOST), Ok(()));
}

#[test]
fn a_pinned_certificate_without_its_key_is_not_enough() {
    let server = sample_path("self_signed_ec.pem");
    let pem = std::fs::read(&server).expect("a sample");
    let pin = rzeo_tls::Pin::of(pem::parse(&pem).expect("PEM").contents());
    let files = ClientFiles { pins: vec![pin], ..ClientFiles::default() };
    let tls = client_config(&files).expect("good files");
    for version in VERSIONS {
        let thief = pki::thief(&server, version);
        let error = handshake(&tls, thief, HOST).err().expect("not the owner of the key");
        assert_eq!(rzeo_tls::refusal(&error), None, "the certificate as such is fine");
    }
}

/// A change to a server's certificate and a test for the reason of its refusal.
type Fault = (fn(&mut CertificateParams), fn(&Refusal) -> bool);

#[test]
fn a_refusal_has_its_reason() {
    let (folder, root) = (Folder::new(), authority("root"));
    let files = folder.trusting(&[&root.pem()]);
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
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            |reason| matches!(reason, Refusal::WrongPurpose { peer: Peer::Server, .. }),
        ),
    ];
    for (number, (change, expected)) in faults.into_iter().enumerate() {
        let reason = try_server(&files, &root.server(change), HOST).expect_err("a fault");
        assert!(expected(&reason), "{number}: {reason}");
    }
    let both = |params: &mut CertificateParams| {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(try_server(&files, &root.server(both), HOST), Ok(()));
}

#[test]
fn revoked_servers_are_refused() {
    let (folder, root) = (Folder::new(), authority("root"));
    let server = root.server(|params| params.serial_number = Some(77_u64.into()));
    let with_list = |serial| folder.trusting(&[&root.pem(), &root.revocation_list(serial)]);
    assert_eq!(try_server(&with_list(78), &server, HOST), Ok(()));
    let revoked = try_server(&with_list(77), &server, HOST);
    assert!(matches!(revoked, Err(Refusal::Revoked)), "{revoked:?}");
}

#[test]
fn a_directory_may_have_the_trusted_certificates() {
    let (folder, root) = (Folder::new(), authority("root"));
    let files = ClientFiles { authenticate: Some(folder.path()), ..ClientFiles::default() };
    let server = root.server(|_| {});
    assert!(matches!(try_server(&files, &server, HOST), Err(Refusal::Unknown { .. })));
    // `openssl x509 -subject_hash` of CN=root.
    folder.file("dcaaf7f0.0", &[&root.pem()]);
    assert_eq!(try_server(&files, &server, HOST), Ok(()));
}

#[test]
fn a_server_that_requires_a_certificate_gets_it() {
    let (folder, root) = (Folder::new(), authority("root"));
    let server = root.server(|_| {});
    let bare = folder.trusting(&[&root.pem()]);
    let files = ClientFiles {
        certificate: Some(sample_path("self_signed.pem")),
        key: Some(sample_path("pkcs8_aes256.pem")),
        password: Some(Password::new("1234".to_owned())),
        ..bare.clone()
    };
    let expected = std::fs::read(sample_path("self_signed.pem")).expect("a sample");
    let expected = pem::parse(expected).expect("PEM");
    for version in VERSIONS {
        let shown = pki::shown_to(&files, &server, version).expect("accepted");
        assert_eq!(shown.as_ref(), expected.contents());

        let error = pki::shown_to(&bare, &server, version).expect_err("no certificate");
        let text = rzeo_tls::explain(&io::Error::other(error));
        assert!(text.starts_with("the server requires a client certificate"), "{text}");
    }
}

#[test]
fn a_clients_files_must_belong_together() {
    let own = |certificate: &str, key: &str| ClientFiles {
        certificate: Some(sample_path(certificate)),
        key: Some(sample_path(key)),
        authenticate: Some(sample_path("authority.pem")),
        ..ClientFiles::default()
    };
    let error = |files| client_config(&files).expect_err("these files do not fit");
    let locked = error(own("self_signed.pem", "pkcs8_aes256.pem"));
    assert!(matches!(locked, TlsError::PasswordNeeded { .. }), "{locked}");
    let mismatch = error(own("self_signed.pem", "sec1.pem"));
    assert!(matches!(mismatch, TlsError::KeyMismatch { .. }), "{mismatch}");
    let missing = ClientFiles {
        authenticate: Some(sample_path("missing.pem")),
        ..own("both.pem", "both.pem")
    };
    let missing = error(missing);
    assert!(matches!(missing, TlsError::Unreadable { .. }), "{missing}");
}

#[test]
fn a_client_and_a_server_of_rzeo_connect() {
    let server = server_config(&TlsFiles {
        certificate: sample_path("self_signed_ec.pem"),
        key: Some(sample_path("sec1.pem")),
        password: None,
        authenticate: Some(sample_path("self_signed.pem")),
    });
    let server = server.expect("good files");
    let files = ClientFiles {
        certificate: Some(sample_path("self_signed.pem")),
        key: Some(sample_path("pkcs1.pem")),
        authenticate: Some(sample_path("self_signed_ec.pem")),
        check_hostname: false,
        ..ClientFiles::default()
    };
    let tls = client_config(&files).expect("good files");
    let ended = handshake(&tls, server.clone(), HOST).expect("accepted");
    assert_eq!(ended.name_heard.as_deref(), Some(HOST));
    let nameless = tls.server_name(None).expect("a name of no meaning");
    let ended = pki::handshake_as(&tls, server.clone(), nameless).expect("accepted");
    assert_eq!(ended.name_heard, None);

    // A refused client learns the reason, though in TLS 1.3 only after the handshake.
    let stranger = ClientFiles {
        certificate: Some(sample_path("self_signed_ec.pem")),
        key: Some(sample_path("sec1.pem")),
        ..files
    };
    let tls = client_config(&stranger).expect("good files");
    let error = handshake(&tls, server, HOST).err().expect("a stranger");
    let text = rzeo_tls::explain(&io::Error::other(error));
    assert!(text.starts_with("the peer refused this side's certificate"), "{text}");
}

#[test]
fn a_session_is_not_resumed() {
    let (folder, root) = (Folder::new(), authority("root"));
    let tls = client_config(&folder.trusting(&[&root.pem()])).expect("good files");
    let server = root.server(|_| {});
    for version in VERSIONS {
        // A server that would resume it.
        let server = Arc::new(server.config(version, false));
        for _ in 0..2 {
            let ended = handshake(&tls, server.clone(), HOST).expect("accepted");
            assert_eq!(ended.kind, rustls::HandshakeKind::Full);
        }
    }
}

#[test]
fn the_log_explains_what_to_do() {
    let (folder, root) = (Folder::new(), authority("root"));
    let tls = client_config(&folder.trusting(&[&root.pem()])).expect("good files");
    let server = root.server(|_| {}).config(VERSIONS[1], false);
    let error = handshake(&tls, server, "www.example.org").err().expect("another host");
    let text = rzeo_tls::explain(&io::Error::other(error));
    let expected = "certificate of CN=server refused: it is not for www.example.org, but for \
                    zeo.example.org; connect to a name that it has, or set `server-hostname` to one";
    assert_eq!(text, expected);
}
