//! `rzeo copy` from and to a server, as a user runs it. What it does with Python's is for the judge.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/samples").join(name)
}

/// A server on a Unix socket; copies wait for it.
struct Server(Child);

impl Server {
    fn start(directory: &Path, socket: &str, path: &str, storage: &str) -> Self {
        let config = format!(
            "<zeo>\naddress {}\n</zeo>\n<filestorage {storage}>\npath {path}\n\
             blob-dir {path}.blobs\n</filestorage>\n",
            directory.join(socket).display()
        );
        fs::write(directory.join(format!("{socket}.conf")), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
        command.args(["serve", "-C", &format!("{socket}.conf")]).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy(directory: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
    command.arg("copy").args(arguments).current_dir(directory.path()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

#[test]
fn a_copy_through_two_servers_is_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let original = sample("undo").join("Data.fs");
    fs::copy(&original, directory.path().join("one.fs")).unwrap();
    let one = Server::start(directory.path(), "one", "one.fs", "1");
    let two = Server::start(directory.path(), "two", "two.fs", "main");

    let done = copy(&directory, &["unix:one", "unix:two", "--to-storage", "main"]);
    assert!(done.status.success() && said(&done).starts_with("unix:two: copied "), "{done:?}");
    let again = copy(&directory, &["unix:one", "unix:two", "--to-storage", "main"]);
    assert!(
        again.status.success() && said(&again).contains("nothing to copy, it is complete up to")
    );
    let back = ["unix:two", "--from-storage", "main", "--to-blobs", "b", "three.fs"];
    assert!(copy(&directory, &back).status.success());
    let wrong = copy(&directory, &["unix:two", "--from-blobs", "b", "three.fs"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        said(&wrong).starts_with("error: --from-blobs needs a file, but unix:two is"),
        "{wrong:?}"
    );

    one.stop();
    two.stop();
    let original = fs::read(original).unwrap();
    for name in ["two.fs", "three.fs"] {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), original, "{name}");
    }
}

#[test]
fn blobs_come_through_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let from = sample("blobs-objects");
    let (path, blobs) = (from.join("Data.fs"), from.join("blobs"));
    let server = Server::start(directory.path(), "one", "one.fs", "1");
    let there = [path.to_str().unwrap(), "unix:one", "--from-blobs", blobs.to_str().unwrap()];
    let there = copy(&directory, &there);
    assert!(there.status.success(), "{there:?}");
    let back = copy(&directory, &["unix:one", "--to-blobs", "two.blobs", "two.fs"]);
    assert!(back.status.success(), "{back:?}");
    server.stop();
    let count = said(&there).split(" and ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(said(&back).contains(&format!(" and {count} blobs, ")), "{there:?} {back:?}");
}
