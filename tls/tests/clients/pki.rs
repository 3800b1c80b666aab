//! Authorities, clients and a server in memory; trusted certificates are in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CustomExtension, DnType, GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use rzeo_tls::{Refusal, TlsFiles, refusal, server_config};
use tempfile::TempDir;

/// The number of `CN=root` in a hashed directory: `openssl x509 -subject_hash`.
pub(crate) const ROOT_HASH: &str = "dcaaf7f0";

fn sample_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

pub(crate) fn sample(name: &str) -> String {
    fs::read_to_string(sample_path(name)).expect("a sample")
}

/// The trust store of a server.
pub(crate) struct Trust {
    folder: TempDir,
    path: Option<PathBuf>,
}

impl Trust {
    pub(crate) fn file(pems: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trusted.pem");
        fs::write(&path, pems.concat()).expect("written");
        Self { folder, path: Some(path) }
    }

    pub(crate) fn directory() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Some(folder.path().to_owned());
        Self { folder, path }
    }

    pub(crate) fn empty() -> Self {
        Self { path: None, ..Self::directory() }
    }

    pub(crate) fn put(&self, name: &str, pem: &str) {
        fs::write(self.folder.path().join(name), pem).expect("written");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).expect("removed");
    }

    fn server(&self) -> Arc<ServerConfig> {
        server_config(&TlsFiles {
            certificate: sample_path("self_signed_ec.pem"),
            key: Some(sample_path("sec1.pem")),
            password: None,
            authenticate: self.path.clone(),
        })
        .expect("good files")
    }
}

/// A client with its certificates and key.
#[derive(Clone)]
pub(crate) struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: Option<Arc<PrivateKeyDer<'static>>>,
}

impl Client {
    pub(crate) fn from_samples(certificates: &[&str], key: &str) -> Self {
        let certificate = |name: &&str| CertificateDer::from_pem_file(sample_path(name));
        Self {
            chain: certificates.iter().map(certificate).collect::<Result<_, _>>().expect("PEM"),
            key: Some(Arc::new(PrivateKeyDer::from_pem_file(sample_path(key)).expect("a key"))),
        }
    }

    pub(crate) fn anonymous() -> Self {
        Self { chain: Vec::new(), key: None }
    }

    /// The certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        pem::encode(&pem::Pem::new("CERTIFICATE", self.chain[0].to_vec()))
    }

    /// The client's certificate with another key, on P-256.
    pub(crate) fn with_another_key(&self) -> Self {
        let key = KeyPair::generate().expect("a key").serialize_der();
        let key = PrivateKeyDer::try_from(key).expect("a key");
        Self { key: Some(Arc::new(key)), ..self.clone() }
    }

    /// The client with an authority's certificate behind its own.
    pub(crate) fn sending(&self, authority: &Authority) -> Self {
        let mut client = self.clone();
        client.chain.push(authority.0.der().clone());
        client
    }

    fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting));
        let Some(key) = &self.key else { return builder.with_no_client_auth() };
        let key = ring::sign::any_supported_type(key).expect("a key that ring can use");
        let certified = CertifiedKey::new(self.chain.clone(), key);
        builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
    }
}

/// An issuer of certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn authority(name: &str, algorithm: &'static SignatureAlgorithm) -> Authority {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    Authority(CertifiedIssuer::self_signed(authority_params(name), key).expect("signed"))
}

pub(crate) fn authority_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = authority_params(name);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
}

/// A self-signed client as `openssl req -x509` makes it: with CA:TRUE, but without a key usage.
pub(crate) fn self_signed_client(name: &str, with_ca: bool) -> Authority {
    let mut params = params(name);
    params.is_ca =
        if with_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let key = KeyPair::generate().expect("a key");
    Authority(CertifiedIssuer::self_signed(params, key).expect("signed"))
}

/// An authority that may issue certificates for hosts below a domain only.
pub(crate) fn authority_for_names(name: &str, domain: &str) -> Authority {
    authority_with(name, |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
            excluded_subtrees: Vec::new(),
        });
    })
}

impl Authority {
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn authority(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = authority_params(name);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("signed"))
    }

    /// The authority itself as a client.
    pub(crate) fn as_client(&self) -> Client {
        let key = self.0.key().serialize_der();
        let key = PrivateKeyDer::try_from(key).expect("a key");
        Client { chain: vec![self.0.der().clone()], key: Some(Arc::new(key)) }
    }

    pub(crate) fn client(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Client {
        let mut params = params(name);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Client { chain: vec![certificate.der().clone()], key: Some(Arc::new(key)) }
    }

    pub(crate) fn revocation_list(&self, serials: &[u64], from: i32, until: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(from, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(from, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("signed").pem().expect("PEM")
    }
}

pub(crate) fn unknown_critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 9, 9], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

/// Whether the client's certificate is accepted, or why not; in both versions of TLS.
pub(crate) fn try_client(trust: &Trust, client: &Client) -> Result<(), Refusal> {
    let mut results = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
        match Connections::new(trust, client, version).connect() {
            Ok(_) => Ok(()),
            Err(error) => match refusal(&error) {
                Some(refused) => Err(refused.reason.clone()),
                None => panic!("not about the certificate: {error}"),
            },
        }
    });
    // Times differ.
    let [first, second] = results.each_mut();
    assert_eq!(std::mem::discriminant(first), std::mem::discriminant(second));
    first.clone()
}

/// The server's side of a handshake.
pub(crate) fn handshake(trust: &Trust, client: &Client) -> Result<HandshakeKind, Error> {
    Connections::new(trust, client, &rustls::version::TLS13).connect()
}

/// A server and a client that connects to it repeatedly.
pub(crate) struct Connections {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Connections {
    pub(crate) fn new(
        trust: &Trust,
        client: &Client,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self { server: trust.server(), client: Arc::new(client.config(&[version])) }
    }

    /// Connects, until the server has accepted or refused the client.
    pub(crate) fn connect(&mut self) -> Result<HandshakeKind, Error> {
        let name = ServerName::try_from("server").expect("a name");
        let mut client = ClientConnection::new(self.client.clone(), name).expect("a client");
        let mut server = ServerConnection::new(self.server.clone()).expect("a server");
        while server.is_handshaking() || client.is_handshaking() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("memory");
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).expect("memory");
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).expect("memory");
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("memory");
                client.process_new_packets().expect("the client accepts every server");
            }
        }
        Ok(server.handshake_kind().expect("the handshake is over"))
    }
}

/// A client that accepts every server.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
