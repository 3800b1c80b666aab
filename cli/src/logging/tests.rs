//! Whole logs: from events to what is in files, and to what those files are called.

use std::path::Path;

use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

fn file(path: &Path, rotation: Rotation) -> Destination {
    Destination::File(FileSettings {
        path: path.to_owned(),
        delay: false,
        encoding: Encoding::Utf8,
        rotation,
    })
}

fn handler(destination: Destination, format: &str) -> HandlerSettings {
    HandlerSettings {
        destination,
        level: Level::NOTSET,
        format: RecordFormat::parse(format, Style::Classic, false).unwrap(),
        date_format: DateFormat::default(),
    }
}

/// What a log of that level shows of one event of each kind.
fn records(level: Level, handler_level: Level, shape: LogShape) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l");
    let handler = HandlerSettings {
        level: handler_level,
        ..handler(file(&path, Rotation::None), "%(levelname)s %(name)s %(message)s")
    };
    let (_log, layer) = Log::open(EventLog { level, handlers: vec![handler] }, shape).unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        error!(target: "ZEO.a", critical = true, "1 of {}", "the worst");
        error!(target: "ZEO.a", "2");
        warn!(target: "ZEO.b", client = "c:1", label = Some("L"), count = 3, peer = "x\ny", "3");
        info!(target: "ZEO.b", "4 {}", "one\ntwo\u{1b}[0m\u{85}");
        debug!(target: "ZEO.c", blather = true, "5");
        debug!(target: "ZEO.c", "6");
        trace!(target: "rzeo_storage::file::recover", "7");
    });
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

const ALL: [&str; 7] = [
    "CRITICAL ZEO.a 1 of the worst",
    "ERROR ZEO.a 2",
    "WARNING ZEO.b 3 count=3 peer=x\\ny",
    "INFO ZEO.b 4 one\\ntwo\\u{1b}[0m\\u{85}",
    "BLATHER ZEO.c 5",
    "DEBUG ZEO.c 6",
    "TRACE ZODB.FileStorage 7",
];

#[test]
fn events_become_records() {
    assert_eq!(records(Level::NOTSET, Level::NOTSET, LogShape::Text), ALL);
    assert_eq!(records(Level::INFO, Level::NOTSET, LogShape::Text), ALL[..4]);
    assert_eq!(records(Level::NOTSET, Level::CRITICAL, LogShape::Text), ALL[..1]);
    assert_eq!(records(Level::BLATHER, Level::DEBUG, LogShape::Text), ALL[..5]);
}

#[test]
fn events_become_json() {
    let lines = records(Level::WARNING, Level::NOTSET, LogShape::Json);
    let lines: Vec<&str> =
        lines.iter().map(|line| line.split_once(",\"level\":").unwrap().1).collect();
    assert_eq!(
        lines,
        [
            r#""CRITICAL","logger":"ZEO.a","message":"1 of the worst"}"#,
            r#""ERROR","logger":"ZEO.a","message":"2"}"#,
            &(r#""WARNING","logger":"ZEO.b","message":"3","client":"c:1","label":"L","count":3,"#
                .to_owned()
                + r#""peer":"x\\ny"}"#),
        ]
    );
}
