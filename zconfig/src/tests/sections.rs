//! Sections, keys and overrides.

use super::*;
use crate::{Location, SocketAddress};

fn text(section: &Section, key: &str) -> String {
    section.required(key)
}

#[test]
fn a_tree_of_sections() {
    let top = read(
        "# A comment\n<WEB>\n  Listen 8080\n  compress ON\n  <secure>\n    certificate c\n  </secure>\n\
         </web>\n<cache outer>\n  path a\n  path b\n  <cache Inner>\n    path c\n    <pages x/>\n\
         </cache>\n</cache>\n<pages>\n  title a  b # c\n</pages>\n",
    )
    .unwrap();
    let web = top.section("web").unwrap();
    assert_eq!(web.required::<SocketAddress>("listen"), SocketAddress::parse("8080").unwrap());
    assert!(web.required::<bool>("compress"));
    assert_eq!(web.value::<std::path::PathBuf>("port-file"), None);
    assert_eq!(text(web.section("secure").unwrap(), "certificate"), "c");
    let names: Vec<_> = top.sections.iter().map(|section| section.name.as_deref()).collect();
    assert_eq!(names, [None, Some("outer"), None]);
    let outer = top.section("cache").unwrap();
    assert_eq!(outer.values::<String>("path"), ["a", "b"]);
    let inner = outer.section("cache").unwrap();
    assert_eq!(inner.name.as_deref(), Some("inner"));
    assert_eq!(text(top.section("pages").unwrap(), "title"), "a  b # c");
}

#[test]
fn settings_have_locations_and_defaults_have_none() {
    let top = read(&format!("{SERVER}{HANDLERS}")).unwrap();
    let url = || std::sync::Arc::from("file:///dir/c.conf");
    assert_eq!(top.start, Some(Location::File { url: url() }));
    let web = top.section("web").unwrap();
    assert_eq!(web.start, Some(Location::Line { url: url(), line: 1 }));
    assert_eq!(web.end, Some(Location::Line { url: url(), line: 3 }));
    assert_eq!(web.settings("listen")[0].location, Some(Location::Line { url: url(), line: 2 }));
    let pages = top.section("pages").unwrap();
    assert_eq!((text(pages, "title"), pages.required::<usize>("limit")), ("Pages".to_owned(), 7));
    assert_eq!(pages.settings("limit")[0].location, None);
    assert_eq!(pages.settings("limit")[0].text, "7");
}

#[test]
fn sections_without_a_file() {
    let system = MemorySystem::with(&[]);
    let web = Section::unwritten(&WEB, &[("listen", "x:1")], &system).unwrap();
    assert!(!web.required::<bool>("compress"));
    assert_eq!(web.start, None);
    let error = Section::unwritten(&WEB, &[], &system).unwrap_err();
    assert_eq!(error.to_string(), "no values for 'listen'; 1 required");
}

#[test]
fn sections_are_where_they_belong() {
    let cases = [
        ("<web", "malformed section start\n(line 5 in c.conf)"),
        ("</pages>", "unexpected section end\n(line 5 in c.conf)"),
        ("<pages x>", "unclosed sections not allowed\n(line 5 in c.conf)"),
        ("<pages x>\n</web>", "unbalanced section end\n(line 6 in c.conf)"),
        ("<web>\nlisten 1\n</web>", "too many instances of 'web' section\n(line 7 in c.conf)"),
        ("<secure>", "unknown type name: 'secure'\n(line 5 in c.conf)"),
        (
            "<cache c>\npath p\n<options/>",
            "no matching section defined for type='options', name='None'\n(line 7 in c.conf)",
        ),
        (
            "<Web.handler/>",
            "concrete sections cannot match abstract section types; found abstract type \
             'web.handler'\n(line 5 in c.conf)",
        ),
        (
            "<pages x/>\n<cache X>\npath p\n<pages/>\n</cache>",
            "section names must not be re-used within the same container:'x'\n(line 9 in c.conf)",
        ),
        (
            "<cache c>\npath p\n</cache>",
            "no values for section type 'web.handler'; 1 required\n(line 7 in c.conf)",
        ),
        ("<old>\npath p\n</old>", "<old>: use <pages>\n(line 7 in c.conf)"),
        ("<old/>", "no values for 'path'; 1 required\n(line 5 in c.conf)"),
    ];
    for (lines, expected) in cases {
        assert_eq!(message_after(lines), expected, "{lines:?}");
    }
}

#[test]
fn what_a_file_lacks_names_the_file() {
    let missing = "no values for section type 'web'; 1 required\n(in c.conf)";
    assert_eq!(message(""), missing);
    assert_eq!(message(HANDLERS), missing);
    assert_eq!(
        message(SERVER),
        "not enough values for section type 'web.handler'; 0 found, 1 required\n(in c.conf)"
    );
    assert_eq!(message("<web>\n</web>"), "no values for 'listen'; 1 required\n(line 2 in c.conf)");
    assert_eq!(
        message(&format!("{SERVER}<cache c>\n<pages/>\n</cache>")),
        "not enough values for 'path'; 0 found, 1 required\n(line 6 in c.conf)"
    );
}

