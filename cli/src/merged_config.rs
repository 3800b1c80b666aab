//! The settings to serve with: the command line overrides the configuration file, and the file overrides the
//! environment.

use std::path::{Path, PathBuf};

use rzeo_net::{Address, LOOPBACK};
use rzeo_zconfig::{ConfigError, OverrideError, System, path_of};

use crate::args::ServeOptions;
use crate::config::{FileConfig, ServerConfig, StorageConfig, StorageKind};
use crate::jobs::ServerJobsOptions;
use crate::values::{DEFAULT_PORT, on_loopback};

/// The database when nothing names one.
const DEFAULT_PATH: &str = "Data.fs";

/// The settings of one run, from all their sources.
#[derive(Debug, PartialEq)]
pub(crate) struct MergedConfig {
    /// Everything that a configuration file can set. The addresses in it count only as far as they are here
    /// too.
    pub(crate) config: ServerConfig,
    /// Where to listen for clients.
    pub(crate) address: Address,
    /// Where to listen for monitoring, if anywhere.
    pub(crate) admin_address: Option<Address>,
    /// Options of the worker in the server's process, if there is to be one.
    pub(crate) jobs: Option<ServerJobsOptions>,
    /// Where to write the address.
    pub(crate) address_file: Option<PathBuf>,
    /// Whether to print how to connect; not with a configuration file, whose author knows the address.
    pub(crate) prints_hint: bool,
    /// Whether to stop before serving.
    pub(crate) test: bool,
}

impl MergedConfig {
    /// Reads the configuration file, if there is one.
    pub(crate) fn read(options: &ServeOptions, system: &dyn System) -> Result<Self, ConfigError> {
        let mut config = match &options.configure {
            Some(file) => ServerConfig::read(system, &path_of(file)?, &options.overrides)?,
            None if !options.overrides.is_empty() => {
                let error = OverrideError::NoFile;
                return Err(ConfigError::Override { error, location: None });
            }
            None => default_config(system),
        };
        let files: Vec<&PathBuf> = options.data.iter().chain(&options.filename).collect();
        if !files.is_empty() {
            config.storages =
                (1..).zip(files).map(|(number, path)| file_storage(number, path)).collect();
        }
        config.own.runtime = options.runtime.unwrap_or(config.own.runtime);
        config.own.log_format = options.log_format.unwrap_or(config.own.log_format);
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
        let admin = config.own.admin_address.clone().map(on_loopback);
        Ok(Self {
            address: options.address.clone().unwrap_or_else(|| config.address.clone()),
            admin_address: options.admin.clone().or(admin),
            config,
            jobs: options.jobs.tasks.is_some().then(|| options.jobs.clone()),
            address_file: options.address_file.clone(),
            prints_hint: options.configure.is_none() && !options.test,
            test: options.test,
        })
    }
}

fn default_config(system: &dyn System) -> ServerConfig {
    let storages = vec![file_storage(1, Path::new(DEFAULT_PATH))];
    let address = format!("{LOOPBACK}:{DEFAULT_PORT}");
    let config = ServerConfig::unwritten(&address, storages, system);
    config.expect("the default address is valid")
}

fn file_storage(number: usize, path: &Path) -> StorageConfig {
    let kind = StorageKind::File(FileConfig::at(path.to_owned()));
    StorageConfig { name: number.to_string(), kind }
}

#[cfg(test)]
mod tests {
    use rzeo_zconfig::MemorySystem;

    use super::*;

    const CONFIG: &str = "<zeo>\naddress 1\ntransaction-timeout 2\npid-filename p\nmsgpack false\n\
                          </zeo>\n<mappingstorage x/>\n";

    fn merged(options: &ServeOptions, variables: &[(&str, &str)]) -> MergedConfig {
        let system = MemorySystem::with(&[("/dir/c", CONFIG)]);
        let with_variable =
            |system: MemorySystem, (name, value): &(&str, &str)| system.and_variable(name, value);
        let system = variables.iter().fold(system, with_variable);
        MergedConfig::read(options, &system).unwrap()
    }

    fn with_file() -> ServeOptions {
        ServeOptions { configure: Some("c".to_owned()), ..ServeOptions::default() }
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn without_anything_there_is_a_default_for_all() {
        let merged = merged(&ServeOptions::default(), &[]);
        assert!(merged.prints_hint && !merged.test);
        assert_eq!(merged.address, address("127.0.0.1:8100"));
        assert_eq!(merged.config.storages, [file_storage(1, Path::new("Data.fs"))]);
        assert_eq!(merged.config.msgpack, Some(false));
        assert_eq!(merged.config.pid_filename, None);
    }

    #[test]
    fn the_file_wins_over_the_environment() {
        let variables = [("ZEO_MSGPACK", "1"), ("INSTANCE_HOME", "/i")];
        let merged = merged(&with_file(), &variables);
        assert!(!merged.prints_hint);
        assert_eq!(merged.address, address("1"));
        assert_eq!(merged.config.transaction_timeout, Some(2.0));
        assert_eq!(merged.config.msgpack, Some(false));
        assert_eq!(merged.config.pid_filename, Some("p".into()));
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
        let merged = merged(&options, &[]);
        assert_eq!(merged.address, address("2"));
        let config = merged.config;
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
        let config = merged(&options, &variables).config;
        assert_eq!(config.msgpack, Some(true));
        assert_eq!(config.pid_filename, Some("/i/var/ZEO.pid".into()));
        assert_eq!(config.storages, [file_storage(1, Path::new("my.fs"))]);
        let empty = merged(&options, &[("ZEO_MSGPACK", ""), ("INSTANCE_HOME", "")]).config;
        assert_eq!((empty.msgpack, empty.pid_filename), (Some(false), None));
    }
}
