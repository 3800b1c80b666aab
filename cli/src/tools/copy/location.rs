//! Where a database is: a file or a server.

use std::fmt;
use std::path::PathBuf;

use rzeo_net::{Address, AddressError};

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    File(PathBuf),
    Server(Address),
}

/// `unix:PATH` and texts that end with a colon and a port are servers. A file with such a name can be given
/// with a directory: `./odd:1`.
pub(super) fn parse(text: &str) -> Result<Location, AddressError> {
    let is_digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port =
        (text.rsplit_once(':')).is_some_and(|(host, port)| !host.contains('/') && is_digits(port));
    if !has_port && !text.starts_with("unix:") {
        return Ok(Location::File(text.into()));
    }
    text.parse().map(Location::Server)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(address) => f.write_str(&shown(address)),
        }
    }
}

/// An address as it is given to `rzeo copy`, where a path without `unix:` is a file.
pub(super) fn shown(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp { .. } => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_a_port_is_a_server() {
        let shown = |text: &str| match parse(text) {
            Ok(location @ Location::File(_)) => format!("file {location}"),
            Ok(location @ Location::Server(_)) => format!("server {location}"),
            Err(error) => error.to_string(),
        };
        let cases = [
            ("Data.fs", "file Data.fs"),
            ("/srv/a:1", "file /srv/a:1"),
            ("a:b", "file a:b"),
            ("db:8100", "server db:8100"),
            (":8100", "server :8100"),
            ("[::1]:8100", "server [::1]:8100"),
            ("unix:/run/zeo", "server unix:/run/zeo"),
            ("unix:", "address \"unix:\" has no path; write unix:PATH"),
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