#[test]
fn keys_and_values() {
    let cases = [
        ("foo 1", "'foo' is not a known key name\n(line 3 in c.conf)"),
        ("listen 1", "'listen' does not support multiple values\n(line 3 in c.conf)"),
        ("key=value", "value did not match regular expression: 'key=value' (line 3, in c.conf)"),
        ("1a b", "value did not match regular expression: '1a' (line 3, in c.conf)"),
        ("(x) y", "malformed configuration data\n(line 3 in c.conf)"),
        ("COMPRESS 1", "not a valid boolean value: '1' (line 3, in c.conf)"),
        ("compress true # x", "not a valid boolean value: 'true # x' (line 3, in c.conf)"),
        ("compress $$", "not a valid boolean value: '$' (line 3, in c.conf)"),
        ("compress $x", "no replacement for 'x'\n(line 3 in c.conf)"),
        ("compress $", "illegal lone '$' at end of source\n(line 3 in c.conf)"),
    ];
    for (line, expected) in cases {
        assert_eq!(message_in_web(line), expected, "{line:?}");
    }
    assert_eq!(
        message_after("<options>\ncode x\n</options>"),
        "code is not supported (line 6, in c.conf)"
    );
}

#[test]
fn rules_over_several_values() {
    assert_eq!(
        message_after("<cache c>\npath a\n<pages never/>\n</cache>"),
        "this is never cached (line 7, in c.conf)"
    );
    assert_eq!(
        message_after("<cache c>\npath a\npath b\npath c\n<pages/>\n</cache>"),
        "at most two paths (line 6, in c.conf)"
    );
}

#[test]
fn misspelt_names_get_a_suggestion() {
    assert_eq!(
        message_after("<page x/>"),
        "unknown type name: 'page'; did you mean <pages>?\n(line 5 in c.conf)"
    );
    assert_eq!(
        message_in_web("comprss yes"),
        "'comprss' is not a known key name; did you mean 'compress'?\n(line 3 in c.conf)"
    );
    assert_eq!(message_after("<foo/>"), "unknown type name: 'foo'\n(line 5 in c.conf)");
    assert_eq!(
        message_after("<slides/>"),
        "unknown type name: 'slides'; convert them to <pages>\n(line 5 in c.conf)"
    );
}

#[test]
fn errors_name_what_is_accepted() {
    let expected = |text: &str| read(text).unwrap_err().expected().unwrap_or_default();
    assert_eq!(expected("<pages>\npath x\n"), "one of the keys title, limit");
    assert_eq!(expected("path x\n"), "nothing");
    let sections = "one of the sections web, pages, cache, options";
    assert_eq!(expected("<secure>\n"), sections);
    assert_eq!(expected("<foo/>\n"), sections);
    assert_eq!(expected("<pages>\nlimit 0\n</pages>"), "a whole number from 1 to 9");
    assert_eq!(expected("<web\n"), "");
}

#[test]
fn overrides_replace_settings() {
    let text =
        format!("{SERVER}<pages Main>\ntitle t\n</pages>\n<cache c>\npath p\n<pages/>\n</cache>\n");
    let read = |overrides: &[&str]| {
        read_with(&MemorySystem::with(&[("/dir/c.conf", text.as_str())]), overrides)
    };
    let top = read(&["WEB/Listen=9", "main/title=x=$y", "cache/pages/limit=3", "web/compress=on"]);
    let top = top.unwrap();
    let web = top.section("web").unwrap();
    assert_eq!(web.required::<SocketAddress>("listen"), SocketAddress::parse("9").unwrap());
    assert!(web.required::<bool>("compress"));
    assert_eq!(super::sections::text(top.section("pages").unwrap(), "title"), "x=$y");
    let inner = top.section("cache").and_then(|cache| cache.section("pages")).unwrap();
    assert_eq!(inner.required::<usize>("limit"), 3);

    let message = |one: &str| read(&[one]).unwrap_err().to_string();
    let cases = [
        ("web/listen", "invalid configuration specifier\n(in -X web/listen)"),
        ("web//a=1", "'//' is not allowed in an option path\n(in -X web//a=1)"),
        ("old/path=1", "not all command line options were consumed\n(in -X old/path=1)"),
        ("web/secure/x=1", "not all command line options were consumed\n(in -X web/secure/x=1)"),
        ("web/foo=1", "'foo' is not a known key name\n(in -X web/foo=1)"),
        ("title=1", "'title' is not a known key name\n(in -X title=1)"),
        ("web/compress=1", "not a valid boolean value: '1' (in -X web/compress=1)"),
        (
            "1/path=x",
            "could not convert basic-key value: value did not match regular expression: '1'\n\
             (in -X 1/path=x)",
        ),
    ];
    for (option, expected) in cases {
        assert_eq!(message(option), expected);
    }
    let twice = read(&["web/listen=1", "web/listen=2"]).unwrap_err().to_string();
    assert_eq!(twice, "'listen' does not support multiple values\n(in -X web/listen=2)");
}

#[test]
fn the_checks_of_the_fuzzer_hold_for_samples() {
    let meaning = |system: &dyn System, path: &str, overrides: &[String]| {
        let read = SCHEMA.read(system, Path::new(path), overrides);
        read.map(|top| format!("{:?}", top.sections.len())).map_err(|error| error.to_string())
    };
    for input in [
        &b"<web>\nlisten 1\n</web>\n<pages/>"[..],
        b"%include 1\n<pages/>\xfe\xed<web>\r\nlisten 1\r\n</web>\xfe\xed-Xweb/compress=on",
        b"<web>\nlisten",
        b"\xff",
        b"",
    ] {
        crate::fuzz::check(input, meaning);
    }
}
