//! Whole configurations of a server: the settings of valid files, and the messages for invalid ones.
//!
//! The messages were compared with those of Python's `runzeo` 6.2; where Python leaves out the location, the
//! second line here is an addition.

mod zeoclient;

use std::path::Path;
use std::time::Duration;

use rzeo_eventlog::{
    DateFormat, Destination, Encoding, EventLog, Facility, FileSettings, HandlerSettings, HttpUrl,
    Level, LogFormat, MailSettings, Method, RecordFormat, Rotation, Schedule, Style, When,
};
use rzeo_net::Address;
use rzeo_zconfig::{ConfigError, Key, Kind, MemorySystem, Need, SocketAddress};

use super::*;

const ZEO: &str = "<zeo>\naddress 8100\n</zeo>\n";
const MAPPING: &str = "<mappingstorage/>\n";

fn read_files(files: &[(&str, &str)]) -> Result<ServerConfig, ConfigError> {
    ServerConfig::read(&MemorySystem::with(files), Path::new("c.conf"), &[])
}

fn read(text: &str) -> Result<ServerConfig, ConfigError> {
    read_files(&[("/dir/c.conf", text)])
}

/// The message for an invalid file, without the file's directory.
fn message(text: &str) -> String {
    read(text).unwrap_err().to_string().replace("file:///dir/c.conf", "c.conf")
}

/// The message for a line in `<zeo>`, where it is the third.
fn message_in_zeo(line: &str) -> String {
    message(&format!("<zeo>\naddress 8100\n{line}\n</zeo>\n{MAPPING}"))
}

