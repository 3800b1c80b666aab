//! Warnings about settings that are valid and rarely intended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rzeo_zconfig::{Section, System};

use crate::config::{ServerConfig, StorageKind, ZeoClientConfig};

/// The warnings about a configuration, each a line.
pub(super) fn of(config: &ServerConfig, top: &Section, system: &dyn System) -> Vec<String> {
    let mut warnings = Vec::new();
    of_python(top, &mut warnings);
    of_server(config, &mut warnings);
    of_tls(config, system, &mut warnings);
    of_storages(config, system, &mut warnings);
    of_log(config, &mut warnings);
    warnings
}

/// Settings that Python's server refuses.
fn of_python(top: &Section, warnings: &mut Vec<String>) {
    let is = |section: &&Section, name| section.section_type.name == name;
    if top.sections.iter().any(|section| is(&section, "rzeo")) {
        warnings.push("runzeo refuses the file while <rzeo> is in it".to_owned());
    }
    for client in top.sections.iter().filter(|section| is(section, "zeoclient")) {
        if !client.settings("wait-timeout").is_empty() {
            warnings
                .push("runzeo refuses the file while wait-timeout is in <zeoclient>".to_owned());
        }
        if client.sections.iter().any(|section| is(&section, "ssl")) {
            warnings.push("runzeo refuses the file while <ssl> is in <zeoclient>".to_owned());
        }
    }
    let zeo = top.sections.iter().find(|section| is(section, "zeo"));
    let ssl = zeo.and_then(|zeo| zeo.sections.iter().find(|section| is(section, "ssl")));
    if ssl.is_some_and(|ssl| !ssl.settings("password-command").is_empty()) {
        warnings.push("runzeo refuses the file while password-command is in <ssl>".to_owned());
    }
}

fn of_server(config: &ServerConfig, warnings: &mut Vec<String>) {
    match config.transaction_timeout {
        None => warnings.push(
            "transaction-timeout is not set: a client that hangs between vote and finish blocks changes \
             of the same objects until its connection ends"
                .to_owned(),
        ),
        Some(seconds) if seconds <= 0.0 => {
            warnings.push(format!("transaction-timeout {seconds}: every transaction times out"));
        }
        Some(_) => {}
    }
    if config.invalidation_queue_size == 0 {
        warnings.push(
            "invalidation-queue-size 0: a client that reconnects must verify its whole cache"
                .to_owned(),
        );
    }
    if config.read_only && config.pid_filename.is_some() {
        warnings.push("pid-filename has no effect on a read-only server".to_owned());
    }
    if config.own.handshake_timeout == Duration::ZERO {
        warnings.push("handshake-timeout 0: every connection times out".to_owned());
    }
    if config.own.max_unfinished_handshakes > config.own.max_connections {
        warnings.push("max-unfinished-handshakes is more than max-connections".to_owned());
    }
}

fn of_tls(config: &ServerConfig, system: &dyn System, warnings: &mut Vec<String>) {
    let Some(ssl) = &config.ssl else { return };
    let files = [Some(&ssl.certificate), ssl.key.as_ref(), ssl.authenticate.as_ref()];
    for file in files.into_iter().flatten().filter(|file| !system.exists(file)) {
        warnings.push(format!("{} does not exist", file.display()));
    }
    if ssl.authenticate.is_none() {
        warnings
            .push("authenticate names no trusted certificates: no client can connect".to_owned());
    }
}

fn of_storages(config: &ServerConfig, system: &dyn System, warnings: &mut Vec<String>) {
    let mut owners: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for storage in &config.storages {
        let mut paths = Vec::new();
        of_storage(&storage.kind, &storage.name, &mut paths, warnings);
        for path in paths {
            owners.entry(system.absolute(path)).or_default().push(&storage.name);
        }
    }
    for (path, names) in owners.iter().filter(|(_, names)| names.len() > 1) {
        let names = names.join(", ");
        warnings
            .push(format!("{} is used more than once, by the storages {names}", path.display()));
    }
}

