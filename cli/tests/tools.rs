//! The commands that query servers, as a user runs them: addresses, TLS, wrong options, and what a failed run
//! leaves behind.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rcgen::generate_simple_self_signed;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn rzeo(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
    command.env_remove("INSTANCE_HOME").env_remove("RZEO_TLS_KEY_PASSWORD");
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The status, and what the user reads on standard error.
fn failure(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = rzeo(directory, arguments);
    (output.status.code(), text(&output.stderr))
}

/// A server with a storage in memory, on any port.
struct Server {
    child: Child,
    directory: TempDir,
    address: String,
}

impl Server {
    fn start(ssl: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(directory.path().join("own.pem"), own.cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        let config = format!(
            "<zeo>\naddress 127.0.0.1:0\n{ssl}</zeo>\n<mappingstorage one/>\n<mappingstorage two/>\n"
        );
        fs::write(directory.path().join("c"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
        command.args(["serve", "-C", "c", "--address-file", "address"]);
        command.current_dir(&directory).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, directory, address: String::new() };
        let start = Instant::now();
        while server.address.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not start");
            sleep(Duration::from_millis(5));
            let address = fs::read_to_string(server.directory.path().join("address"));
            server.address = address.unwrap_or_default().trim().to_owned();
        }
        server
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        // It may have ended already.
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_is_queried_by_every_form_of_its_address() {
    let server = Server::start("");
    let port = server.address.strip_prefix("127.0.0.1:").unwrap();
    for address in [&*server.address, port, &format!(":{port}"), &format!("localhost:{port}")] {
        let output = rzeo(server.path(), &["status", address]);
        assert!(output.status.success(), "{address}: {output:?}");
        assert!(text(&output.stdout).contains("\ntwo "), "{output:?}");
        assert!(rzeo(server.path(), &["nagios", address]).status.code() == Some(1), "{address}");
    }
    let top = rzeo(server.path(), &["top", "--once", "-i", "0.1", port]);
    assert!(text(&top.stdout).contains("storage one"), "{top:?}");
    let packed = rzeo(server.path(), &["pack", &format!("{}:two", server.address)]);
    assert!(packed.status.success(), "{packed:?}");
}

#[test]
fn a_storage_that_is_not_served_is_reported_at_once() {
    let server = Server::start("");
    let start = Instant::now();
    let arguments = ["copy", &server.address, "--from-storage", "x", "copy.fs"];
    let (status, error) = failure(server.path(), &arguments);
    assert_eq!(status, Some(1));
    assert!(
        error.ends_with("does not serve a storage \"x\"; it serves \"one\", \"two\"\n"),
        "{error}"
    );
    assert!(!server.path().join("copy.fs").exists());
    let (status, error) = failure(server.path(), &["pack", &format!("{}:x", server.address)]);
    assert_eq!(status, Some(1));
    assert!(error.contains("it serves \"one\", \"two\"\n"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "it waited");
}

#[test]
fn tls_on_one_side_only_is_reported_at_once() {
    let server = Server::start("");
    let start = Instant::now();
    let (status, error) = failure(server.path(), &["status", "--tls", &server.address]);
    assert_eq!(status, Some(2));
    assert!(error.contains("the server does not speak TLS; leave --tls out"), "{error}");
    let (status, error) =
        failure(server.path(), &["copy", "--from-tls", &server.address, "copy.fs"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("the server does not speak TLS; leave --from-tls out"), "{error}");

    let ssl = "<ssl>\ncertificate own.pem\nkey key.pem\nauthenticate own.pem\n</ssl>\n";
    let secure = Server::start(ssl);
    let (status, error) = failure(secure.path(), &["status", &secure.address]);
    assert_eq!(status, Some(2));
    assert!(error.contains("the server speaks TLS; use --tls"), "{error}");
    let arguments = ["copy", &secure.address, "copy.fs", "--from-storage", "one"];
    let (_, error) = failure(secure.path(), &arguments);
    assert!(error.contains("the server speaks TLS; use --from-tls"), "{error}");
    let trust = ["--tls", "--tls-ca", "own.pem", "--tls-server", "localhost"];
    let (status, error) =
        failure(secure.path(), &[&["status", &secure.address][..], &trust].concat());
    assert_eq!(status, Some(2));
    assert!(error.contains("requires a client certificate; name it with --tls-cert"), "{error}");
    let (_, error) = failure(secure.path(), &["status", "--tls", &secure.address]);
    assert!(error.contains("; name the file with it with --tls-ca"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "it waited");

    let own = ["--tls-certificate", "own.pem", "--tls-key", "key.pem"];
    let all = [&trust[..], &own].concat();
    for command in [&["status", &secure.address][..], &["top", "--once", "-i.1", &secure.address]] {
        let output = rzeo(secure.path(), &[command, &all].concat());
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    let nagios = rzeo(secure.path(), &[&["nagios", &secure.address][..], &all].concat());
    assert!(text(&nagios.stdout).starts_with("Empty storage 'one'"), "{nagios:?}");
    let target = format!("{}:one", secure.address);
    let packed = rzeo(secure.path(), &[&["pack", &target][..], &all].concat());
    assert!(packed.status.success(), "{packed:?}");
}

#[test]
fn a_server_that_sends_nothing_is_reported_after_the_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.fs");
    fs::write(path, "FS30").unwrap();
    // The system accepts the connections, and the test never reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let start = Instant::now();
    for (status, arguments, expected) in [
        (2, ["status", "--timeout", "0.3"], "and whether it needs --tls"),
        (1, ["pack", "--connect-timeout", "0.3"], "and whether it needs --tls"),
        (1, ["copy", "--connect-timeout=0.3", "a.fs"], "and whether it needs --to-tls"),
        (2, ["status", "--tls", "--timeout=0.3"], "check that a ZEO server listens there"),
    ] {
        let arguments = [&arguments[..], &[&address]].concat();
        let (found, error) = failure(directory.path(), &arguments);
        assert_eq!(found, Some(status), "{arguments:?}: {error}");
        assert!(error.contains("connected, but no answer within 0.3 seconds"), "{error}");
        assert!(error.contains(expected), "{error}");
    }

    // As Python's TLS servers do.
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closing.local_addr().unwrap().to_string();
    let closer = spawn(move || {
        let (mut connection, _) = closing.accept().unwrap();
        connection.read(&mut [0; 64]).unwrap()
    });
    let (_, error) = failure(directory.path(), &["status", &address]);
    closer.join().unwrap();
    assert!(error.contains("without an answer; check that a ZEO server listens there"), "{error}");
    assert!(error.contains("whether it needs --tls"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "it waited");
}

#[test]
fn options_that_make_no_sense_together_have_status_2() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["copy", "a.fs", "b.fs", "--from-tls"][..], "error: --from-tls needs a server"),
        (&["copy", "a.fs", ":1", "--tls-ca", "x"], "error: --tls-ca has no effect without"),
        (&["status", "--tls-ca", "x"], "error: --tls-ca has no effect without --tls"),
        (&["top", "--once", "--tls-server", "x"], "error: --tls-server has no effect"),
        (&["nagios", ":1", "--tls-ca", "x"], "error: --tls-ca has no effect without --tls"),
        (&["pack", ":1", "--tls-ca", "x"], "error: --tls-ca has no effect without --tls"),
        (&["status", "a:b:c"], "error: invalid value 'a:b:c' for '[ADDRESS]'"),
        (&["serve", "-a", "host:x"], "error: invalid value 'host:x' for '--address <ADDRESS>'"),
        (&["dump", "-nx", "a.fs"], "error: invalid value 'x' for '--last <N>': not a whole number"),
    ] {
        let (status, error) = failure(directory.path(), arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (&["serve", "-a", &taken][..], "error: "),
        (&["serve", "-a", "192.0.2.1:1"], "error: 192.0.2.1:1 is not an address of this machine"),
        (&["serve", "-a", ":0", "--admin", "192.0.2.1:1"], "error: cannot serve the status page: "),
        (&["record", "--listen", "nosuchhost.invalid:1", "--to", ":1", "file"], "error: cannot"),
    ] {
        let output = rzeo(directory.path(), arguments);
        let error = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{arguments:?}");
    }
    let arguments = ["serve", "-a", ":0", "-f", "a.fs", "-f", "no/b.fs"];
    let (status, error) = failure(directory.path(), &arguments);
    assert_eq!(status, Some(1));
    assert!(error.contains("the directory no does not exist"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    fs::write(directory.path().join("there"), "").unwrap();
    let arguments = ["record", "--listen", "127.0.0.1:0", "--to", ":1", "there"];
    let (_, error) = failure(directory.path(), &arguments);
    assert_eq!(error, "error: there already exists; remove it or name another file\n");
}
