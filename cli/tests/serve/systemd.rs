//! Sockets from systemd and notifications to it; the test takes the part of systemd.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Running, STORAGE, directory_with, stderr, without_surroundings};
use crate::RUNTIME;

/// `rzeo serve` with two descriptors more, as systemd starts it: a shell moves them to 3 and 4, and
/// sets `LISTEN_PID`.
fn command_with(directory: &TempDir, first: OwnedFd, second: OwnedFd) -> Command {
    let script = "exec 3<&0 4<&1 0</dev/null 1>&2; \
                  LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" serve \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_rzeo"), "--runtime", RUNTIME, "-C", "c"]);
    command.current_dir(directory);
    without_surroundings(&mut command);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::piped());
    command
}

fn is_served(mut stream: impl std::io::Read) {
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\0\0\0\x02Z5");
}

#[test]
fn sockets_of_systemd_are_used_and_not_removed() {
    let directory = directory_with(&format!("<zeo>\naddress ./sock\n</zeo>\n{STORAGE}"));
    let path = directory.path().join("sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    // A connection made before the server starts waits in the socket.
    let early = TcpStream::connect(&address).unwrap();
    let mut command =
        command_with(&directory, tcp.try_clone().unwrap().into(), unix.try_clone().unwrap().into());
    let address_file = directory.path().join("address");
    let mut running = Running(command.args(["--address-file", "address"]).spawn().unwrap());
    is_served(early);
    is_served(TcpStream::connect(&address).unwrap());
    is_served(UnixStream::connect(&path).unwrap());
    assert_eq!(fs::read_to_string(address_file).unwrap(), format!("{address}\n"));
    let status = running.finish(Signal::TERM);
    assert_eq!(status, Some(0));
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let said = ") systemd has passed sockets, so the configured address ./sock is not used\n";
    assert!(log.contains(said), "{log}");
    assert!(path.exists(), "the socket is systemd's");
    TcpStream::connect(&address).expect("systemd still listens");
}

#[test]
fn descriptors_that_do_not_listen_are_refused() {
    let directory = directory_with(&format!("<zeo>\naddress 0\n</zeo>\n{STORAGE}"));
    let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = tcp();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for (second, reason) in [(null(), "is not a socket"), (connected.into(), "it does not listen")]
    {
        let output = command_with(&directory, tcp().into(), second).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report = stderr(&output);
        assert!(
            report.starts_with("error: socket 2 of those that systemd has passed "),
            "{report}"
        );
        assert!(report.contains(reason), "{report}");
    }
}

#[test]
fn systemd_receives_states_and_watchdog_messages() {
    let directory = directory_with(&format!("<zeo>\naddress 127.0.0.1:0\n</zeo>\n{STORAGE}"));
    let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = super::command(&directory, &["-C", "c"]);
    command.env("NOTIFY_SOCKET", directory.path().join("notify")).env("WATCHDOG_USEC", "20000");
    let (running, address) = Running::launch(&directory, command);
    let receive = || {
        let mut buffer = [0; 1_000];
        let length = loop {
            match socket.recv(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(receive(), format!("READY=1\nSTATUS=serving {address}\n"));
    assert_eq!(receive(), "WATCHDOG=1\n");
    assert_eq!(receive(), "WATCHDOG=1\n");
    running.signal(Signal::TERM);
    let last = std::iter::repeat_with(receive).find(|message| message != "WATCHDOG=1\n").unwrap();
    assert_eq!(last, "STOPPING=1\nSTATUS=ending connections, then closing storages\n");
    let (status, _, stderr) = running.end(Signal::TERM);
    assert_eq!(status, Some(0), "{stderr}");
}