/// The message for lines after a complete configuration, where they start at 5.
fn message_after(lines: &str) -> String {
    message(&format!("{ZEO}{MAPPING}{lines}"))
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn the_least_configuration() {
    let config = read(&format!("{ZEO}{MAPPING}")).unwrap();
    let mapping = StorageKind::Mapping { name: "Mapping Storage".to_owned() };
    let expected = ServerConfig {
        address: address("8100"),
        read_only: false,
        invalidation_queue_size: 100,
        invalidation_age: None,
        transaction_timeout: None,
        client_conflict_resolution: false,
        msgpack: None,
        pid_filename: None,
        ssl: None,
        storages: vec![StorageConfig { name: "1".to_owned(), kind: mapping }],
        eventlog: None,
        own: OwnSettings::unwritten(&MemorySystem::with(&[])),
    };
    assert_eq!(config, expected);
}

#[test]
fn a_configuration_with_everything() {
    let config = read(include_str!("../../tests/everything.conf")).unwrap();
    let file = FileConfig {
        path: "/dir/Data.fs".into(),
        blob_dir: None,
        create: true,
        read_only: false,
        quota: Some(1 << 20),
        pack_gc: false,
        pack_keep_old: false,
    };
    let blobs = StorageKind::Blob {
        directory: "/dir/blobs".into(),
        base: Box::new(StorageKind::File(file)),
    };
    let own_blobs = FileConfig {
        blob_dir: Some("/dir/b".into()),
        read_only: true,
        ..FileConfig::at("other.fs".into())
    };
    let named = StorageKind::Mapping { name: "in memory: 1$".to_owned() };
    let expected = ServerConfig {
        address: Address::unix("/dir/sock"),
        read_only: true,
        invalidation_queue_size: 7,
        invalidation_age: Some(0.5),
        transaction_timeout: Some(30.0),
        client_conflict_resolution: true,
        msgpack: Some(false),
        pid_filename: Some("/dir/pid".into()),
        ssl: Some(TlsConfig {
            certificate: "/dir/server.pem".into(),
            key: Some("/dir/key.pem".into()),
            password: Some(KeyPassword::Command("cat /dir/password".to_owned())),
            authenticate: Some("clients".into()),
        }),
        storages: vec![
            StorageConfig { name: "main".to_owned(), kind: blobs },
            StorageConfig { name: "$n".to_owned(), kind: StorageKind::File(own_blobs) },
            StorageConfig { name: "1".to_owned(), kind: named },
            StorageConfig { name: "demo".to_owned(), kind: demo() },
        ],
        eventlog: Some(EventLog { level: Level::BLATHER, handlers: all_handlers() }),
        own: all_own_settings(),
    };
    assert_eq!(config, expected);
}

fn all_handlers() -> Vec<HandlerSettings> {
    let plain = HandlerSettings::new;
    let file = |path: &str, rotation| FileSettings { rotation, ..FileSettings::new(path) };
    let format = |text| RecordFormat::parse(text, Style::Classic, false).unwrap();
    let schedule = Schedule { when: When::Weekday(6), interval: 2 };
    let long = "%(asctime)s %(levelname)s %(name)s %(message)s";
    vec![
        HandlerSettings {
            destination: Destination::File(FileSettings {
                delay: true,
                encoding: Encoding::Latin1,
                ..file("/dir/log", Rotation::Size { max: 1 << 20, old_files: 3 })
            }),
            level: Level::ERROR,
            format: RecordFormat::parse("{message} {extra}", Style::Format, true).unwrap(),
            date_format: DateFormat::parse("%d.%m.").unwrap(),
        },
        plain(Destination::Stdout),
        plain(Destination::File(file("l", Rotation::Time { schedule, old_files: 4 }))),
        HandlerSettings {
            format: format("%(name)s %(message)s"),
            ..plain(Destination::Syslog {
                address: SocketAddress::Unix("/dev/log".into()),
                facility: Facility::named("daemon").unwrap(),
            })
        },
        HandlerSettings {
            format: format(long),
            ..plain(Destination::Http {
                url: HttpUrl::parse("http://localhost/log?x").unwrap(),
                method: Method::Post,
            })
        },
        HandlerSettings {
            format: format(long),
            ..plain(Destination::Mail(MailSettings {
                host: "mail".to_owned(),
                port: Some(2525),
                from: "a@b".to_owned(),
                to: vec!["c@d".to_owned(), "e@f".to_owned()],
                subject: "Message from Zope".to_owned(),
                login: Some(("u".to_owned(), "p".to_owned())),
            }))
        },
    ]
}

fn all_own_settings() -> OwnSettings {
    OwnSettings {
        runtime: Runtime::Smol,
        admin_address: Some(address("localhost:8101")),
        log_format: LogFormat::Json,
        stop_timeout: Duration::from_millis(2500),
        max_connections: 11,
        max_unfinished_handshakes: 12,
        handshake_timeout: Duration::from_secs(13),
        max_message_size: 14 << 20,
        max_backlog: 15 << 20,
        max_iterators: 16,
        max_transaction_stores: 17,
        max_transaction_size: 18 << 30,
        transaction_memory: 19 << 10,
        max_blob_size: 20 << 30,
        max_transaction_blobs: 21,
    }
}

fn demo() -> StorageKind {
    let mapping = |name: &str| StorageKind::Mapping { name: name.to_owned() };
    StorageKind::Demo {
        name: Some("a demo".to_owned()),
        base: Some(Box::new(mapping("below"))),
        changes: Some(Box::new(StorageKind::Demo { name: None, base: None, changes: None })),
    }
}

/// The settings without the section.
#[test]
fn own_settings_have_defaults() {
    let expected = OwnSettings {
        runtime: Runtime::Tokio,
        admin_address: None,
        log_format: LogFormat::Text,
        stop_timeout: Duration::from_secs(10),
        max_connections: 10_000,
        max_unfinished_handshakes: 1_000,
        handshake_timeout: Duration::from_secs(60),
        max_message_size: 1 << 30,
        max_backlog: 256 << 20,
        max_iterators: 10_000,
        max_transaction_stores: 10_000_000,
        max_transaction_size: 64 << 30,
        transaction_memory: 8 << 20,
        max_blob_size: 1 << 40,
        max_transaction_blobs: 100_000,
    };
    assert_eq!(read(&format!("{ZEO}{MAPPING}")).unwrap().own, expected);
    assert_eq!(read(&format!("{ZEO}{MAPPING}<rzeo/>\n")).unwrap().own, expected);
}

#[test]
fn own_settings_have_bounds() {
    let cases = [
        ("runtime async-std", "must be one of tokio, smol; found 'async-std' (line 6, in c.conf)"),
        ("max-connections 0", "0 is below lower bound (1) (line 6, in c.conf)"),
        (
            "max-message-size 4gb",
            "4294967296 is above upper bound (4294967295) (line 6, in c.conf)",
        ),
        ("max-backlog 1", "1 is below lower bound (1048576) (line 6, in c.conf)"),
        ("stop-timeout -1", "-1 is below lower bound (0) (line 6, in c.conf)"),
        ("admin-address a b", "not a valid host name: 'a b' (line 6, in c.conf)"),
    ];
    for (line, expected) in cases {
        assert_eq!(message_after(&format!("<rzeo>\n{line}\n</rzeo>")), expected);
    }
}

#[test]
fn tls() {
    let read_ssl = |system: MemorySystem, lines: &str| {
        let ssl = format!("<ssl>\ncertificate c\n{lines}\n</ssl>");
        let text = format!("<zeo>\naddress 1\n{ssl}\n</zeo>\n{MAPPING}");
        ServerConfig::read(&system.and_file("/dir/c.conf", text), Path::new("c.conf"), &[])
    };
    let plain = || MemorySystem::with(&[]);
    let with_password = || plain().and_variable("RZEO_TLS_KEY_PASSWORD", "secret");

    let least =
        TlsConfig { certificate: "c".into(), key: None, password: None, authenticate: None };
    assert_eq!(read_ssl(plain(), "authenticate DYNAMIC").unwrap().ssl, Some(least.clone()));
    let given = TlsConfig { password: Some(KeyPassword::Given("secret".to_owned())), ..least };
    let config = read_ssl(
        with_password(),
        "authenticate DYNAMIC\npassword-function a.b\npassword-command false",
    );
    assert_eq!(config.unwrap().ssl, Some(given.clone()));
    assert!(!format!("{given:?}").contains("secret"));

    let message = |lines| {
        let error = read_ssl(plain(), lines).unwrap_err();
        error.to_string().replace("file:///dir/c.conf", "c.conf")
    };
    assert_eq!(message(""), "no values for 'authenticate'; 1 required\n(line 6 in c.conf)");
    assert_eq!(
        message("authenticate a\npassword-function a.b"),
        "Python code cannot be used by this server: set password-command to a command that prints \
         the password, or the environment variable RZEO_TLS_KEY_PASSWORD to the password itself \
         (line 6, in c.conf)"
    );
    assert!(read_ssl(plain(), "authenticate a\npassword-function a.b\npassword-command c").is_ok());
}

/// The example in `docs/configuration.md`.
#[test]
fn the_documented_configuration_is_one() {
    let page = include_str!("../../../docs/configuration.md");
    let example = page.split("```\n").nth(1).unwrap().replace("/srv/zeo", "/dir");
    let config = read(&example).unwrap();
    assert_eq!(config.address, address("0.0.0.0:8100"));
    assert_eq!(config.storages[0].name, "main");
}

/// The tables in `docs/configuration.md` have all keys of a section, with the defaults of the code.
#[test]
fn the_documented_keys_and_defaults_are_those_of_the_schema() {
    let page = include_str!("../../../docs/configuration.md");
    for section in page.split("\n### `<").skip(1) {
        let (name, text) = section.split_once(">`\n").unwrap();
        let text = text.split("\n## ").next().unwrap();
        let section_type = server::section_type(name).unwrap();
        for row in text.lines().filter(|line| line.starts_with("| `") && line.contains(" | ")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            if let [keys, default, _effect] = cells[..] {
                let keys: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
                for key in keys.into_iter().filter(|key| !key.starts_with('<')) {
                    assert_default(section_type.key(key).expect(key), default);
                }
            }
        }
        let is_documented = |key: &Key| text.contains(&format!("`{}`", key.name));
        let usable = section_type.keys.iter().filter(|key| !matches!(key.kind, Kind::Refused(_)));
        let missing: Vec<_> =
            usable.filter(|key| !is_documented(key)).map(|key| key.name).collect();
        assert!(missing.is_empty() || name == "runner", "<{name}>: {missing:?}");
    }
}

fn assert_default(key: &Key, documented: &str) {
    let required = matches!(key.need, Need::Required | Need::Repeated);
    assert_eq!(documented == "required", required, "{}", key.name);
    let default = key.default.text().filter(|default| !default.is_empty());
    match default {
        Some(default) => assert_eq!(documented, format!("`{default}`"), "{}", key.name),
        // Python's schema has no default for these two; Python's storage has.
        None if ["create", "read-only"].contains(&key.name) => assert_eq!(documented, "`false`"),
        None => assert!(["none", "required"].contains(&documented), "{}", key.name),
    }
}

/// Every section that the page names exists.
#[test]
fn the_documented_sections_exist() {
    let page = include_str!("../../../docs/configuration.md");
    let rows = page.lines().filter(|line| line.starts_with("| `<"));
    let names: Vec<&str> = rows.filter_map(|row| row.split(['<', '>']).nth(1)).collect();
    assert!(names.contains(&"mappingstorage") && names.contains(&"logfile"), "{names:?}");
    assert!(names.iter().all(|name| server::section_type(name).is_some()), "{names:?}");
}

#[test]
fn storages_have_names_of_their_own() {
    let cases = [
        ("", "not enough values for section type 'zodb.storage'; 0 found, 1 required\n(in c.conf)"),
        (
            "<mappingstorage/>\n<mappingstorage/>",
            "No more than one storage may be unnamed.\n(in c.conf)",
        ),
        (
            "<mappingstorage/>\n<mappingstorage 1/>",
            "Can't have an unnamed storage and a storage named 1.\n(in c.conf)",
        ),
        (
            "<mappingstorage 1/>\n<mappingstorage 1/>",
            "section names must not be re-used within the same container:'1'\n(line 5 in c.conf)",
        ),
        (
            "<mappingstorage X/>\n<eventlog x/>",
            "section names must not be re-used within the same container:'x'\n(line 5 in c.conf)",
        ),
    ];
    for (storages, expected) in cases {
        assert_eq!(message(&format!("{ZEO}{storages}")), expected);
    }
    let config =
        read(&format!("{ZEO}<mappingstorage x/>\n<mappingstorage Y>\n</mappingstorage>")).unwrap();
    let names: Vec<_> = config.storages.iter().map(|storage| storage.name.as_str()).collect();
    assert_eq!(names, ["x", "y"]);
}

#[test]
fn sections_are_where_they_belong() {
    let cases = [
        ("<foo>\n</foo>", "unknown type name: 'foo'\n(line 5 in c.conf)"),
        (
            "<filestorge x>",
            "unknown type name: 'filestorge'; did you mean <filestorage>?\n(line 5 in c.conf)",
        ),
        (
            "<relstorage main>",
            "unknown type name: 'relstorage'; SQL databases are not served; convert the database with \
             zodbconvert and serve the file with <filestorage>\n(line 5 in c.conf)",
        ),
        (
            "%import relstorage",
            "SQL databases are not served; convert the database with zodbconvert and serve the file \
             with <filestorage>\n(line 5 in c.conf)",
        ),
        ("%import ZEO", "type name cannot be redefined: 'ssl'\n(line 5 in c.conf)"),
        ("<foo", "malformed section start\n(line 5 in c.conf)"),
        ("</foo>", "unexpected section end\n(line 5 in c.conf)"),
        ("<mappingstorage x>", "unclosed sections not allowed\n(line 5 in c.conf)"),
        ("<mappingstorage x>\n</zeo>", "unbalanced section end\n(line 6 in c.conf)"),
        ("<mappingstorage a b>", "malformed section header\n(line 5 in c.conf)"),
        (
            "<zodb main>",
            "no matching section defined for type='zodb', name='main'\n(line 5 in c.conf)",
        ),
        (
            "<logfile>",
            "no matching section defined for type='logfile', name='None'\n(line 5 in c.conf)",
        ),
        (
            "<ZODB.storage/>",
            "concrete sections cannot match abstract section types; found abstract type \
             'zodb.storage'\n(line 5 in c.conf)",
        ),
        ("<zeo>\naddress 1\n</zeo>", "too many instances of 'zeo' section\n(line 7 in c.conf)"),
        (
            "<eventlog/>\n<eventlog/>",
            "too many instances of 'eventlog' section\n(line 6 in c.conf)",
        ),
        ("<filestorage a/>", "no values for 'path'; 1 required\n(line 5 in c.conf)"),
        ("<runner>\n</runner>", "no values for 'program'; 1 required\n(line 6 in c.conf)"),
    ];
    for (lines, expected) in cases {
        assert_eq!(message_after(lines), expected, "{lines:?}");
    }
    let missing = "no values for section type 'zeo'; 1 required\n(in c.conf)";
    assert_eq!(message(MAPPING), missing);
    assert_eq!(message(""), missing);
    assert_eq!(
        message(&format!("<zeo>\n</zeo>\n{MAPPING}")),
        "no values for 'address'; 1 required\n(line 2 in c.conf)"
    );
}

#[test]
fn storages_in_storages_and_storages_that_are_refused() {
    let cases = [
        (
            "<blobstorage b>\nblob-dir b\n</blobstorage>",
            "no values for section type 'zodb.storage'; 1 required\n(line 7 in c.conf)",
        ),
        (
            "<blobstorage b>\nblob-dir b\n<mappingstorage/>\n<mappingstorage/>\n</blobstorage>",
            "too many instances of 'zodb.storage' section\n(line 8 in c.conf)",
        ),
        (
            "<blobstorage b>\nblob-dir b\n<filestorage>\npath x\nblob-dir c\n</filestorage>\n\
             </blobstorage>",
            "<filestorage> in <blobstorage> already has blobs of its own (line 7, in c.conf)",
        ),
        (
            "<blobstorage b>\nblob-dir b\n<demostorage/>\n</blobstorage>",
            "<demostorage> in <blobstorage> already has blobs of its own (line 7, in c.conf)",
        ),
        (
            "<demostorage d>\n<mappingstorage a/>\n<mappingstorage changes/>\n\
             <mappingstorage/>\n</demostorage>",
            "Too many base storages defined! (line 8, in c.conf)",
        ),
        (
            "<zeoclient z>\nwait 1\n</zeoclient>",
            "not enough values for 'server'; 0 found, 1 required\n(line 7 in c.conf)",
        ),
        (
            "<zeoclient z>\nserver 1\nserver b:2\nwait 1\n</zeoclient>",
            "not a valid boolean value: '1' (line 8, in c.conf)",
        ),
        (
            "<zeoclient z>\nserver 1\nserver b\n</zeoclient>",
            "b: a server's address needs a port (line 6, in c.conf)",
        ),
        (
            "<zeoclient z>\nserver 1\n<ssl>\ncertificate c\ncheck-hostname 1\n</ssl>\n</zeoclient>",
            "not a valid boolean value: '1' (line 9, in c.conf)",
        ),
        (
            "<blobstorage b>\nblob-dir b\n<zeoclient>\nserver 1\n</zeoclient>\n</blobstorage>",
            "<zeoclient> in <blobstorage>: the storage of another server, which others change, can only \
             be served as it is (line 7, in c.conf)",
        ),
        (
            "<demostorage d>\n<zeoclient>\nserver 1\n</zeoclient>\n</demostorage>",
            "<zeoclient> in <demostorage>: the storage of another server, which others change, can only \
             be served as it is (line 6, in c.conf)",
        ),
        (
            "<fullstorage f>\nenvdir x\n</fullstorage>",
            "<fullstorage>: BerkeleyDB storages are not supported, nor are they by Python's server; \
             copy the database into a <filestorage>\n(line 7 in c.conf)",
        ),
        ("<minimalstorage/>", "no values for 'envdir'; 1 required\n(line 5 in c.conf)"),
    ];
    for (lines, expected) in cases {
        assert_eq!(message_after(lines), expected, "{lines:?}");
    }
}

#[test]
fn keys_and_values() {
    let cases = [
        ("foo 1", "'foo' is not a known key name\n(line 3 in c.conf)"),
        (
            "read_only true",
            "'read_only' is not a known key name; did you mean 'read-only'?\n(line 3 in c.conf)",
        ),
        ("address 1", "'address' does not support multiple values\n(line 3 in c.conf)"),
        ("key=value", "value did not match regular expression: 'key=value' (line 3, in c.conf)"),
        ("1a b", "value did not match regular expression: '1a' (line 3, in c.conf)"),
        ("(x) y", "malformed configuration data\n(line 3 in c.conf)"),
        ("READ-ONLY 1", "not a valid boolean value: '1' (line 3, in c.conf)"),
        ("read-only true # x", "not a valid boolean value: 'true # x' (line 3, in c.conf)"),
        ("transaction-timeout x", "not a whole number: 'x' (line 3, in c.conf)"),
        ("transaction-timeout 0", "0 is below lower bound (1) (line 3, in c.conf)"),
        ("invalidation-queue-size -3", "-3 is below lower bound (0) (line 3, in c.conf)"),
        ("invalidation-age -1", "-1 is below lower bound (0) (line 3, in c.conf)"),
        ("invalidation-age nan", "not a number: 'nan' (line 3, in c.conf)"),
        ("invalidation-age x", "not a number: 'x' (line 3, in c.conf)"),
        (
            "pid-filename /nowhere/x",
            "The directory named as part of the path /nowhere/x does not exist. (line 3, in c.conf)",
        ),
        ("msgpack $$", "not a valid boolean value: '$' (line 3, in c.conf)"),
        ("msgpack $x", "no replacement for 'x'\n(line 3 in c.conf)"),
        ("msgpack $", "illegal lone '$' at end of source\n(line 3 in c.conf)"),
    ];
    for (line, expected) in cases {
        assert_eq!(message_in_zeo(line), expected, "{line:?}");
    }
    assert_eq!(message("key value\n"), "'key' is not a known key name\n(line 1 in c.conf)");
    let address = |text: &str| message(&format!("<zeo>\naddress {text}\n</zeo>\n{MAPPING}"));
    assert_eq!(address("a b"), "not a valid host name: 'a b' (line 2, in c.conf)");
    assert_eq!(address(":70000"), "70000 is above upper bound (65535) (line 2, in c.conf)");
}

#[test]
fn errors_name_what_is_accepted() {
    let expected = |text: &str| read(text).unwrap_err().expected().unwrap_or_default();
    assert_eq!(expected("<mappingstorage>\npath x\n"), "one of the keys name");
    assert_eq!(expected("path x\n"), "nothing");
    assert_eq!(
        expected("<logfile>\n"),
        "one of the sections zeo, runner, filestorage, mappingstorage, blobstorage, demostorage, \
         zeoclient, eventlog, rzeo"
    );
    assert_eq!(
        expected("<zeo>\naddress 1\nread-only 1\n</zeo>\n"),
        "yes, true, on, no, false or off"
    );
    assert_eq!(expected("<zeo\n"), "");
}

#[test]
fn the_command_line_overrides() {
    let text = format!(
        "{ZEO}<filestorage Main>\npath a.fs\nquota $nope\n</filestorage>\n<blobstorage b>\n\
         blob-dir b\n<filestorage>\npath c.fs\n</filestorage>\n</blobstorage>\n"
    );
    let text = text.replace("$nope", "1");
    let read = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|one| (*one).to_owned()).collect();
        let system = MemorySystem::with(&[("/dir/c.conf", text.as_str())]);
        ServerConfig::read(&system, Path::new("c.conf"), &overrides)
    };
    let config = read(&[
        "ZEO/Address=9",
        "main/path=x=$y",
        "main/quota=2kb",
        "blobstorage/filestorage/pack-gc=no",
        "zeo/msgpack=on",
    ])
    .unwrap();
    assert_eq!(config.address, address("9"));
    assert_eq!(config.msgpack, Some(true));
    let file = FileConfig { quota: Some(2048), ..FileConfig::at("x=$y".into()) };
    assert_eq!(config.storages[0].kind, StorageKind::File(file));
    let base = FileConfig { pack_gc: false, ..FileConfig::at("c.fs".into()) };
    let base = Box::new(StorageKind::File(base));
    assert_eq!(config.storages[1].kind, StorageKind::Blob { directory: "b".into(), base });

    let message = |one: &str| read(&[one]).unwrap_err().to_string();
    let cases = [
        ("zeo/address", "invalid configuration specifier\n(in -X zeo/address)"),
        ("zeo//a=1", "'//' is not allowed in an option path\n(in -X zeo//a=1)"),
        (
            "eventlog/level=1",
            "not all command line options were consumed\n(in -X eventlog/level=1)",
        ),
        ("zeo/ssl/key=1", "not all command line options were consumed\n(in -X zeo/ssl/key=1)"),
        ("zeo/foo=1", "'foo' is not a known key name\n(in -X zeo/foo=1)"),
        ("level=1", "'level' is not a known key name\n(in -X level=1)"),
        ("zeo/msgpack=1", "not a valid boolean value: '1' (in -X zeo/msgpack=1)"),
        (
            "1/path=x",
            "could not convert basic-key value: value did not match regular expression: '1'\n\
             (in -X 1/path=x)",
        ),
    ];
    for (option, expected) in cases {
        assert_eq!(message(option), expected);
    }
    let twice = read(&["zeo/address=1", "zeo/address=2"]).unwrap_err().to_string();
    assert_eq!(twice, "'address' does not support multiple values\n(in -X zeo/address=2)");
}
