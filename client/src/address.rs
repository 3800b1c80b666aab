//! Where servers are.

use std::fmt;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The host of an address that names none.
const THIS_MACHINE: &str = "127.0.0.1";

/// Where a server listens.
///
/// ```
/// use rzeo_client::Address;
///
/// let spelled = |text: &str| text.parse::<Address>().map(|address| address.to_string());
/// assert_eq!(spelled("db.example.com:8100").as_deref(), Ok("db.example.com:8100"));
/// assert_eq!(spelled(":8100").as_deref(), Ok("127.0.0.1:8100"));
/// assert_eq!(spelled("8100").as_deref(), Ok("127.0.0.1:8100"));
/// assert_eq!(spelled("[::1]:8100").as_deref(), Ok("[::1]:8100"));
/// assert_eq!(spelled("unix:/run/zeo.sock").as_deref(), Ok("/run/zeo.sock"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over the network.
    Tcp {
        /// A name or a number; a name may have several numbers, which are tried in turn.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text that names no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither a port nor a path.
    #[error(
        "{text:?} is no address: the port is missing, or for a Unix socket the / at the beginning"
    )]
    NoPort {
        /// The text.
        text: String,
    },
    /// What stands where a port should is none.
    #[error("{text:?} is no address: {port:?} is no port: {error}")]
    BadPort {
        /// The text.
        text: String,
        /// Its part.
        port: String,
        /// What is wrong with that.
        error: ParseIntError,
    },
}

impl Address {
    /// A server on the network.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// A server's Unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into())
    }

    /// The host, if it is on the network.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }
}

/// `host:port`, `[IPv6]:port`, `:port` and `port` for this machine; `/path` or `unix:/path` for a Unix
/// socket.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
        if let Some(path) = path {
            return Ok(Self::unix(path));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None if text.starts_with(|first: char| first.is_ascii_digit()) => ("", text),
            None => return Err(AddressError::NoPort { text: text.to_owned() }),
        };
        let port = port.parse().map_err(|error| AddressError::BadPort {
            text: text.to_owned(),
            port: port.to_owned(),
            error,
        })?;
        let number = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = number.unwrap_or(host);
        Ok(Self::tcp(if host.is_empty() { THIS_MACHINE } else { host }, port))
    }
}

/// As it is parsed, IPv6 in brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_spelled_in_many_ways() {
        let here = Address::tcp("127.0.0.1", 8100);
        let cases = [
            ("8100", here.clone()),
            (":8100", here.clone()),
            ("127.0.0.1:8100", here),
            ("db:1", Address::tcp("db", 1)),
            ("[fe80::1%eth0]:1", Address::tcp("fe80::1%eth0", 1)),
            ("::1:8100", Address::tcp("::1", 8100)),
            ("/run/zeo:1", Address::unix("/run/zeo:1")),
            ("unix:zeo", Address::unix("zeo")),
        ];
        for (text, address) in cases {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            let spelled = address.to_string();
            assert!(spelled == "zeo" || spelled.parse() == Ok(address), "{spelled}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let wrong = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        assert!(wrong("localhost").contains("the port is missing"));
        assert!(wrong("").contains("\"\" is no address"));
        assert!(wrong("db:70000").contains("\"70000\" is no port: number too large"));
        assert!(wrong("db:").contains("\"\" is no port"));
    }
}
