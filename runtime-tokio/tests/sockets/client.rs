//! A minimal client that blocks, over any kind of socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use rzeo_core::value::{ReadLimits, Value};
use rzeo_core::wire::{Codec, Deframer, Flag, Outgoing};
use rzeo_core::{Oid, Tid};
use rzeo_net::Address;

/// How long a read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The certificate that a client trusts, if it uses TLS.
pub(crate) type Dial<'a> = Option<&'a CertifiedKey<KeyPair>>;

/// Any free port.
pub(crate) fn local() -> Address {
    Address::tcp("127.0.0.1", 0)
}

pub(crate) fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn server_config(certificate: &CertifiedKey<KeyPair>) -> Arc<ServerConfig> {
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate.cert.der().clone()], key.into()).unwrap())
}

/// Trusts this certificate only.
pub(crate) fn client_config(certificate: &CertifiedKey<KeyPair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) fn tls_stream<S: Read + Write>(
    stream: S,
    certificate: &CertifiedKey<KeyPair>,
) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(client_config(certificate), name).unwrap(), stream)
}

/// Reads to the end, which may be an error.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock));
    bytes
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    codec: Codec,
    name: String,
    deframer: Deframer,
    calls: i64,
}

impl Client {
    /// Connects and receives the greeting.
    pub(crate) fn connect(address: &Address, tls: Dial<'_>, codec: Codec) -> Self {
        let (stream, name): (Box<dyn Stream>, String) = match address {
            Address::Tcp { .. } => {
                let stream = TcpStream::connect(address.to_string()).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
                let name = stream.local_addr().unwrap().to_string();
                (secured(stream, tls), name)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
                (secured(stream, tls), "unix".into())
            }
        };
        let deframer = Deframer::new(u32::MAX);
        let mut client = Self { stream, codec, name, deframer, calls: 0 };
        let greeting = client.frame().unwrap();
        assert!([b"Z5", b"M5"].iter().any(|known| *known == &greeting[..]), "{greeting:?}");
        client
    }

    pub(crate) fn registered(mut self) -> Self {
        self.register();
        self
    }

    pub(crate) fn register(&mut self) {
        let codec = self.codec;
        self.send_frame(codec.greeting());
        self.call("register", vec![Value::text("1"), Value::Bool(false)]);
    }

    /// The name of the client in the server's log.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    pub(crate) fn send_frame(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        self.stream.write_all(&[&length.to_be_bytes(), payload].concat()).unwrap();
        self.stream.flush().unwrap();
    }

    fn frame(&mut self) -> io::Result<bytes::Bytes> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(frame) = self.deframer.next_frame().unwrap() {
                return Ok(frame);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                count => self.deframer.push(&buffer[..count]),
            }
        }
    }

    /// Reads until the server has no more to say.
    pub(crate) fn end(&mut self) -> io::Result<u64> {
        io::copy(&mut self.stream, &mut io::sink())
    }

    fn message(&self, out: &mut Outgoing, flag: Flag, name: &str, args: Vec<Value>) {
        let id = if flag == Flag::Oneway { 0 } else { self.calls };
        self.codec.write(out, &Value::Int(id), flag, name, &Value::Tuple(args)).unwrap();
    }

    fn write(&mut self, out: &mut Outgoing) {
        while let Some(chunk) = out.take_chunk() {
            self.stream.write_all(&chunk).unwrap();
        }
        self.stream.flush().unwrap();
    }

    /// Calls and does not wait.
    pub(crate) fn send(&mut self, name: &str, args: Vec<Value>) {
        self.calls += 1;
        let mut out = Outgoing::new();
        self.message(&mut out, Flag::Call, name, args);
        self.write(&mut out);
    }

    /// The answer to the last call.
    pub(crate) fn reply(&mut self, name: &str) -> Value {
        loop {
            let frame = self.frame().unwrap();
            let envelope = self.codec.read(&frame, &ReadLimits::default()).unwrap();
            if envelope.msgid == Value::Int(self.calls) {
                assert!(!envelope.flag, "{name}: {:?}", envelope.args);
                return envelope.args;
            }
        }
    }

    pub(crate) fn call(&mut self, name: &str, args: Vec<Value>) -> Value {
        self.send(name, args);
        self.reply(name)
    }

    pub(crate) fn new_oid(&mut self) -> Oid {
        let oids = self.call("new_oids", vec![Value::Int(1)]);
        let (Value::Tuple(oids) | Value::List(oids)) = oids else { panic!("{oids:?}") };
        let Some(Value::Bytes(oid)) = oids.first() else { panic!("{oids:?}") };
        Oid::from_slice(oid).unwrap()
    }

    /// A transaction up to its vote.
    pub(crate) fn vote(&mut self, stores: &[(Oid, Tid)], length: usize) {
        let txn = || Value::Int(7);
        let empty = || Value::Bytes(bytes::Bytes::new());
        let mut out = Outgoing::new();
        let begin =
            vec![txn(), empty(), empty(), Value::Dict(vec![]), Value::None, Value::text(" ")];
        self.message(&mut out, Flag::Oneway, "tpc_begin", begin);
        for (oid, serial) in stores {
            let record = Value::Bytes(vec![b'.'; length].into());
            let args = vec![Value::oid(*oid), Value::tid(*serial), record, txn()];
            self.message(&mut out, Flag::Oneway, "storea", args);
        }
        self.write(&mut out);
        self.call("vote", vec![txn()]);
    }

    pub(crate) fn commit(&mut self, stores: &[(Oid, Tid)], length: usize) -> Tid {
        self.vote(stores, length);
        match self.call("tpc_finish", vec![Value::Int(7)]) {
            Value::Bytes(tid) => Tid::from_slice(&tid).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The length and the serial of the current record.
    pub(crate) fn load(&mut self, oid: Oid) -> (usize, Tid) {
        let reply = self.call("loadBefore", vec![Value::oid(oid), Value::tid(Tid::MAX)]);
        let (Value::Tuple(parts) | Value::List(parts)) = reply else { panic!("{reply:?}") };
        let [Value::Bytes(record), Value::Bytes(serial), Value::None] = &parts[..] else {
            panic!("{parts:?}")
        };
        (record.len(), Tid::from_slice(serial).unwrap())
    }
}

fn secured<S: Read + Write + 'static>(stream: S, tls: Dial<'_>) -> Box<dyn Stream> {
    match tls {
        Some(certificate) => Box::new(tls_stream(stream, certificate)),
        None => Box::new(stream),
    }
}
