//! `rzeo config check` as scripts see it: what is printed where, and the exit status.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const CONFIG: &str =
    "<zeo>\naddress 8100\n</zeo>\n<mappingstorage a/>\n<rzeo>\nmax-iterators 7\n</rzeo>\n";

fn check(config: &str, arguments: &[&str]) -> (Output, String) {
    let directory: TempDir = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("c"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rzeo"));
    command.args(["config", "check", "c"]).args(arguments).current_dir(&directory);
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output, stdout)
}

#[test]
fn every_setting_is_shown_with_its_origin() {
    let (output, stdout) = check(CONFIG, &["-X", "zeo/msgpack=on"]);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    let row = |key: &str| {
        let line = stdout.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("address"), "address 8100 line 2");
    assert_eq!(row("read-only"), "read-only false default");
    assert_eq!(row("msgpack"), "msgpack on -X zeo/msgpack=on");
    assert_eq!(row("pid-filename"), "pid-filename - not set");
    assert_eq!(row("max-iterators"), "max-iterators 7 line 6");
    assert_eq!(row("name"), "name Mapping Storage default");
    assert!(stdout.contains("\n- runzeo refuses the file while <rzeo> is in it\n"), "{stdout}");
}

#[test]
fn a_configuration_error_is_printed_and_sets_the_status() {
    let (output, stdout) = check(CONFIG, &["-X", "zeo/msgpack=1"]);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: not a valid boolean value: '1' (in -X zeo/msgpack=1)\n  \
         expected: yes, true, on, no, false or off\n"
    );
}

#[test]
fn there_is_json_for_both() {
    let (output, stdout) = check(CONFIG, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((output.status.code(), &json["ok"]), (Some(0), &true.into()));
    assert_eq!(json["sections"][0]["type"], "zeo");
    assert_eq!(json["sections"][0]["settings"][0]["place"]["line"], 2);

    let (output, stdout) = check("<zeo>\n</zeo>\n", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((output.status.code(), &json["ok"]), (Some(2), &false.into()));
    assert_eq!(json["place"]["line"], 2);
    assert!(json["error"].as_str().unwrap().starts_with("no values for 'address'; 1 required"));
}
