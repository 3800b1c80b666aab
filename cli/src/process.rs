//! What a running server leaves in the file system for others to find: its process id, its address,
//! its Unix socket; and how many files it may open.

use std::fs;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rzeo_zconfig::SocketAddress;
use tracing::{debug, error};

use crate::signals::log;

/// How long to wait for an answer from a server that may be there already.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Whether somebody listens on the address.
pub(crate) fn is_in_use(address: &SocketAddress) -> bool {
    match address {
        SocketAddress::Unix(path) => UnixStream::connect(path).is_ok(),
        SocketAddress::Tcp { port: None | Some(0), .. } => false,
        SocketAddress::Tcp { host, port: Some(port) } => {
            let host = host.as_deref().unwrap_or("127.0.0.1");
            let Ok(addresses) = (host, *port).to_socket_addrs() else { return false };
            let answers = |address| TcpStream::connect_timeout(&address, ANSWER_TIME_MAX).is_ok();
            addresses.into_iter().any(answers)
        }
    }
}

/// The file of a Unix socket: removed when a server before us left it, and when we are done.
pub(crate) struct SocketFile(Option<PathBuf>);

impl SocketFile {
    /// To be called when nobody listens on the address.
    pub(crate) fn claim(address: &SocketAddress) -> Self {
        let file = match address {
            SocketAddress::Unix(path) => Self(Some(path.clone())),
            SocketAddress::Tcp { .. } => Self(None),
        };
        file.remove();
        file
    }

    /// Removes the file if it is a socket. When that fails, listening will fail and say why.
    fn remove(&self) {
        if let Some(path) = &self.0
            && fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

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

/// Each connection is an open file. Systems give a process few of them unless it asks for more.
pub(crate) fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let show = |limit: Option<u64>| limit.map_or("any number of".into(), |limit| limit.to_string());
    let (before, after) = (show(current), show(maximum));
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            debug!(target: "ZEO.runzeo", "{after} files can be open at a time, {before} before it was asked for")
        }
        Err(error) => {
            debug!(target: "ZEO.runzeo", "{before} files can be open at a time, {after} were refused: {error}")
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn addresses_in_use_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let in_use = |text: &str| is_in_use(&SocketAddress::parse(text).unwrap());
        assert!(in_use(&format!("127.0.0.1:{port}")));
        assert!(in_use(&format!(":{port}")));
        drop(listener);
        assert!(!in_use(&format!("127.0.0.1:{port}")));
        assert!(!in_use("127.0.0.1:0"));
        assert!(!in_use("127.0.0.1"));
        assert!(!in_use("no such host:1"));
    }

    #[test]
    fn stale_sockets_are_removed_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let address = SocketAddress::Unix(path.clone());
        let listener = UnixListener::bind(&path).unwrap();
        assert!(is_in_use(&address));
        drop(listener);
        assert!(!is_in_use(&address));
        let claimed = SocketFile::claim(&address);
        assert!(!path.exists());
        let _listener = UnixListener::bind(&path).unwrap();
        drop(claimed);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        drop(SocketFile::claim(&address));
        assert!(path.exists());
    }

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
