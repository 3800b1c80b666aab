//! Options and configuration put together: the command line wins over the file, and the file over the
//! environment.

use std::path::{Path, PathBuf};

use rzeo_zconfig::{ConfigError, OverrideError, System, path_of};

use crate::args::ServeOptions;
use crate::config::{FileConfig, ServerConfig, StorageConfig, StorageKind};

/// The address when nothing says otherwise: reachable from this machine only.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8100";
/// The database when nothing says otherwise.
const DEFAULT_PATH: &str = "Data.fs";

/// What to do, once options and configuration are put together.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// How to serve what.
    pub(crate) config: ServerConfig,
    /// Where to write the address.
    pub(crate) address_file: Option<PathBuf>,
    /// Whether to tell how to connect: those who write a configuration know.
    pub(crate) greet: bool,
    /// Whether to stop before serving.
    pub(crate) test: bool,
}

impl Plan {
    /// Reads the configuration file, if there is one.
    pub(crate) fn make(options: &ServeOptions, system: &dyn System) -> Result<Self, ConfigError> {
        let mut config = match &options.configure {
            Some(file) => ServerConfig::read(system, &path_of(file)?, &options.overrides)?,
            None if !options.overrides.is_empty() => {
                let error = OverrideError::NoFile;
                return Err(ConfigError::Override { error, location: None });
            }
            None => default_config(system),
        };
        if let Some(address) = &options.address {
            config.address = address.clone();
        }
        let files: Vec<&PathBuf> = options.data.iter().chain(&options.filename).collect();
        if !files.is_empty() {
            config.storages =
                (1..).zip(files).map(|(number, path)| file_storage(number, path)).collect();
        }
        config.own.runtime = options.runtime.unwrap_or(config.own.runtime);
        config.own.log_format = options.log_format.unwrap_or(config.own.log_format);
        config.own.admin_address = options.admin.clone().or(config.own.admin_address);
        config.transaction_timeout = options.timeout.or(config.transaction_timeout);
        config.pid_filename = options.pid_file.clone().or(config.pid_filename);
        if config.pid_filename.is_none() {
            let home = system.variable("INSTANCE_HOME").filter(|home| !home.is_empty());
            config.pid_filename = home.map(|home| Path::new(&home).join("var/ZEO.pid"));
        }
        let from_environment =
            || system.variable("ZEO_MSGPACK").is_some_and(|text| !text.is_empty());
        let msgpack = options.msgpack || config.msgpack.unwrap_or_else(from_environment);
        config.msgpack = Some(msgpack);
        Ok(Self {
            config,
            address_file: options.address_file.clone(),
            greet: options.configure.is_none() && !options.test,
            test: options.test,
        })
    }
}

fn default_config(system: &dyn System) -> ServerConfig {
    let storages = vec![file_storage(1, Path::new(DEFAULT_PATH))];
    let config = ServerConfig::unwritten(DEFAULT_ADDRESS, storages, system);
    config.expect("the default address is valid")
}

fn file_storage(number: usize, path: &Path) -> StorageConfig {
    let kind = StorageKind::File(FileConfig::at(path.to_owned()));
    StorageConfig { name: number.to_string(), kind }
}

#[cfg(test)]
mod tests {
    use rzeo_zconfig::{MemorySystem, SocketAddress};

    use super::*;

    const CONFIG: &str = "<zeo>\naddress 1\ntransaction-timeout 2\npid-filename p\nmsgpack false\n\
                          </zeo>\n<mappingstorage x/>\n";

    fn plan(options: &ServeOptions, variables: &[(&str, &str)]) -> Plan {
        let system = MemorySystem::with(&[("/dir/c", CONFIG)]);
        let with_variable =
            |system: MemorySystem, (name, value): &(&str, &str)| system.and_variable(name, value);
        let system = variables.iter().fold(system, with_variable);
        Plan::make(options, &system).unwrap()
    }

    fn with_file() -> ServeOptions {
        ServeOptions { configure: Some("c".to_owned()), ..ServeOptions::default() }
    }

    fn address(text: &str) -> SocketAddress {
        SocketAddress::parse(text).unwrap()
    }

    #[test]
    fn without_anything_there_is_a_default_for_all() {
        let plan = plan(&ServeOptions::default(), &[]);
        assert!(plan.greet && !plan.test);
        assert_eq!(plan.config.address, address("127.0.0.1:8100"));
        assert_eq!(plan.config.storages, [file_storage(1, Path::new("Data.fs"))]);
        assert_eq!(plan.config.msgpack, Some(false));
        assert_eq!(plan.config.pid_filename, None);
    }

    #[test]
    fn the_file_wins_over_the_environment() {
        let variables = [("ZEO_MSGPACK", "1"), ("INSTANCE_HOME", "/i")];
        let plan = plan(&with_file(), &variables);
        assert!(!plan.greet);
        assert_eq!(plan.config.address, address("1"));
        assert_eq!(plan.config.transaction_timeout, Some(2.0));
        assert_eq!(plan.config.msgpack, Some(false));
        assert_eq!(plan.config.pid_filename, Some("p".into()));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let options = ServeOptions {
            address: Some(address("2")),
            filename: vec!["a.fs".into(), "b.fs".into()],
            timeout: Some(0.5),
            pid_file: Some("q".into()),
            msgpack: true,
            ..with_file()
        };
        let config = plan(&options, &[]).config;
        assert_eq!(config.address, address("2"));
        assert_eq!(config.transaction_timeout, Some(0.5));
        assert_eq!(config.msgpack, Some(true));
        assert_eq!(config.pid_filename, Some("q".into()));
        let files = [file_storage(1, Path::new("a.fs")), file_storage(2, Path::new("b.fs"))];
        assert_eq!(config.storages, files);
    }

    #[test]
    fn the_environment_fills_the_gaps() {
        let options = ServeOptions { data: Some("my.fs".into()), ..ServeOptions::default() };
        let variables = [("ZEO_MSGPACK", "1"), ("INSTANCE_HOME", "/i")];
        let config = plan(&options, &variables).config;
        assert_eq!(config.msgpack, Some(true));
        assert_eq!(config.pid_filename, Some("/i/var/ZEO.pid".into()));
        assert_eq!(config.storages, [file_storage(1, Path::new("my.fs"))]);
        let empty = plan(&options, &[("ZEO_MSGPACK", ""), ("INSTANCE_HOME", "")]).config;
        assert_eq!((empty.msgpack, empty.pid_filename), (Some(false), None));
    }
}
