//! Starts the two servers, each with its own database.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Timeout for the start of a server.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// A running server; ends when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The server may have stopped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts rzeo, or another command with the same arguments.
pub(crate) fn start_rzeo(command: &str) -> io::Result<Running> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or_else(|| io::Error::other("no command for rzeo"))?;
    let mut command = Command::new(program);
    command.args(words);
    start(command)
}

/// Starts Python's server.
pub(crate) fn start_python(python: &str) -> io::Result<Running> {
    let mut command = Command::new(python);
    command.args(["-m", "ZEO.runzeo"]);
    start(command)
}

fn start(mut command: Command) -> io::Result<Running> {
    // The directory is on the disk of the project, because the system's temporary directory may be
    // in memory.
    let directory = tempfile::tempdir_in(".")?;
    let address = free_address()?;
    let config = write_config(directory.path(), address)?;
    let process = command.arg("-C").arg(config).stderr(Stdio::null()).spawn()?;
    let running = Running { address, process, _directory: directory };
    let deadline = Instant::now() + START_TIME_MAX;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{command:?} does not listen on {address}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn write_config(directory: &Path, address: SocketAddr) -> io::Result<std::path::PathBuf> {
    let config = directory.join("zeo.conf");
    let data = directory.join("Data.fs");
    let text = format!(
        "<zeo>\n  address {address}\n</zeo>\n<filestorage>\n  path {}\n</filestorage>\n\
         <eventlog>\n  level error\n  <logfile>\n    path {}\n  </logfile>\n</eventlog>\n",
        data.display(),
        directory.join("log").display(),
    );
    std::fs::write(&config, text)?;
    Ok(config)
}
