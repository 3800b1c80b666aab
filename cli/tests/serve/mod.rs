//! The binary as scripts and supervisors see it: output, files, signals, exit status. The same on each
//! runtime.
//!
//! The protocol has its own tests.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::RUNTIME;

mod systemd;

const STORAGE: &str = "<mappingstorage>\nname memory\n</mappingstorage>\n";

/// `rzeo serve` in a directory of its own, with an environment that sets nothing.
fn command(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
    command.args(["serve", "--runtime", RUNTIME]).args(arguments).current_dir(directory);
    without_surroundings(&mut command);
    command
}

fn without_surroundings(command: &mut Command) {
    for variable in ["ZEO_MSGPACK", "INSTANCE_HOME", "LISTEN_FDS", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
}

fn run(directory: &TempDir, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn directory_with(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("c"), config).unwrap();
    directory
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

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

/// A server that listens. Killed when the test ends.
struct Running(Child);

impl Running {
    /// Starts a server; returns its address too.
    fn start(directory: &TempDir, arguments: &[&str]) -> (Self, String) {
        Self::launch(directory, command(directory, arguments))
    }

    fn launch(directory: &TempDir, mut command: Command) -> (Self, String) {
        let address_file = directory.path().join("address");
        command.args(["--address-file", "address"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Self(command.spawn().unwrap());
        let address = wait_for("the address file", || {
            assert!(running.0.try_wait().unwrap().is_none(), "the server ended early");
            fs::read_to_string(&address_file).ok()
        });
        (running, address.strip_suffix('\n').unwrap().to_owned())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Sends a signal that ends the server; returns the exit status.
    fn finish(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        wait_for("the end", || self.0.try_wait().unwrap()).code()
    }

    /// Sends a signal that ends the server; returns the exit status and what was printed.
    fn end(mut self, signal: Signal) -> (Option<i32>, String, String) {
        let status = self.finish(signal);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (status, stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A log without times and numbers.
fn without_digits(log: &str) -> String {
    log.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn a_dry_run_prints_what_runzeo_prints() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&directory, &["-a:0", "-ft", "--test"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(output.stdout, b"testing exit immediately\n");
    let expected = "\
------
--T:: INFO ZEO.runzeo () opening storage '' using FileStorage
------
--T:: INFO ZEO.StorageServer StorageServer created RW with storages: :RW:t
------
--T:: INFO ZEO.asyncio.server listening on ('...', ), ('::', )
------
--T:: INFO ZEO.StorageServer closing storage ''
";
    let log = without_digits(&stderr(&output)).replace(", ('::', )", "");
    assert_eq!(log, expected.replace(", ('::', )", ""));
    assert!(!directory.path().join("t").exists(), "a test creates nothing");
}

#[test]
fn a_server_without_a_configuration_prints_how_to_connect() {
    let directory = tempfile::tempdir().unwrap();
    let (server, address) = Running::start(&directory, &["-a", "127.0.0.1:0", "my.fs"]);
    let port = address.strip_prefix("127.0.0.1:").unwrap();
    TcpStream::connect(&address).unwrap();
    let (status, stdout, stderr) = server.end(Signal::INT);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(
        stdout,
        format!(
            "serving my.fs as storage \"1\" on {address}; connect with \
             ZEO.client((\"127.0.0.1\", {port})), zeo://{address}, or <zeoclient> server {address}\n"
        )
    );
    assert!(stderr.contains(") terminated by SIGINT\n"), "{stderr}");
}

#[test]
fn mistakes_are_reported_with_their_place() {
    let directory = directory_with(&format!("<zeo>\naddress 0\nread-only 1\n</zeo>\n{STORAGE}"));
    let output = run(&directory, &["-Cc"]);
    assert_eq!(output.status.code(), Some(2));
    let url = format!("file://{}/c", fs::canonicalize(directory.path()).unwrap().display());
    assert_eq!(
        stderr(&output),
        format!(
            "error: not a valid boolean value: '1' (line 3, in {url})\n  \
             expected: yes, true, on, no, false or off\n"
        )
    );
    assert!(output.stdout.is_empty());

    let missing = run(&directory, &["-C", "http://localhost/c"]);
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(
        stderr(&missing),
        "error: error opening URL http://localhost/c: only files can be read\n"
    );
    assert_eq!(run(&directory, &["--nonsense"]).status.code(), Some(2));
}

#[test]
fn an_address_in_use_is_a_usage_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let directory = directory_with(&format!("<zeo>\naddress localhost:{port}\n</zeo>\n{STORAGE}"));
    let output = run(&directory, &["-C", "c", "-a", &format!("127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("error: 127.0.0.1:{port} is already in use; stop the program");
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));

    let _socket = UnixListener::bind(directory.path().join("sock")).unwrap();
    let output = run(&directory, &["-C", "c", "-a", "./sock"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "error: ./sock is already in use";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
}

#[test]
fn storages_and_logs_that_cannot_be_opened_end_the_server() {
    let config = "<zeo>\naddress 127.0.0.1:0\n</zeo>\n<filestorage x>\npath none\nread-only true\n\
                  </filestorage>\n";
    let output = run(&directory_with(config), &["-C", "c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("\nerror: storage 'x': "), "{}", stderr(&output));

    let config = format!(
        "<zeo>\naddress 127.0.0.1:0\n</zeo>\n{STORAGE}<eventlog>\n<logfile>\npath no/log\n\
         </logfile>\n</eventlog>\n"
    );
    let output = run(&directory_with(&config), &["-C", "c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: cannot open the log no/log: "));
}

/// A dry run with an `<ssl>` of these lines, beside samples of certificates and keys.
fn run_with_tls(lines: &str, environment: Option<&str>) -> Output {
    let ssl = format!("<ssl>\n{lines}\n</ssl>");
    let config = format!("<zeo>\naddress 127.0.0.1:0\n{ssl}\n</zeo>\n{STORAGE}");
    let directory = directory_with(&config);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/samples");
    for name in ["self_signed.pem", "pkcs8_aes256.pem"] {
        fs::copy(samples.join(name), directory.path().join(name)).unwrap();
    }
    let mut command = command(&directory, &["-Cc", "--test"]);
    command.env_remove("RZEO_TLS_KEY_PASSWORD");
    command.envs(environment.map(|password| ("RZEO_TLS_KEY_PASSWORD", password)));
    command.output().unwrap()
}

const ENCRYPTED: &str = "certificate self_signed.pem\nkey pkcs8_aes256.pem\nauthenticate DYNAMIC";

#[test]
fn a_keys_password_comes_from_a_command_or_the_environment() {
    let command = format!("{ENCRYPTED}\npassword-command echo 1234");
    let wrong_command = format!("{ENCRYPTED}\npassword-command echo wrong");
    let function = format!("{ENCRYPTED}\npassword-function some.python.function");
    for (lines, environment) in [
        (&command, None),
        (&ENCRYPTED.to_owned(), Some("1234")),
        (&wrong_command, Some("1234")),
        (&function, Some("1234")),
    ] {
        let output = run_with_tls(lines, environment);
        assert_eq!(output.status.code(), Some(0), "{lines}: {}", stderr(&output));
    }
}

#[test]
fn certificates_that_cannot_be_used_end_the_server() {
    for (lines, reason) in [
        (ENCRYPTED.to_owned(), "password-command"),
        (format!("{ENCRYPTED}\npassword-command echo wrong"), "does not open the key"),
        (format!("{ENCRYPTED}\npassword-command exit 3"), "`exit 3` failed (exit status: 3)"),
        ("certificate none.pem\nauthenticate DYNAMIC".to_owned(), "none.pem cannot be read"),
        ("certificate self_signed.pem\nauthenticate DYNAMIC".to_owned(), "no private key"),
    ] {
        let output = run_with_tls(&lines, None);
        let error = stderr(&output);
        // As Python's server, which ends with a traceback.
        assert_eq!(output.status.code(), Some(1), "{lines}: {error}");
        assert!(error.starts_with("error: in <ssl>: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn signals_end_the_server_with_a_status() {
    for (signal, status, message) in [
        (Signal::TERM, 0, "terminated by SIGTERM"),
        (Signal::INT, 0, "terminated by SIGINT"),
        (Signal::HUP, 1, "restarted by SIGHUP"),
    ] {
        let directory = directory_with(&format!(
            "<zeo>\naddress 127.0.0.1:0\npid-filename pid\n</zeo>\n{STORAGE}"
        ));
        let (server, address) = Running::start(&directory, &["-C", "c"]);
        let _client = TcpStream::connect(&address).unwrap();
        let pid = fs::read_to_string(directory.path().join("pid")).unwrap();
        assert_eq!(pid, format!("{}\n", server.0.id()));
        let (code, stdout, stderr) = server.end(signal);
        assert_eq!(code, Some(status), "{stderr}");
        assert_eq!(stdout, "");
        let lines: Vec<String> = without_digits(&stderr)
            .lines()
            .filter(|line| *line != "------")
            .map(|line| line.replace("--T:: INFO ", ""))
            .collect();
        let expected = [
            "ZEO.runzeo () created PID file 'pid'",
            "ZEO.runzeo () opening storage '' using MappingStorage",
            "ZEO.StorageServer StorageServer created RW with storages: :RW:memory",
            "ZEO.asyncio.server listening on ('...', )",
            &format!("ZEO.runzeo () {message}"),
            "ZEO.StorageServer closing storage ''",
            "ZEO.runzeo () removed PID file 'pid'",
        ];
        let ours = |line: &&String| !line.contains("disconnected");
        assert_eq!(
            lines.iter().filter(ours).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        assert!(!directory.path().join("pid").exists());
        TcpListener::bind(&address).expect("the port is free at once");
    }
}

#[test]
fn a_log_is_reopened_on_sigusr2() {
    let directory = directory_with(&format!(
        "<zeo>\naddress 127.0.0.1:0\nread-only true\npid-filename pid\n</zeo>\n{STORAGE}\
         <eventlog>\n<logfile>\npath l\n</logfile>\n</eventlog>\n"
    ));
    let (log, old) = (directory.path().join("l"), directory.path().join("o"));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let (server, _) = Running::start(&directory, &["-C", "c"]);
    assert!(read(&log).contains("listening on ('127.0.0.1', "));
    assert!(read(&log).contains("StorageServer created RO with storages: 1:RW:memory"));
    assert!(!directory.path().join("pid").exists(), "a read-only server leaves no pid file");
    let before = read(&log);
    fs::rename(&log, &old).unwrap();
    server.signal(Signal::USR2);
    wait_for("the new log", || {
        read(&log).contains(") Log files reopened successfully\n").then_some(())
    });
    assert_eq!(read(&old), before);
    let (status, _, stderr) = server.end(Signal::TERM);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(read(&log).contains("closing storage '1'"));
}

#[test]
fn without_a_log_file_there_is_nothing_to_reopen() {
    let directory = directory_with(&format!("<zeo>\naddress 127.0.0.1:0\n</zeo>\n{STORAGE}"));
    let (mut server, _) = Running::start(&directory, &["-C", "c"]);
    server.signal(Signal::USR2);
    server.signal(Signal::XFSZ);
    sleep(Duration::from_millis(100));
    assert!(server.0.try_wait().unwrap().is_none());
    let (status, _, stderr) = server.end(Signal::TERM);
    assert_eq!(status, Some(0));
    assert!(stderr.contains(") received SIGUSR2, but it was not handled!\n"), "{stderr}");
}

#[test]
fn a_unix_socket_is_made_and_removed() {
    let directory = directory_with(&format!("<zeo>\naddress ./sock\n</zeo>\n{STORAGE}"));
    let path = directory.path().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale socket");
    let (server, address) = Running::start(&directory, &["-C", "c"]);
    assert_eq!(address, "./sock");
    UnixStream::connect(&path).unwrap();
    let (status, _, stderr) = server.end(Signal::TERM);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(!path.exists());
    assert!(stderr.contains(" ZEO.asyncio.server listening on ./sock\n"), "{stderr}");
}
