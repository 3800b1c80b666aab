//! Where a database is: a file or a server.

use std::fmt;
use std::path::PathBuf;

use rzeo_client::{Address, AddressError};

use super::server;

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Server(Address),
}

/// `unix:PATH` and whatever ends in a colon and a port are servers. A file of such a name can be given
/// with a slash in front of it, `./odd:1`.
pub(super) fn parse(text: &str) -> Result<Place, String> {
    if text == "unix:" {
        return Err(format!("{text:?} lacks the path of a socket"));
    }
    let is_digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port =
        (text.rsplit_once(':')).is_some_and(|(host, port)| !host.contains('/') && is_digits(port));
    if !has_port && !text.starts_with("unix:") {
        return Ok(Place::File(text.into()));
    }
    text.parse().map(Place::Server).map_err(|error: AddressError| error.to_string())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(address) => f.write_str(&server::place(address)),
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
            (":8100", "server :8100"),
            ("[::1]:8100", "server [::1]:8100"),
            ("unix:/run/zeo", "server unix:/run/zeo"),
            ("unix:", "\"unix:\" lacks the path of a socket"),
            (
                "db:81000",
                "address \"db:81000\" has the port \"81000\"; a port is a number from 0 to 65535",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
    }
}
