//! The admin listener as browsers, probes and scrapers see it.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Waits for something that happens soon.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

fn command(directory: &Path, admin: &str) -> Command {
    let config = "<zeo>\naddress 127.0.0.1:0\n</zeo>\n<mappingstorage x&y/>\n";
    fs::write(directory.join("c"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
    command.args(["serve", "-C", "c", "--admin", admin]).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A server with its admin listener on a Unix socket.
struct Running {
    child: Child,
    directory: TempDir,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = command(directory.path(), "./admin").spawn().unwrap();
        let running = Self { child, directory };
        wait_for("the admin socket", || UnixStream::connect(running.socket()).ok());
        running
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin")
    }

    /// Sends bytes, and returns the answer up to the end of the connection.
    fn send(&self, bytes: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let mut answer = Vec::new();
        // The server may close the connection before it has read all of it.
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Status, headers in lower case, and body.
    fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let answer =
            self.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_door_answers() {
    let server = Running::start();
    assert_eq!(server.request("GET", "/live").2, "alive\n");
    assert_eq!(server.request("GET", "/ready").2, "ready\n");
    let (status, head, body) = server.request("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("\nrzeo_loads_total{storage=\"x&y\"} 0\n"), "{body}");
    let (_, head, body) = server.request("GET", "/?refresh=5");
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(head.contains("default-src 'none'"), "{head}");
    assert!(body.contains("x&amp;y") && body.contains("http-equiv=\"refresh\""), "{body}");
    let (_, head, body) = server.request("GET", "/status.json");
    assert!(head.contains("content-type: application/json"), "{head}");
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["storages"][0]["name"], "x&y");
    assert_eq!(report["pid"], server.child.id());
}

#[test]
fn nothing_else_is_answered() {
    let server = Running::start();
    assert_eq!(server.request("GET", "/nothing").0, 404);
    let (status, head, _) = server.request("POST", "/");
    assert!(status == 405 && head.contains("\r\nallow: get, head"), "{head}");
    let (status, head, body) = server.request("HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(!head.contains("content-length: 0"), "{head}");
    let long = "x".repeat(20_000);
    assert_eq!(server.request("GET", &format!("/{long}")).0, 431, "a long address");
    let headers = "a: b\r\n".repeat(100);
    let answer = server.send(&format!("GET / HTTP/1.1\r\n{headers}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(server.send("\x00\x00\x00\x04ruok\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

/// Idle connections cannot use up descriptors: their number and their time are limited.
#[test]
fn connections_are_limited() {
    let server = Running::start();
    let mut idle: Vec<UnixStream> = Vec::new();
    let mut refused = wait_for("a connection that is refused", || {
        let mut stream = UnixStream::connect(server.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => Some(stream),
            // The server waits for a request.
            _ => {
                idle.push(stream);
                None
            }
        }
    });
    assert_eq!(idle.len(), 64);
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
    idle.truncate(10);
    wait_for("an answer", || {
        let mut stream = UnixStream::connect(server.socket()).ok()?;
        stream.write_all(b"GET /live HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.ends_with("alive\n").then_some(())
    });
}

#[test]
fn it_ends_with_the_server() {
    let mut server = Running::start();
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    let status = wait_for("the end", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(!server.socket().exists());
}

#[test]
fn an_address_in_use_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let output = command(directory.path(), &format!("127.0.0.1:{port}")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected =
        format!("error: cannot serve the status page: 127.0.0.1:{port} is already in use");
    assert!(stderr.contains(&expected), "{stderr}");
}
