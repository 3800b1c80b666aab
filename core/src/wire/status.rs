//! The reply to `ruok`: the figures of all storages as JSON.
//!
//! Monitoring tools read it, so it has the form of Python's `json.dumps`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::reply::Status;
use crate::value::Value;

/// `{"NAME": {…}, …}`
#[must_use]
pub(crate) fn to_json(statuses: &[(&str, &Status)]) -> String {
    let storages: Vec<String> = statuses
        .iter()
        .map(|(name, status)| {
            let items: Vec<String> = status
                .items()
                .into_iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), scalar(&value)))
                .collect();
            format!("{}: {{{}}}", quoted(name), items.join(", "))
        })
        .collect();
    format!("{{{}}}", storages.join(", "))
}

/// A status holds numbers, texts, a boolean and a null.
fn scalar(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{number}"),
        Value::Float(number) => format!("{number:?}"),
        Value::Bool(truth) => format!("{truth}"),
        Value::Str(text) => quoted(text),
        _ => "null".into(),
    }
}

/// ASCII only, as `json.dumps` does by default.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                json.push('\\');
                json.push(character);
            }
            ' '..='~' => json.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(quoted("a\"b\\ü\u{1f600}\n"), "\"a\\\"b\\\\\\u00fc\\ud83d\\ude00\\u000a\"");
    }
}
