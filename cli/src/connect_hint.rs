//! The hint for a user who starts a server by hand: how to connect to it.

use rzeo_net::{Address, LOOPBACK};

use crate::config::{StorageConfig, StorageKind};

/// The hint, one line for each storage.
pub(crate) fn lines(addresses: &[Address], storages: &[StorageConfig]) -> String {
    let Some(address) = addresses.first().map(reachable) else { return String::new() };
    let lines: Vec<String> = storages.iter().map(|storage| line(&address, storage)).collect();
    lines.join("\n")
}

fn line(address: &Address, storage: &StorageConfig) -> String {
    let name = &storage.name;
    let what = match &storage.kind {
        StorageKind::File(file) => file.path.display().to_string(),
        other => other.class_name().to_owned(),
    };
    let (client, uri) = match address {
        Address::Tcp { host, port } => {
            let host = host.as_deref().unwrap_or(LOOPBACK);
            (format!("(\"{host}\", {port})"), format!("zeo://{address}"))
        }
        Address::Unix(path) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            (format!("{:?}", path.display().to_string()), format!("zeo://{}", absolute.display()))
        }
    };
    let (argument, query, setting) = if name == "1" {
        (String::new(), String::new(), String::new())
    } else {
        (format!(", storage={name:?}"), format!("?storage={name}"), format!(" storage {name}"))
    };
    format!(
        "serving {what} as storage {name:?} on {address}; connect with \
         ZEO.client({client}{argument}), {uri}{query}, or <zeoclient> server {address}{setting}"
    )
}

/// Clients cannot connect to the address of all interfaces.
fn reachable(address: &Address) -> Address {
    match address {
        Address::Tcp { host: Some(host), port } if host == "0.0.0.0" => {
            Address::tcp(LOOPBACK, *port)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FileConfig;

    fn tcp(host: &str) -> Address {
        Address::tcp(host, 8100)
    }

    fn storage(name: &str) -> StorageConfig {
        let kind = StorageKind::File(FileConfig::at("Data.fs".into()));
        StorageConfig { name: name.to_owned(), kind }
    }

    #[test]
    fn every_kind_of_address_can_be_connected_to() {
        let cases = [
            (
                tcp("127.0.0.1"),
                "127.0.0.1:8100; connect with ZEO.client((\"127.0.0.1\", 8100)), \
                 zeo://127.0.0.1:8100, or <zeoclient> server 127.0.0.1:8100",
            ),
            (
                tcp("0.0.0.0"),
                "127.0.0.1:8100; connect with ZEO.client((\"127.0.0.1\", 8100)), \
                 zeo://127.0.0.1:8100, or <zeoclient> server 127.0.0.1:8100",
            ),
            (
                tcp("::1"),
                "[::1]:8100; connect with ZEO.client((\"::1\", 8100)), zeo://[::1]:8100, or \
                 <zeoclient> server [::1]:8100",
            ),
            (
                Address::Unix("/run/zeo".into()),
                "/run/zeo; connect with ZEO.client(\"/run/zeo\"), zeo:///run/zeo, or <zeoclient> \
                 server /run/zeo",
            ),
        ];
        for (address, expected) in cases {
            let line = lines(&[address], &[storage("1")]);
            assert_eq!(line, format!("serving Data.fs as storage \"1\" on {expected}"));
        }
    }

    #[test]
    fn every_storage_has_its_line() {
        let all = lines(&[tcp("::1"), tcp("127.0.0.1")], &[storage("1"), storage("2")]);
        let (_, second) = all.split_once('\n').unwrap();
        assert_eq!(
            second,
            "serving Data.fs as storage \"2\" on [::1]:8100; connect with ZEO.client((\"::1\", 8100), \
             storage=\"2\"), zeo://[::1]:8100?storage=2, or <zeoclient> server [::1]:8100 storage 2"
        );
    }
}
