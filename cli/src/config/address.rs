//! Addresses of configuration files, as the rest of the program uses them.

use rzeo_net::Address;
use rzeo_zconfig::SocketAddress;

/// The address that a setting stands for. Without a port, it is any free port.
pub(super) fn address(setting: SocketAddress) -> Address {
    match setting {
        SocketAddress::Tcp { host, port } => Address::Tcp { host, port: port.unwrap_or(0) },
        SocketAddress::Unix(path) => Address::Unix(path),
    }
}
