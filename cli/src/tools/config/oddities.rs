//! What is legal in a configuration, and rarely meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Section, ServerConfig, StorageKind, System, ZeoClientConfig};

/// A sentence for each.
pub(super) fn of(config: &ServerConfig, top: &Section, system: &dyn System) -> Vec<String> {
    let mut odd = Vec::new();
    of_python(top, &mut odd);
    of_server(config, &mut odd);
    of_tls(config, system, &mut odd);
    of_storages(config, system, &mut odd);
    of_log(config, &mut odd);
    odd
}

/// What keeps one from going back.
fn of_python(top: &Section, odd: &mut Vec<String>) {
    let is = |section: &&Section, name| section.section_type.name == name;
    if top.sections.iter().any(|section| is(&section, "rzeo")) {
        odd.push("runzeo refuses the file while <rzeo> is in it".to_owned());
    }
    for client in top.sections.iter().filter(|section| is(section, "zeoclient")) {
        if !client.settings("wait-timeout").is_empty() {
            odd.push("runzeo refuses the file while wait-timeout is in <zeoclient>".to_owned());
        }
        if client.sections.iter().any(|section| is(&section, "ssl")) {
            odd.push("runzeo refuses the file while <ssl> is in <zeoclient>".to_owned());
        }
    }
    let zeo = top.sections.iter().find(|section| is(section, "zeo"));
    let ssl = zeo.and_then(|zeo| zeo.sections.iter().find(|section| is(section, "ssl")));
    if ssl.is_some_and(|ssl| !ssl.settings("password-command").is_empty()) {
        odd.push("runzeo refuses the file while password-command is in <ssl>".to_owned());
    }
}

fn of_server(config: &ServerConfig, odd: &mut Vec<String>) {
    match config.transaction_timeout {
        None => odd.push(
            "transaction-timeout is not set: a client that hangs between vote and finish keeps \
             others from changing the same objects until its connection ends"
                .to_owned(),
        ),
        Some(seconds) if seconds <= 0.0 => {
            odd.push(format!("transaction-timeout {seconds}: no transaction will be in time"));
        }
        Some(_) => {}
    }
    if config.invalidation_queue_size == 0 {
        odd.push(
            "invalidation-queue-size 0: a client that reconnects has to check all of its cache"
                .to_owned(),
        );
    }
    if config.read_only && config.pid_filename.is_some() {
        odd.push("pid-filename has no effect on a read-only server".to_owned());
    }
    if config.own.handshake_timeout == Duration::ZERO {
        odd.push("handshake-timeout 0: no client will be in time".to_owned());
    }
    if config.own.max_unfinished_handshakes > config.own.max_connections {
        odd.push("max-unfinished-handshakes is more than max-connections".to_owned());
    }
}

fn of_tls(config: &ServerConfig, system: &dyn System, odd: &mut Vec<String>) {
    let Some(ssl) = &config.ssl else { return };
    let files = [Some(&ssl.certificate), ssl.key.as_ref(), ssl.authenticate.as_ref()];
    for file in files.into_iter().flatten().filter(|file| !system.exists(file)) {
        odd.push(format!("{} does not exist", file.display()));
    }
    if ssl.authenticate.is_none() {
        odd.push("authenticate names no certificates: no client can connect".to_owned());
    }
}

fn of_storages(config: &ServerConfig, system: &dyn System, odd: &mut Vec<String>) {
    let mut owners: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for storage in &config.storages {
        let mut paths = Vec::new();
        of_storage(&storage.kind, &storage.name, &mut paths, odd);
        for path in paths {
            owners.entry(system.absolute(path)).or_default().push(&storage.name);
        }
    }
    for (path, names) in owners.iter().filter(|(_, names)| names.len() > 1) {
        let names = names.join(", ");
        odd.push(format!("{} is used more than once, in the storages {names}", path.display()));
    }
}

/// What is odd about one storage, and the files and directories that must be its own.
fn of_storage<'a>(
    kind: &'a StorageKind,
    name: &str,
    paths: &mut Vec<&'a Path>,
    odd: &mut Vec<String>,
) {
    match kind {
        StorageKind::Blob { directory, base } => {
            paths.push(directory);
            of_storage(base, name, paths, odd);
        }
        StorageKind::Demo { base, changes, .. } => {
            if changes.is_none() {
                odd.push(format!("storage {name}: changes are lost when the server ends"));
            }
            for inner in [base, changes].into_iter().flatten() {
                of_storage(inner, name, paths, &mut Vec::new());
            }
        }
        StorageKind::File(file) => {
            paths.push(&file.path);
            paths.extend(file.blob_dir.as_deref());
            if file.create {
                odd.push(format!("storage {name}: create empties the file at each start"));
            }
            if file.create && file.read_only {
                odd.push(format!("storage {name}: create and read-only contradict each other"));
            }
        }
        StorageKind::Mapping { .. } => {
            odd.push(format!("storage {name}: all is lost when the server ends"));
        }
        StorageKind::Zeo(client) => {
            if !client.shared_blob_dir {
                paths.extend(client.blob_dir.as_deref());
            }
            paths.extend(client.cache_path.as_deref());
            of_client(client, name, odd);
        }
    }
}

/// What is odd about a client of another server.
fn of_client(client: &ZeoClientConfig, name: &str, odd: &mut Vec<String>) {
    if client.read_only && client.read_only_fallback {
        odd.push(format!("storage {name}: read-only-fallback has no effect beside read-only"));
    }
    if client.blob_dir.is_none() && (client.shared_blob_dir || client.blob_cache_size.is_some()) {
        odd.push(format!("storage {name}: without blob-dir no blobs are served"));
    }
}

fn of_log(config: &ServerConfig, odd: &mut Vec<String>) {
    match &config.eventlog {
        None => odd.push(
            "there is no <eventlog>: records from info on go to standard error, and SIGUSR2 does \
             nothing"
                .to_owned(),
        ),
        Some(log) if log.handlers.is_empty() => {
            odd.push("<eventlog> has no handlers: nothing is logged".to_owned());
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FakeSystem;

    fn oddities(text: &str) -> Vec<String> {
        let system = FakeSystem::with(&[("/dir/c", text), ("/dir/cert", "")]);
        let read = ServerConfig::read_with_sections(&system, Path::new("c"), &[]);
        let (config, top) = read.unwrap();
        of(&config, &top, &system)
    }

    #[test]
    fn an_ordinary_file_has_none() {
        let text = "<zeo>\naddress 1\ntransaction-timeout 30\n</zeo>\n<filestorage>\npath a\n\
                    </filestorage>\n<eventlog>\n<logfile>\npath l\n</logfile>\n</eventlog>\n";
        assert_eq!(oddities(text), Vec::<String>::new());
    }

    #[test]
    fn each_is_said() {
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
            "authenticate names no certificates",
            "storage a: create empties",
            "storage a: create and read-only contradict",
            "storage m: all is lost",
            "storage d: changes are lost",
            "storage z: read-only-fallback has no effect",
            "storage z: without blob-dir",
            "/dir/f is used more than once, in the storages a, b",
            "<eventlog> has no handlers",
        ];
        let oddities = oddities(text);
        assert_eq!(oddities.len(), starts.len(), "{oddities:#?}");
        for (odd, start) in oddities.iter().zip(starts) {
            assert!(odd.starts_with(start), "{odd}");
        }
    }
}
