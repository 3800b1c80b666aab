//! Whole logs: from events to the contents of files.

use std::path::Path;

use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::*;

fn file(path: &Path, rotation: Rotation) -> Destination {
    Destination::File(FileSettings { rotation, ..FileSettings::new(path) })
}

fn handler(destination: Destination, format: &str) -> HandlerSettings {
    HandlerSettings {
        format: RecordFormat::parse(format, Style::Classic, false).unwrap(),
        ..HandlerSettings::new(destination)
    }
}

/// The records of one event of each kind in a log of that level.
fn records(level: Level, handler_level: Level, format: LogFormat) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l");
    let handler = HandlerSettings {
        level: handler_level,
        ..handler(file(&path, Rotation::None), "%(levelname)s %(name)s %(message)s")
    };
    let conventions =
        Conventions { loggers: &[("my_crate", "my.logger")], silent_fields: &["client", "label"] };
    let settings = EventLog { level, handlers: vec![handler] };
    let (_log, layer) = Log::open(settings, format, conventions).unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        error!(target: "app.a", critical = true, "1 of {}", "the worst");
        error!(target: "app.a", "2");
        warn!(target: "app.b", client = "c:1", label = Some("L"), count = 3, peer = "x\ny", "3");
        info!(target: "app.b", "4 {}", "one\ntwo\u{1b}[0m\u{85}");
        debug!(target: "app.c", blather = true, "5");
        debug!(target: "app.c", "6");
        trace!(target: "my_crate::file::recover", "7");
    });
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

const ALL: [&str; 7] = [
    "CRITICAL app.a 1 of the worst",
    "ERROR app.a 2",
    "WARNING app.b 3 count=3 peer=x\\ny",
    "INFO app.b 4 one\\ntwo\\u{1b}[0m\\u{85}",
    "BLATHER app.c 5",
    "DEBUG app.c 6",
    "TRACE my.logger 7",
];

#[test]
fn events_become_records() {
    assert_eq!(records(Level::NOTSET, Level::NOTSET, LogFormat::Text), ALL);
    assert_eq!(records(Level::INFO, Level::NOTSET, LogFormat::Text), ALL[..4]);
    assert_eq!(records(Level::NOTSET, Level::CRITICAL, LogFormat::Text), ALL[..1]);
    assert_eq!(records(Level::BLATHER, Level::DEBUG, LogFormat::Text), ALL[..5]);
}

#[test]
fn events_become_json() {
    let lines = records(Level::WARNING, Level::NOTSET, LogFormat::Json);
    let lines: Vec<&str> =
        lines.iter().map(|line| line.split_once(",\"level\":").unwrap().1).collect();
    assert_eq!(
        lines,
        [
            r#""CRITICAL","logger":"app.a","message":"1 of the worst"}"#,
            r#""ERROR","logger":"app.a","message":"2"}"#,
            &(r#""WARNING","logger":"app.b","message":"3","client":"c:1","label":"L","count":3,"#
                .to_owned()
                + r#""peer":"x\\ny"}"#),
        ]
    );
}
