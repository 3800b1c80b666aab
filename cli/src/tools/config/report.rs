//! The report of `rzeo config check`: as JSON, and as text made of it.

use rzeo_eventlog::{Level, Method};
use rzeo_zconfig::{Kind, Location, Section, Setting, SocketAddress, System, Value};
use serde_json::{Value as Json, json};

use crate::config::OwnSettings;

/// Keys whose values are not shown.
const SECRETS: [&str; 2] = ["password", "smtp-password"];

/// All sections of a file, and `<rzeo>` with its defaults if the file does not have it.
pub(super) fn sections(top: &Section, system: &dyn System) -> Vec<Json> {
    let mut sections: Vec<Json> = top.sections.iter().map(section).collect();
    if !top.sections.iter().any(|section| section.section_type.name == "rzeo") {
        sections.push(section(&OwnSettings::unwritten_section(system)));
    }
    sections
}

fn section(section: &Section) -> Json {
    let keys = section.section_type.keys.iter().filter(|key| !matches!(key.kind, Kind::Refused(_)));
    let settings: Vec<Json> = keys
        .flat_map(|key| match section.settings(key.name) {
            [] => vec![json!({ "key": key.name, "value": null, "text": null, "place": null })],
            settings => settings.iter().map(|one| setting(key.name, one)).collect(),
        })
        .collect();
    json!({
        "type": section.section_type.name,
        "name": section.name,
        "place": section.start.as_ref().map(place),
        "settings": settings,
        "sections": section.sections.iter().map(self::section).collect::<Vec<_>>(),
    })
}

fn setting(key: &str, setting: &Setting) -> Json {
    let is_secret = SECRETS.contains(&key) && !setting.text.is_empty();
    let (text, value) = if is_secret {
        (json!("(not shown)"), json!("(not shown)"))
    } else {
        (json!(setting.text), meaning(setting))
    };
    json!({ "key": key, "value": value, "text": text, "place": setting.location.as_ref().map(place) })
}

/// The value of a text, as far as JSON has it.
fn meaning(setting: &Setting) -> Json {
    match &setting.value {
        Value::Address(SocketAddress::Tcp { host, port }) => json!([host, port]),
        Value::Address(SocketAddress::Unix(path)) | Value::Path(path) => {
            json!(path.display().to_string())
        }
        Value::Boolean(value) => json!(value),
        Value::Count(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Integer(value) => json!(value),
        Value::Integers(values) => json!(values),
        Value::Size(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Time(value) => json!(value.as_secs_f64()),
        Value::Texts(values) => json!(values),
        Value::Custom(value) => match (value.get::<Level>(), value.get::<Method>()) {
            (Some(level), _) => json!(level.number()),
            (_, Some(method)) => json!(method.name()),
            (None, None) => json!(setting.text),
        },
        // Infinity is not JSON, and later kinds of values have a text.
        _ => json!(setting.text),
    }
}

/// The report as text.
pub(super) fn text(report: &Json) -> String {
    let mut text = format!("{}\n", string(&report["file"]));
    let url = format!("file://{}", string(&report["file"]));
    for section in array(&report["sections"]) {
        text.push('\n');
        push_section(&mut text, section, &url, 0);
    }
    let warnings = array(&report["warnings"]);
    text += if warnings.is_empty() { "\nNo warnings.\n" } else { "\nWarnings:\n" };
    for warning in warnings {
        text += &format!("- {}\n", string(warning));
    }
    text
}

fn push_section(text: &mut String, section: &Json, url: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    let name = section["name"].as_str().map_or_else(String::new, |name| format!(" {name}"));
    let header = format!("{indent}<{}{name}>", string(&section["type"]));
    push_row(text, &header, &whence(&section["place"], url, "not in the file"));
    for setting in array(&section["settings"]) {
        let key = string(&setting["key"]);
        let (value, place) = match setting["text"].as_str() {
            None => ("-", "not set".to_owned()),
            Some("") => ("\"\"", whence(&setting["place"], url, "default")),
            Some(value) => (value, whence(&setting["place"], url, "default")),
        };
        push_row(text, &format!("{indent}  {key:<27} {value}"), &place);
    }
    for inner in array(&section["sections"]) {
        push_section(text, inner, url, depth + 1);
    }
}

fn push_row(text: &mut String, left: &str, right: &str) {
    *text += format!("{left:<71} {right}").trim_end();
    text.push('\n');
}

fn whence(place: &Json, url: &str, otherwise: &str) -> String {
    if let Some(option) = place["option"].as_str() {
        return option.to_owned();
    }
    match (place["url"].as_str(), &place["line"]) {
        (None, _) => otherwise.to_owned(),
        (Some(file), line) if file == url => format!("line {line}"),
        (Some(file), line) => format!("line {line} of {file}"),
    }
}

fn string(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn array(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// A location, as JSON.
pub(super) fn place(place: &Location) -> Json {
    match place {
        Location::File { url } => json!({ "url": &**url }),
        Location::Line { url, line } => json!({ "url": &**url, "line": line }),
        Location::Override(spec) => json!({ "option": format!("-X {spec}") }),
    }
}
