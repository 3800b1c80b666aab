//! Addresses of configuration files, as the rest of the program uses them.

use rzeo_net::Address;
use rzeo_zconfig::SocketAddress;

/// The address in a setting. Without a port, the system chooses a free one.
pub(super) fn address(setting: SocketAddress) -> Address {
    match setting {
        SocketAddress::Tcp { host, port } => Address::Tcp { host, port: port.unwrap_or(0) },
        SocketAddress::Unix(path) => Address::Unix(path),
    }
}
