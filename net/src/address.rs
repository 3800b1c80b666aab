//! Addresses of servers, as users write them.
//!
//! One type serves both sides, because users copy an address from the server's command line to the
//! client's. Only a missing host differs: a server listens on all interfaces then, and a client
//! connects to [`LOOPBACK`].

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The host that a client connects to when an address has none.
pub const LOOPBACK: &str = "127.0.0.1";

/// The prefix of a Unix socket's path that has no `/` in it.
const UNIX_PREFIX: &str = "unix:";

/// A TCP host and port, or the path of a Unix socket.
///
/// | text | meaning |
/// |---|---|
/// | `HOST:PORT`, `[IPV6]:PORT` | TCP |
/// | `:PORT`, `PORT` | TCP; all interfaces for a server, this machine for a client |
/// | `HOST`, `[IPV6]` | TCP; the default port of the protocol, see [`Address::parse`] |
/// | `unix:PATH`, and any text with a `/` | Unix socket |
///
/// ```
/// use rzeo_net::Address;
///
/// assert_eq!("db.example.com:8100".parse(), Ok(Address::tcp("db.example.com", 8100)));
/// assert_eq!("[::1]:8100".parse(), Ok(Address::tcp("::1", 8100)));
/// assert_eq!("/run/zeo.sock".parse(), Ok(Address::unix("/run/zeo.sock")));
/// assert_eq!(Address::parse("localhost", 8100), Ok(Address::tcp("localhost", 8100)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp {
        /// A host name, an IPv4 address or an IPv6 address without brackets.
        host: Option<String>,
        /// The port. A server that listens on port 0 gets any free port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The host has a character that no host name has, or brackets around something else than an
    /// IPv6 address.
    #[error("address {text:?} has the host {host:?}, which is neither a host name nor [IPV6]")]
    BadHost {
        /// The text that was parsed.
        text: String,
        /// The part of it before the port.
        host: String,
    },
    /// The port is not a number, or out of range.
    #[error("address {text:?} has the port {port:?}; a port is a number from 0 to 65535")]
    BadPort {
        /// The text that was parsed.
        text: String,
        /// The part of it after the last colon.
        port: String,
    },
    /// There is no text.
    #[error("the address is empty; write HOST:PORT or the path of a Unix socket")]
    Empty,
    /// `unix:` without a path.
    #[error("address {text:?} has no path; write unix:PATH")]
    NoPath {
        /// The text that was parsed.
        text: String,
    },
    /// A host without a port, where the protocol has no default port.
    #[error(
        "address {text:?} has no port; write {text}:PORT, or a path with a / for a Unix socket"
    )]
    NoPort {
        /// The text that was parsed.
        text: String,
    },
    /// An IPv6 address of which the end could be a port.
    #[error("address {text:?} has several colons; write an IPv6 address as [IPV6] or [IPV6]:PORT")]
    UnbracketedIpv6 {
        /// The text that was parsed.
        text: String,
    },
}

impl Address {
    /// A TCP address. An empty host is no host.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: Some(host.into()).filter(|host| !host.is_empty()), port }
    }

    /// The address of a Unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into())
    }

    /// Parses an address; `default_port` is the port of an address that is only a host.
    ///
    /// [`str::parse`] does the same but refuses an address without a port.
    ///
    /// # Errors
    /// If the text is not an address.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        parse(text, Some(default_port))
    }

    /// The host that a client connects to; `None` for a Unix socket.
    #[must_use]
    pub fn host_to_connect(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host.as_deref().unwrap_or(LOOPBACK)),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text, None)
    }
}

/// As [`Address::parse`] reads it: IPv6 in brackets, `unix:` only in front of a path that would be
/// read as something else.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(host), port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => {
                let path = path.to_string_lossy();
                let is_clear = path.contains('/') && !path.starts_with(UNIX_PREFIX);
                write!(f, "{}{path}", if is_clear { "" } else { UNIX_PREFIX })
            }
        }
    }
}

fn parse(text: &str, default_port: Option<u16>) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
        let no_path = || AddressError::NoPath { text: text.to_owned() };
        return if path.is_empty() { Err(no_path()) } else { Ok(Address::unix(path)) };
    }
    if text.contains('/') {
        return Ok(Address::unix(text));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return parse_bracketed(text, rest, default_port);
    }
    let Some((host, port)) = text.split_once(':') else {
        let is_port = text.bytes().all(|byte| byte.is_ascii_digit());
        return if is_port {
            Ok(Address::Tcp { host: None, port: parse_port(text, text)? })
        } else {
            check_host(text, text)?;
            let no_port = || AddressError::NoPort { text: text.to_owned() };
            Ok(Address::tcp(text, default_port.ok_or_else(no_port)?))
        };
    };
    if port.contains(':') {
        return Err(AddressError::UnbracketedIpv6 { text: text.to_owned() });
    }
    let port = parse_port(text, port)?;
    if !host.is_empty() {
        check_host(text, host)?;
    }
    Ok(Address::tcp(host, port))
}

