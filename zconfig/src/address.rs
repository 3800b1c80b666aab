//! Addresses of sockets, as ZConfig files write them.

use std::fmt;
use std::path::PathBuf;

use crate::conversions;
use crate::invalid::InvalidValue;
use crate::python::{is_space, repr, strip};

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// A host and a port of TCP or UDP.
    Tcp {
        /// The name or number of the host in lower case; `None` if the text has none.
        host: Option<String>,
        /// The port; `None` if the text has none.
        port: Option<u16>,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl SocketAddress {
    /// Reads ZConfig's `socket-binding-address`: `HOST:PORT`, `PORT`, `HOST`, `[IPV6]:PORT`, or a path with
    /// a slash.
    ///
    /// # Errors
    /// A host with blanks, or a port that is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        Self::parse_host(text)
    }

    fn parse_host(text: &str) -> Result<Self, InvalidValue> {
        let Some((before, after)) = text.rsplit_once(':') else {
            return Self::parse_word(text);
        };
        let (host, port_text) = match bracketed(before) {
            Some(host) => (host, after),
            None if before.contains(':') => (bracketed(text).unwrap_or(text), ""),
            None => (before, after),
        };
        let port = if port_text.is_empty() { None } else { Some(conversions::port(port_text)?) };
        Ok(Self::tcp(host, port))
    }

    /// A port if the text is a number, else a host.
    fn parse_word(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(port) = conversions::port(text) {
            return Ok(Self::tcp("", Some(port)));
        }
        if strip(text).is_empty() || text.contains(is_space) {
            return Err(InvalidValue::NotHost(text.to_owned()));
        }
        Ok(Self::tcp(text, None))
    }

    /// Reads ZConfig's `socket-connection-address`: as [`SocketAddress::parse`], with `127.0.0.1` as the
    /// default host.
    ///
    /// # Errors
    /// As [`SocketAddress::parse`].
    pub fn parse_peer(text: &str) -> Result<Self, InvalidValue> {
        Ok(match Self::parse(text)? {
            Self::Tcp { host: None, port } => Self::tcp("127.0.0.1", port),
            other => other,
        })
    }

    /// Reads ZConfig's `inet-address`: a host and a port, also if the host contains slashes.
    ///
    /// # Errors
    /// As [`SocketAddress::parse`].
    pub fn parse_inet(text: &str) -> Result<Self, InvalidValue> {
        Self::parse_host(text)
    }

    fn tcp(host: &str, port: Option<u16>) -> Self {
        Self::Tcp { host: (!host.is_empty()).then(|| host.to_lowercase()), port }
    }
}

/// In Python's notation, as in its messages: `('127.0.0.1', 8100)`, `'./sock'`.
impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => {
                let host = repr(host.as_deref().unwrap_or(""));
                write!(f, "({host}, {})", port.unwrap_or(0))
            }
            Self::Unix(path) => f.write_str(&repr(&path.to_string_lossy())),
        }
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_addresses() {
        let tcp = |host: &str, port| SocketAddress::tcp(host, port);
        let cases = [
            ("8100", tcp("", Some(8100))),
            (":0", tcp("", Some(0))),
            ("127.0.0.1: 0", tcp("127.0.0.1", Some(0))),
            ("HOST:1", tcp("host", Some(1))),
            ("host", tcp("host", None)),
            ("host:", tcp("host", None)),
            ("70000", tcp("70000", None)),
            ("[::1]:80", tcp("::1", Some(80))),
            ("::1", tcp("::1", None)),
            ("[::1]", tcp("::1", None)),
            ("./sock", SocketAddress::Unix("./sock".into())),
        ];
        for (text, address) in cases {
            assert_eq!(SocketAddress::parse(text).unwrap(), address, "{text:?}");
        }
        let cases = [
            ("a b", "not a valid host name: 'a b'"),
            ("", "not a valid host name: ''"),
            ("a:b", "not a whole number: 'b'"),
            (":70000", "70000 is above upper bound (65535)"),
            (":-1", "-1 is below lower bound (0)"),
        ];
        for (text, expected) in cases {
            assert_eq!(SocketAddress::parse(text).unwrap_err().to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn peers_without_a_host_are_on_this_machine() {
        let shown = |text: &str| SocketAddress::parse_peer(text).unwrap().to_string();
        assert_eq!(shown("34567"), "('127.0.0.1', 34567)");
        assert_eq!(shown("host:1"), "('host', 1)");
        let host = SocketAddress::parse_inet("a/b:25").unwrap();
        assert_eq!(host, SocketAddress::tcp("a/b", Some(25)));
    }

    #[test]
    fn addresses_are_shown_as_python_shows_them() {
        let shown = |text: &str| SocketAddress::parse(text).unwrap().to_string();
        assert_eq!(shown("127.0.0.1:8100"), "('127.0.0.1', 8100)");
        assert_eq!(shown("8100"), "('', 8100)");
        assert_eq!(shown("./sock"), "'./sock'");
    }
}
