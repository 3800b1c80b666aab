//! Records as JSON: one object a line.
//!
//! ```text
//! {"time":"2026-11-24T21:06:49.123456+01:00","level":"INFO","logger":"ZEO.StorageServer",
//!  "message":"(zope 10.0.0.7:51234) disconnected","client":"10.0.0.7:51234","label":"zope"}
//! ```
//!
//! The first four are always present, in this order; the event's fields follow under their own names.

use jiff::tz::TimeZone;

use crate::record::Record;

/// A record as a line, without a final newline.
pub(crate) fn line(record: &Record<'_>, zone: &TimeZone) -> String {
    let time = record.time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string();
    let mut line = String::with_capacity(record.plain.len() + 128);
    line.push('{');
    push(&mut line, "time", &time.into());
    push(&mut line, "level", &record.level.to_string().into());
    push(&mut line, "logger", &record.name.into());
    push(&mut line, "message", &record.plain.into());
    for (name, value) in record.fields {
        if !["time", "level", "logger", "message"].contains(name) {
            push(&mut line, name, value);
        }
    }
    line.push('}');
    line
}

fn push(line: &mut String, name: &str, value: &serde_json::Value) {
    if line.len() > 1 {
        line.push(',');
    }
    // `Display` of a value is JSON.
    line.push_str(&format!("{}:{value}", serde_json::Value::from(name)));
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::level::Level;

    #[test]
    fn a_record_is_an_object_of_its_own() {
        let fields = [
            ("client", "10.0.0.7:51234".into()),
            ("time", "not this".into()),
            ("count", 3.into()),
            ("ok", true.into()),
        ];
        let record = Record {
            time: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            level: Level::WARNING,
            name: "ZEO.x",
            message: "say \"hello\" count=3",
            plain: "say \"hello\"",
            fields: &fields,
            file: "",
            line: 0,
            start: Timestamp::UNIX_EPOCH,
        };
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(
            line(&record, &zone),
            r#"{"time":"2023-11-14T23:13:20.123456+01:00","level":"WARNING","logger":"ZEO.x","#
                .to_owned()
                + r#""message":"say \"hello\"","client":"10.0.0.7:51234","count":3,"ok":true}"#
        );
    }
}
