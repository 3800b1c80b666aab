//! Authorities, servers and clients in memory; clients read their certificates from files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConnection, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use rzeo_tls::client::{ClientFiles, ClientTls, client_config};
use rzeo_tls::{Pin, Refusal, refusal};
use tempfile::TempDir;

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

pub(crate) fn sample_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

/// The files that a client's settings name.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn file(&self, name: &str, pems: &[&str]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, pems.concat()).expect("written");
        path
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// A client that trusts these.
    pub(crate) fn trusting(&self, pems: &[&str]) -> ClientFiles {
        let authenticate = Some(self.file("trusted.pem", pems));
        ClientFiles { authenticate, ..ClientFiles::default() }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    params
}

/// An issuer of certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

impl Authority {
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a certificate for `zeo.example.org`, changed by `change`.
    pub(crate) fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Server {
        let mut params = params("server");
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![dns("zeo.example.org")];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Server { pem: certificate.pem(), der: certificate.der().clone(), key: key.serialize_der() }
    }

    pub(crate) fn revocation_list(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2900, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("signed").pem().expect("PEM")
    }
}

/// A server with its certificate.
pub(crate) struct Server {
    pub(crate) pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

/// A server with a self-signed certificate.
pub(crate) fn lone_server(change: impl FnOnce(&mut CertificateParams)) -> Server {
    let mut params = params("lone");
    params.subject_alt_names = vec![dns("zeo.example.org")];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    Server { pem: certificate.pem(), der: certificate.der().clone(), key: key.serialize_der() }
}

impl Server {
    pub(crate) fn pin(&self) -> Pin {
        Pin::of(&self.der)
    }

    /// A configuration of rustls, since rzeo's has no choice of versions.
    pub(crate) fn config(
        &self,
        version: &'static SupportedProtocolVersion,
        wants_certificate: bool,
    ) -> ServerConfig {
        let key = PrivateKeyDer::try_from(self.key.clone()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_client_cert_verifier(Arc::new(Wanting { mandatory: wants_certificate }))
            .with_single_cert(vec![self.der.clone()], key)
            .expect("a certificate")
    }
}

/// A server with the certificate of another and a key of its own.
pub(crate) fn thief(
    certificate: &Path,
    version: &'static SupportedProtocolVersion,
) -> ServerConfig {
    let key = KeyPair::generate().expect("a key").serialize_der();
    let key = PrivateKeyDer::try_from(key).expect("a key");
    let key = ring::sign::any_supported_type(&key).expect("a key that ring can use");
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("PEM")];
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}

/// Whether the client accepts the server as this host, or why not; in both versions of TLS.
pub(crate) fn try_server(files: &ClientFiles, server: &Server, host: &str) -> Result<(), Refusal> {
    let tls = client_config(files).expect("good files");
    let mut results =
        VERSIONS.map(|version| match handshake(&tls, server.config(version, false), host) {
            Ok(_) => Ok(()),
            Err(error) => match refusal(&error) {
                Some(refused) => Err(refused.reason.clone()),
                None => panic!("not about the certificate: {error}"),
            },
        });
    // Times differ.
    let [first, second] = results.each_mut();
    assert_eq!(std::mem::discriminant(first), std::mem::discriminant(second));
    first.clone()
}

/// The certificate that the client sends to a server that requests one, or the client's error.
pub(crate) fn shown_to(
    files: &ClientFiles,
    server: &Server,
    version: &'static SupportedProtocolVersion,
) -> Result<CertificateDer<'static>, Error> {
    let tls = client_config(files).expect("good files");
    let config = server.config(version, true);
    let ended = handshake(&tls, config, "zeo.example.org")?;
    Ok(ended.client_certificate.expect("the server requested one"))
}

/// The result of a handshake.
pub(crate) struct Ended {
    pub(crate) kind: HandshakeKind,
    pub(crate) name_heard: Option<String>,
    client_certificate: Option<CertificateDer<'static>>,
}

/// A handshake, until both sides have accepted or refused it; the client's error, if it has one.
pub(crate) fn handshake(
    tls: &ClientTls,
    server: impl Into<Arc<ServerConfig>>,
    host: &str,
) -> Result<Ended, Error> {
    let name = tls.server_name(Some(host)).expect("a name");
    handshake_as(tls, server.into(), name)
}

pub(crate) fn handshake_as(
    tls: &ClientTls,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
) -> Result<Ended, Error> {
    let mut client = ClientConnection::new(tls.config().clone(), name).expect("a client");
    let mut server = ServerConnection::new(server).expect("a server");
    let mut failed = None;
    while client.wants_write() || server.wants_write() {
        let wire = written(|wire| client.wants_write().then(|| client.write_tls(wire)));
        let mut rest = wire.as_slice();
        while !rest.is_empty() && failed.is_none() {
            server.read_tls(&mut rest).expect("memory");
            failed = server.process_new_packets().err();
        }
        let wire = written(|wire| server.wants_write().then(|| server.write_tls(wire)));
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
    }
    // The server's alert reaches the client, which reports it above.
    assert_eq!(failed, None);
    Ok(Ended {
        kind: client.handshake_kind().expect("the handshake is over"),
        name_heard: server.server_name().map(str::to_owned),
        client_certificate: server
            .peer_certificates()
            .and_then(|chain| Some(chain.first()?.clone().into_owned())),
    })
}

fn written(mut write: impl FnMut(&mut Vec<u8>) -> Option<io::Result<usize>>) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(written) = write(&mut wire) {
        written.expect("memory");
    }
    wire
}

/// A server that accepts every client, and can request a certificate.
#[derive(Debug)]
struct Wanting {
    mandatory: bool,
}

impl ClientCertVerifier for Wanting {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
