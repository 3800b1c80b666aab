//! Records for syslog, as Python's `SysLogHandler` sends them.
//!
//! A message is `<PRIORITY>TEXT` and a zero byte, in a UDP packet, or in a packet or the stream of a Unix
//! socket. There are no responses.

use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use rzeo_zconfig::SocketAddress;

use crate::delivery::{DELIVERY_TIME_MAX, Message, Transport};
use crate::level::Level;

/// Syslog's UDP port.
const PORT: u16 = 514;

/// The part of a system that records come from, in syslog's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

const FACILITIES: [(&str, u8); 20] = [
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("kern", 0),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    ("security", 13),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
];

impl Facility {
    /// The facility of that name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, code)| Self(*code))
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        FACILITIES.map(|(name, _)| name).join(", ")
    }
}

/// The severity. Python maps five levels; the others are warnings.
fn severity(level: Level) -> u8 {
    match level {
        Level::DEBUG => 7,
        Level::INFO => 6,
        Level::ERROR => 3,
        Level::CRITICAL => 2,
        _ => 4,
    }
}

/// Sends each record as a datagram.
pub(crate) struct SyslogTransport {
    facility: Facility,
    socket: Socket,
}

enum Socket {
    Udp(UdpSocket, SocketAddr),
    Unix(PathBuf, Option<UnixSocket>),
}

enum UnixSocket {
    Packets(UnixDatagram),
    Stream(UnixStream),
}

impl SyslogTransport {
    /// Prepares to send. A Unix socket need not exist yet.
    pub(crate) fn open(address: &SocketAddress, facility: Facility) -> io::Result<Self> {
        let socket = match address {
            SocketAddress::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or("127.0.0.1");
                let to = (host, port.unwrap_or(PORT)).to_socket_addrs()?.next();
                let to = to.ok_or_else(|| io::Error::other(format!("no address for {host}")))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                Socket::Udp(UdpSocket::bind(any)?, to)
            }
            SocketAddress::Unix(path) => Socket::Unix(path.clone(), UnixSocket::open(path).ok()),
        };
        Ok(Self { facility, socket })
    }
}

impl Transport for SyslogTransport {
    fn deliver(&mut self, message: &Message) -> io::Result<()> {
        let priority = self.facility.0 << 3 | severity(message.level);
        let text = format!("<{priority}>{}\0", message.text);
        match &mut self.socket {
            Socket::Udp(socket, to) => socket.send_to(text.as_bytes(), *to).map(|_| ()),
            Socket::Unix(path, socket) => {
                if let Some(open) = socket
                    && open.send(text.as_bytes()).is_ok()
                {
                    return Ok(());
                }
                // The syslog server can have been restarted.
                *socket = None;
                socket.insert(UnixSocket::open(path)?).send(text.as_bytes())
            }
        }
    }
}

impl UnixSocket {
    fn open(path: &Path) -> io::Result<Self> {
        let packets = UnixDatagram::unbound()?;
        packets.set_write_timeout(Some(DELIVERY_TIME_MAX))?;
        if packets.connect(path).is_ok() {
            return Ok(Self::Packets(packets));
        }
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(DELIVERY_TIME_MAX))?;
        Ok(Self::Stream(stream))
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Packets(socket) => socket.send(message).map(|_| ()),
            Self::Stream(stream) => stream.write_all(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn message(level: Level, text: &str) -> Message {
        Message { level, text: text.to_owned() }
    }

    fn open(address: &str) -> SyslogTransport {
        let address = SocketAddress::parse(address).unwrap();
        SyslogTransport::open(&address, Facility::named("LOCAL3").unwrap()).unwrap()
    }

    /// Python's handler sent the same bytes for the same records.
    #[test]
    fn packets_are_pythons() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut syslog = open(&socket.local_addr().unwrap().to_string());
        let cases: [(Level, &str, &[u8]); 4] = [
            (Level::CRITICAL, "ZEO x", b"<154>ZEO x\0"),
            (Level::INFO, "\u{e9}", b"<158>\xc3\xa9\0"),
            (Level::BLATHER, "b", b"<156>b\0"),
            (Level::DEBUG, "", b"<159>\0"),
        ];
        for (level, text, bytes) in cases {
            syslog.deliver(&message(level, text)).unwrap();
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], bytes);
        }
        assert_eq!(Facility::named("Security"), Some(Facility(13)));
        assert_eq!(Facility::named("ftp"), None);
    }

    #[test]
    fn a_unix_socket_can_appear_late_and_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut syslog = open(path.to_str().unwrap());
        assert!(syslog.deliver(&message(Level::INFO, "lost")).is_err());
        let receive = |socket: &UnixDatagram| {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let socket = UnixDatagram::bind(&path).unwrap();
        syslog.deliver(&message(Level::INFO, "1")).unwrap();
        assert_eq!(receive(&socket), "<158>1\0");
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        syslog.deliver(&message(Level::ERROR, "2")).unwrap();
        drop(syslog);
        let mut all = String::new();
        listener.accept().unwrap().0.read_to_string(&mut all).unwrap();
        assert_eq!(all, "<155>2\0");
    }
}
