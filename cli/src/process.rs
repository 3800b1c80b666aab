//! What a running server writes for other programs: its process id and its address; and how many files it may
//! open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, error};

use crate::signals::log;

/// A file with the process id, while the server runs. No reason not to run if it cannot be written.
pub(crate) struct PidFile(Option<PathBuf>);

impl PidFile {
    /// Writes the process id to a file, if there is one.
    pub(crate) fn write(path: Option<PathBuf>) -> Self {
        let Some(path) = path else { return Self(None) };
        let shown = path.display();
        // A new file, in case the old one is a link or not ours to write.
        let written = remove_if_there(&path)
            .and_then(|_| fs::write(&path, format!("{}\n", std::process::id())));
        match written {
            Ok(()) => log(&format!("created PID file '{shown}'")),
            Err(_) => error!(target: "ZEO.runzeo", "PID file '{shown}' cannot be opened"),
        }
        Self(Some(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Some(path) = &self.0 else { return };
        let shown = path.display();
        match remove_if_there(path) {
            Ok(true) => log(&format!("removed PID file '{shown}'")),
            Ok(false) => {}
            Err(_) => error!(target: "ZEO.runzeo", "PID file '{shown}' could not be removed"),
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Raises the limit of open files: each connection is one, and the default of most systems is low.
pub(crate) fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let show = |limit: Option<u64>| limit.map_or("unlimited".into(), |limit| limit.to_string());
    let (before, after) = (show(current), show(maximum));
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            debug!(target: "ZEO.runzeo", "limit of open files: {after}, raised from {before}")
        }
        Err(error) => {
            debug!(target: "ZEO.runzeo", "limit of open files: {before}; it cannot be raised to {after}: {error}")
        }
    }
}

/// Writes a line to a file that appears complete or not at all.
pub(crate) fn write_address(path: &Path, address: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    fs::write(&temporary, format!("{address}\n"))?;
    fs::rename(&temporary, path)
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_there_while_the_server_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "old").unwrap();
        let file = PidFile::write(Some(path.clone()));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        drop(PidFile::write(Some(directory.path().join("no/pid"))));
    }
}