/// `rest` is what follows the opening bracket.
fn parse_bracketed(
    text: &str,
    rest: &str,
    default_port: Option<u16>,
) -> Result<Address, AddressError> {
    let bad_host = |host: &str| AddressError::BadHost { text: text.to_owned(), host: host.into() };
    let (host, port) = rest.split_once(']').ok_or_else(|| bad_host(text))?;
    // A link-local address names its interface after a percent sign.
    let (number, zone) = host.split_once('%').unwrap_or((host, "eth0"));
    if number.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.chars().all(is_of_host) {
        return Err(bad_host(&text[..text.len() - port.len()]));
    }
    match port.strip_prefix(':') {
        Some(port) => Ok(Address::tcp(host, parse_port(text, port)?)),
        None if port.is_empty() => {
            let no_port = || AddressError::NoPort { text: text.to_owned() };
            Ok(Address::tcp(host, default_port.ok_or_else(no_port)?))
        }
        None => Err(bad_host(text)),
    }
}

fn check_host(text: &str, host: &str) -> Result<(), AddressError> {
    if host.chars().all(is_of_host) {
        return Ok(());
    }
    Err(AddressError::BadHost { text: text.to_owned(), host: host.to_owned() })
}

/// Resolvers differ in what they accept; this only catches what no name has.
fn is_of_host(char: char) -> bool {
    !char.is_whitespace() && !char.is_control() && !"[]%:/,;\"'".contains(char)
}

/// No sign: `+1` is a number for Rust, and a mistake here.
fn parse_port(text: &str, port: &str) -> Result<u16, AddressError> {
    let number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok());
    number
        .flatten()
        .ok_or_else(|| AddressError::BadPort { text: text.to_owned(), port: port.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_parsed() {
        let any = |port| Address::Tcp { host: None, port };
        let cases = [
            ("8109", any(8109)),
            (":8109", any(8109)),
            ("0", any(0)),
            ("127.0.0.1:1", Address::tcp("127.0.0.1", 1)),
            ("localhost", Address::tcp("localhost", 8100)),
            ("127.0.0.1", Address::tcp("127.0.0.1", 8100)),
            ("db_1.example.com:1", Address::tcp("db_1.example.com", 1)),
            ("[::1]:1", Address::tcp("::1", 1)),
            ("[::1]", Address::tcp("::1", 8100)),
            ("[fe80::1%eth0]:1", Address::tcp("fe80::1%eth0", 1)),
            ("/run/zeo:1", Address::unix("/run/zeo:1")),
            ("./zeo", Address::unix("./zeo")),
            ("unix:zeo", Address::unix("zeo")),
            ("unix:/run/zeo", Address::unix("/run/zeo")),
        ];
        for (text, address) in cases {
            assert_eq!(Address::parse(text, 8100), Ok(address), "{text}");
        }
    }

    #[test]
    fn every_error_names_the_value_and_what_is_allowed() {
        let error = |text: &str| Address::parse(text, 8100).unwrap_err().to_string();
        for text in ["a b:1", "[db]:1", "[::1", "[::1]1", "[fe80::1%]:1", "a]:1", "a,b"] {
            assert!(error(text).contains("neither a host name nor [IPV6]"), "{text}");
        }
        for text in [":", "db:", "db:x", "db:+1", ":-1", "70000", "db:70000"] {
            assert!(error(text).contains("a port is a number from 0 to 65535"), "{text}");
        }
        for text in ["::1", "::1:8100", "a:b:c"] {
            assert!(error(text).contains("[IPV6]:PORT"), "{text}");
        }
        assert!(error("").contains("empty"));
        assert!(error("unix:").contains("unix:PATH"));
        let error = |text: &str| text.parse::<Address>().unwrap_err();
        for text in ["localhost", "[::1]"] {
            assert_eq!(error(text), AddressError::NoPort { text: text.to_owned() });
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_displayed_in_the_same_grammar(text in "(unix:)?[a-z0-9:/\\[\\]%. +-]{0,20}") {
            if let Ok(address) = Address::parse(&text, 8100) {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in any::<String>()) {
            let with = Address::parse(&text, 8100);
            // A default port only makes more of it an address.
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(with, Ok(address));
            }
        }

        #[test]
        fn ip_addresses_and_ports_survive(ip in any::<std::net::IpAddr>(), port in any::<u16>()) {
            let text = std::net::SocketAddr::new(ip, port).to_string();
            prop_assert_eq!(text.parse(), Ok(Address::tcp(ip.to_string(), port)));
        }

        #[test]
        fn paths_survive(path in "[^\0]{1,30}") {
            let address = Address::unix(&path);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
