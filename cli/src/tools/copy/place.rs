//! Where a database is: a file or a server.

use std::fmt;
use std::path::PathBuf;

use crate::tools::wire::Address;

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Server(Address),
}

/// `unix:PATH` and whatever ends in a colon and a port are servers. A file of such a name can be given
/// with a slash in front of it, `./odd:1`.
pub(super) fn parse(text: &str) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(format!("{text:?} lacks the path of a socket")),
            path => Ok(Place::Server(Address::Unix(path.into()))),
        };
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains('/')) else {
        return Ok(Place::File(text.into()));
    };
    if port.is_empty() || port.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Ok(Place::File(text.into()));
    }
    let port = port.parse().map_err(|_| format!("{text:?}: ports are from 0 to 65535"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = if bare.is_empty() { "localhost" } else { bare };
    Ok(Place::Server(Address::Tcp { host: host.to_owned(), port }))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(Address::Unix(path)) => write!(f, "unix:{}", path.display()),
            Self::Server(Address::Tcp { host, port }) if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Server(Address::Tcp { host, port }) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_a_port_is_a_server() {
        let shown = |text: &str| match parse(text) {
            Ok(place @ Place::File(_)) => format!("file {place}"),
            Ok(place @ Place::Server(_)) => format!("server {place}"),
            Err(error) => error,
        };
        let cases = [
            ("Data.fs", "file Data.fs"),
            ("/srv/a:1", "file /srv/a:1"),
            ("a:b", "file a:b"),
            ("db:8100", "server db:8100"),
            (":8100", "server localhost:8100"),
            ("[::1]:8100", "server [::1]:8100"),
            ("unix:/run/zeo", "server unix:/run/zeo"),
            ("unix:", "\"unix:\" lacks the path of a socket"),
            ("db:81000", "\"db:81000\": ports are from 0 to 65535"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
    }
}
