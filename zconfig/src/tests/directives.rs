//! Definitions, imports and included files, and arbitrary text.

use proptest::prelude::*;

use super::*;
use crate::SocketAddress;
use crate::limits::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, SECTION_DEPTH_MAX};

fn listens_on(top: &Section) -> String {
    top.section("web").unwrap().required::<SocketAddress>("listen").to_string()
}

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
        assert_eq!(message(&format!("{lines}\n{SERVER}{HANDLERS}")), expected, "{lines:?}");
    }
    let text = "<web>\n%define p 81\nlisten ${P}00\n</web>\n%define p 81\n<pages/>";
    assert_eq!(listens_on(&read(text).unwrap()), "('', 8100)");
}

#[test]
fn imports() {
    let package = "%import known.package\n";
    assert!(read(&format!("{package}{package}{SERVER}{HANDLERS}")).is_ok());
    assert_eq!(message("%import refused.package"), "that package is refused\n(line 1 in c.conf)");
    assert_eq!(
        message("%import relstorage"),
        "could not load package relstorage: Python packages cannot be loaded; remove the line and use \
         the section types that are built in\n(line 1 in c.conf)"
    );
}

#[test]
fn includes() {
    let main = "%define port 8\n<web>\n%include sub/keys\n</web>\n%include file:///s\n";
    let files = [
        ("/dir/c.conf", main),
        ("/dir/sub/keys", "%define more 9\n%include deeper"),
        ("/dir/sub/deeper", "listen $port$more"),
        ("/s", "<pages m$more/>\n<pages>\ntitle $more\n</pages>"),
    ];
    let top = read_files(&files).unwrap();
    assert_eq!(listens_on(&top), "('', 89)");
    let pages: Vec<&Section> =
        top.sections.iter().filter(|section| section.section_type.name == "pages").collect();
    assert_eq!(pages[0].name.as_deref(), Some("m$more"));
    assert_eq!(pages[1].required::<String>("title"), "9");
}

#[test]
fn includes_that_cannot_be() {
    let included = |text: &str| {
        let main = format!("<web>\nlisten 1\n%include a b\n</web>\n{HANDLERS}");
        let files = [("/dir/c.conf", main.as_str()), ("/dir/a b", text)];
        read_files(&files).unwrap_err().to_string()
    };
    let cases = [
        ("foo 1", "'foo' is not a known key name\n(line 1 in file:///dir/a%20b)"),
        ("</web>", "unexpected section end\n(line 1 in file:///dir/a%20b)"),
        ("%include x#y", "fragment identifiers are not supported\n(line 1 in file:///dir/a%20b)"),
        ("%include c%2Econf", "/dir/c.conf includes itself\n(line 1 in file:///dir/a%20b)"),
        ("%include c.conf", "/dir/c.conf includes itself\n(line 1 in file:///dir/a%20b)"),
        (
            "%include http://x/",
            "http://x/ is not a file: only files can be included\n(line 1 in file:///dir/a%20b)",
        ),
        (
            "%include none",
            "error opening file /dir/none: entity not found\n(line 1 in file:///dir/a%20b)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(included(text), expected);
    }
    let open = [("/dir/c.conf", "%include i"), ("/dir/i", "<web>\n\n")];
    assert_eq!(
        read_files(&open).unwrap_err().to_string(),
        "unclosed sections not allowed\n(line 2 in file:///dir/i)"
    );
    let system = MemorySystem::with(&[]).and_file("/dir/c.conf", b"\xff");
    assert_eq!(
        read_with(&system, &[]).unwrap_err().to_string(),
        "error opening file /dir/c.conf: invalid utf-8 sequence of 1 bytes from index 0"
    );
}

#[test]
fn everything_is_bounded() {
    let deep: Vec<(String, String)> = (0..=INCLUDE_DEPTH_MAX)
        .map(|n| (format!("/dir/{n}"), format!("%include {}", n + 1)))
        .chain([("/dir/c.conf".to_owned(), "%include 0".to_owned())])
        .collect();
    let deep: Vec<_> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let said = read_files(&deep).unwrap_err().to_string();
    assert!(said.starts_with("files include each other more than 16 levels deep\n"), "{said}");

    let wide = "%include x\n".repeat(INCLUDES_MAX + 1);
    let said = read_files(&[("/dir/c.conf", &wide), ("/dir/x", "")]).unwrap_err().to_string();
    assert!(said.starts_with("more than 256 files are included\n"), "{said}");

    let said = message(&"<cache>\n".repeat(SECTION_DEPTH_MAX + 1));
    assert_eq!(said, "sections are nested more than 32 levels deep\n(line 33 in c.conf)");

    let doubling: String = (1..40).map(|n| format!("%define a{n} $a{0}$a{0}\n", n - 1)).collect();
    let said = message(&format!("%define a0 x\n{doubling}"));
    assert_eq!(said, "value is longer than 65536 bytes after substitution\n(line 18 in c.conf)");
}

/// Lines that are likely to mean something, so that arbitrary text gets past the first line.
fn line() -> impl Strategy<Value = String> {
    const LINES: &[&str] = &[
        "<web>",
        "</web>",
        "<pages 1/>",
        "<pages>",
        "</pages>",
        "<cache>",
        "</cache>",
        "<secure>",
        "</secure>",
        "listen 1",
        "path $x",
        "limit 7",
        "title t",
        "certificate c",
        "%define x a$$",
        "%define y $x${x}",
        "%include c.conf",
        "%include i",
        "%import known.package",
    ];
    const KEYS: &[&str] = &["listen", "path", "limit", "title", "compress", "%define", "<"];
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
        let _ = read_with(&MemorySystem::with(&[]).and_file("/dir/c.conf", bytes), &[]);
    }
}