/// Warnings about one storage; its files and directories, which no other storage can use, go into `paths`.
fn of_storage<'a>(
    kind: &'a StorageKind,
    name: &str,
    paths: &mut Vec<&'a Path>,
    warnings: &mut Vec<String>,
) {
    match kind {
        StorageKind::Blob { directory, base } => {
            paths.push(directory);
            of_storage(base, name, paths, warnings);
        }
        StorageKind::Demo { base, changes, .. } => {
            if changes.is_none() {
                warnings.push(format!("storage {name}: changes are lost when the server stops"));
            }
            for inner in [base, changes].into_iter().flatten() {
                of_storage(inner, name, paths, &mut Vec::new());
            }
        }
        StorageKind::File(file) => {
            paths.push(&file.path);
            paths.extend(file.blob_dir.as_deref());
            if file.create {
                warnings.push(format!("storage {name}: create empties the file at every start"));
            }
            if file.create && file.read_only {
                warnings
                    .push(format!("storage {name}: create and read-only contradict each other"));
            }
        }
        StorageKind::Mapping { .. } => {
            warnings.push(format!("storage {name}: all data is lost when the server stops"));
        }
        StorageKind::Zeo(client) => {
            if !client.shared_blob_dir {
                paths.extend(client.blob_dir.as_deref());
            }
            paths.extend(client.cache_path.as_deref());
            of_client(client, name, warnings);
        }
    }
}

/// Warnings about a client of another server.
fn of_client(client: &ZeoClientConfig, name: &str, warnings: &mut Vec<String>) {
    if client.read_only && client.read_only_fallback {
        warnings.push(format!("storage {name}: read-only-fallback has no effect beside read-only"));
    }
    if client.blob_dir.is_none() && (client.shared_blob_dir || client.blob_cache_size.is_some()) {
        warnings.push(format!("storage {name}: without blob-dir no blobs are served"));
    }
}

fn of_log(config: &ServerConfig, warnings: &mut Vec<String>) {
    match &config.eventlog {
        None => warnings.push(
            "there is no <eventlog>: records from level info on are written to standard error, and SIGUSR2 \
             has no effect"
                .to_owned(),
        ),
        Some(log) if log.handlers.is_empty() => {
            warnings.push("<eventlog> has no handlers: no records are written".to_owned());
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use rzeo_zconfig::MemorySystem;

    use super::*;

    fn warnings(text: &str) -> Vec<String> {
        let system = MemorySystem::with(&[("/dir/c", text), ("/dir/cert", "")]);
        let read = ServerConfig::read_with_sections(&system, Path::new("c"), &[]);
        let (config, top) = read.unwrap();
        of(&config, &top, &system)
    }

    #[test]
    fn an_ordinary_file_has_no_warnings() {
        let text = "<zeo>\naddress 1\ntransaction-timeout 30\n</zeo>\n<filestorage>\npath a\n\
                    </filestorage>\n<eventlog>\n<logfile>\npath l\n</logfile>\n</eventlog>\n";
        assert_eq!(warnings(text), Vec::<String>::new());
    }

    #[test]
    fn each_warning_is_given() {
        let text = "<zeo>\naddress 1\ninvalidation-queue-size 0\nread-only on\npid-filename p\n\
                    <ssl>\ncertificate /dir/cert\nkey k\nauthenticate DYNAMIC\npassword-command x\n\
                    </ssl>\n</zeo>\n\
                    <filestorage a>\npath f\ncreate on\nread-only on\n</filestorage>\n\
                    <blobstorage b>\nblob-dir ./d\n<filestorage>\npath /dir/f\n</filestorage>\n\
                    </blobstorage>\n<mappingstorage m/>\n<demostorage d/>\n\
                    <zeoclient z>\nserver 1\nwait-timeout 1\nread-only on\nread-only-fallback on\n\
                    shared-blob-dir on\n<ssl>\ncertificate c\n</ssl>\n</zeoclient>\n\
                    <rzeo>\nhandshake-timeout 0\nmax-connections 1\n</rzeo>\n<eventlog/>\n";
        let starts = [
            "runzeo refuses the file while <rzeo>",
            "runzeo refuses the file while wait-timeout",
            "runzeo refuses the file while <ssl>",
            "runzeo refuses the file while password-command",
            "transaction-timeout is not set",
            "invalidation-queue-size 0",
            "pid-filename has no effect",
            "handshake-timeout 0",
            "max-unfinished-handshakes is more",
            "k does not exist",
            "authenticate names no trusted certificates",
            "storage a: create empties",
            "storage a: create and read-only contradict",
            "storage m: all data is lost",
            "storage d: changes are lost",
            "storage z: read-only-fallback has no effect",
            "storage z: without blob-dir",
            "/dir/f is used more than once, by the storages a, b",
            "<eventlog> has no handlers",
        ];
        let warnings = warnings(text);
        assert_eq!(warnings.len(), starts.len(), "{warnings:#?}");
        for (warning, start) in warnings.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
        }
    }
}
