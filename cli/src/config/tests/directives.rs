//! Definitions, imports and included files; and that no text at all brings the reader down.

use proptest::prelude::*;

use super::*;
use crate::config::reader::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, SECTION_DEPTH_MAX};

#[test]
fn definitions() {
    let cases = [
        ("%define a b\n%define A c", "cannot redefine 'a'\n(line 2 in c.conf)"),
        ("%define 1a b", "not a substitution legal name: '1a'\n(line 1 in c.conf)"),
        ("%define a b$x", "no replacement for 'x'\n(line 1 in c.conf)"),
        ("%define", "missing argument to %define directive\n(line 1 in c.conf)"),
        ("%define x 1\n%define a b$x\n%define a b$x", "cannot redefine 'a'\n(line 3 in c.conf)"),
    ];
    for (lines, expected) in cases {
        assert_eq!(message(&format!("{lines}\n{ZEO}{MAPPING}")), expected, "{lines:?}");
    }
    let text = "<zeo>\n%define p 81\naddress ${P}00\n</zeo>\n%define p 81\n<mappingstorage/>";
    assert_eq!(read(text).unwrap().address, address("8100"));
}

#[test]
fn imports() {
    for package in ["ZODB", "ZConfig.components.logger", "zdaemon"] {
        assert!(read(&format!("%import {package}\n%import {package}\n{ZEO}{MAPPING}")).is_ok());
    }
    assert_eq!(message("%import ZEO"), "type name cannot be redefined: 'ssl'\n(line 1 in c.conf)");
    assert_eq!(
        message("%import relstorage"),
        "could not load package relstorage: section types of Python packages need Python's server; \
         leave the line out and use the sections that are here\n(line 1 in c.conf)"
    );
}

#[test]
fn includes() {
    let main = "%define port 8\n<zeo>\n%include sub/keys\n</zeo>\n%include file:///s\n";
    let files = [
        ("/dir/c.conf", main),
        ("/dir/sub/keys", "%define more 9\n%include deeper"),
        ("/dir/sub/deeper", "address $port$more"),
        ("/s", "<mappingstorage m$more/>\n<mappingstorage>\nname $more\n</mappingstorage>"),
    ];
    let config = read_files(&files).unwrap();
    assert_eq!(config.address, address("89"));
    assert_eq!(config.storages[0].name, "m$more");
    assert_eq!(config.storages[1].kind, StorageKind::Mapping { name: "9".to_owned() });
}

#[test]
fn includes_that_cannot_be() {
    let included = |text: &str| {
        let main = format!("<zeo>\naddress 1\n%include a b\n</zeo>\n{MAPPING}");
        let files = [("/dir/c.conf", main.as_str()), ("/dir/a b", text)];
        read_files(&files).unwrap_err().to_string()
    };
    let cases = [
        ("foo 1", "'foo' is not a known key name\n(line 1 in file:///dir/a%20b)"),
        ("</zeo>", "unexpected section end\n(line 1 in file:///dir/a%20b)"),
        ("%include x#y", "fragment identifiers are not supported\n(line 1 in file:///dir/a%20b)"),
        ("%include c%2Econf", "/dir/c.conf includes itself\n(line 1 in file:///dir/a%20b)"),
        ("%include c.conf", "/dir/c.conf includes itself\n(line 1 in file:///dir/a%20b)"),
        (
            "%include http://x/",
            "http://x/ is not a file: only files can be included\n(line 1 in file:///dir/a%20b)",
        ),
        (
            "%include none",
            "error opening file /dir/none: No such file or directory (os error 2)\n\
             (line 1 in file:///dir/a%20b)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(included(text), expected);
    }
    let open = [("/dir/c.conf", "%include i"), ("/dir/i", "<zeo>\n\n")];
    assert_eq!(
        read_files(&open).unwrap_err().to_string(),
        "unclosed sections not allowed\n(line 2 in file:///dir/i)"
    );
    let system = FakeSystem::with_bytes([("/dir/c.conf", b"\xff".to_vec())]);
    assert_eq!(
        ServerConfig::read(&system, Path::new("c.conf"), &[]).unwrap_err().to_string(),
        "error opening file /dir/c.conf: invalid utf-8 sequence of 1 bytes from index 0"
    );
}

#[test]
fn nothing_goes_on_for_ever() {
    let deep: Vec<(String, String)> = (0..=INCLUDE_DEPTH_MAX)
        .map(|n| (format!("/dir/{n}"), format!("%include {}", n + 1)))
        .chain([("/dir/c.conf".to_owned(), "%include 0".to_owned())])
        .collect();
    let deep: Vec<_> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let said = read_files(&deep).unwrap_err().to_string();
    assert!(said.starts_with("more than 16 files within each other\n"), "{said}");

    let wide = "%include x\n".repeat(INCLUDES_MAX + 1);
    let said = read_files(&[("/dir/c.conf", &wide), ("/dir/x", "")]).unwrap_err().to_string();
    assert!(said.starts_with("more than 256 files included\n"), "{said}");

    let said = message(&"<blobstorage>\n".repeat(SECTION_DEPTH_MAX + 1));
    assert_eq!(said, "more than 32 sections within each other\n(line 33 in c.conf)");

    let doubling: String = (1..40).map(|n| format!("%define a{n} $a{0}$a{0}\n", n - 1)).collect();
    let said = message(&format!("%define a0 x\n{doubling}"));
    assert_eq!(said, "value of more than 65536 bytes\n(line 18 in c.conf)");
}

/// Lines that are likely to mean something, so that arbitrary text gets past the first line.
fn line() -> impl Strategy<Value = String> {
    const LINES: &[&str] = &[
        "<zeo>",
        "</zeo>",
        "<mappingstorage 1/>",
        "<filestorage>",
        "</filestorage>",
        "<blobstorage>",
        "</blobstorage>",
        "<eventlog>",
        "</eventlog>",
        "<logfile>",
        "</logfile>",
        "address 1",
        "path $x",
        "path l",
        "blob-dir b",
        "level info",
        "%define x a$$",
        "%define y $x${x}",
        "%include c.conf",
        "%include i",
        "%import ZODB",
        "format %(message)s %(lineno)05d",
    ];
    const KEYS: &[&str] =
        &["address", "path", "level", "format", "dateformat", "quota", "name", "%define", "<"];
    prop_oneof![
        4 => proptest::sample::select(LINES).prop_map(str::to_owned),
        2 => (proptest::sample::select(KEYS), "\\PC{0,12}")
            .prop_map(|(key, value)| format!("{key} {value}")),
        1 => "[<>/%$(){}a-c \t#]{0,12}",
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_text_never_panics(
        main in proptest::collection::vec(line(), 0..20),
        included in proptest::collection::vec(line(), 0..6),
    ) {
        let (main, included) = (main.join("\n"), included.join("\n"));
        if let Err(error) = read_files(&[("/dir/c.conf", &main), ("/dir/i", &included)]) {
            prop_assert!(!error.to_string().is_empty());
            let _ = error.expected();
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let system = FakeSystem::with_bytes([("/dir/c.conf", bytes)]);
        let _ = ServerConfig::read(&system, Path::new("c.conf"), &[]);
    }
}
