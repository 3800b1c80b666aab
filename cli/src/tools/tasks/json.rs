//! Python values as JSON, for arguments and results on the command line.
//!
//! Numbers, texts, lists, dicts with texts as keys, `true`, `false` and `null` are the same in both. What
//! JSON does not have is shown as an object with one key that begins with `$`, such as
//! `{"$bytes": "caf\\xe9"}`; it is never read.

use rzeo_objects::{PyValue, View};
use serde_json::{Map, Number, Value as Json, json};

/// Maximum depth of values that are shown. What is below is `"..."`.
const DEPTH_MAX: usize = 32;

/// Maximum number of values that are shown of one value.
const VALUES_MAX: usize = 100_000;

/// A value as JSON. Values that contain themselves end in `"..."`.
pub(super) fn to_json(value: &PyValue) -> Json {
    convert(value, DEPTH_MAX, &mut VALUES_MAX.clone())
}

fn convert(value: &PyValue, depth: usize, left: &mut usize) -> Json {
    let (Some(below), Some(rest)) = (depth.checked_sub(1), left.checked_sub(1)) else {
        return "...".into();
    };
    *left = rest;
    match value.view() {
        View::None => Json::Null,
        View::Bool(truth) => truth.into(),
        View::Int(int) => int.into(),
        View::BigInt(bytes) => json!({ "$int": hex(bytes) }),
        View::Float(float) => match Number::from_f64(float) {
            Some(number) => number.into(),
            None => json!({ "$float": float.to_string() }),
        },
        View::Bytes(bytes) => json!({ "$bytes": bytes.escape_ascii().to_string() }),
        View::Text(text) => text.into(),
        View::Tuple(items) | View::List(items) => {
            items.iter().map(|item| convert(item, below, left)).collect()
        }
        View::Dict(items) => dict(&items, below, left),
        View::Class(class) => json!({ "$class": class.to_string() }),
        View::Reference(reference) => json!({ "$reference": format!("{reference:?}") }),
        View::Object => json!({ "$object": format!("{value:?}") }),
    }
}

/// A dict whose keys are not all texts becomes a list of pairs.
fn dict(items: &[(PyValue, PyValue)], depth: usize, left: &mut usize) -> Json {
    let texts: Option<Map<String, Json>> = items
        .iter()
        .map(|(key, value)| Some((key.as_text()?.to_owned(), convert(value, depth, left))))
        .collect();
    if let Some(texts) = texts {
        return texts.into();
    }
    let mut pairs = Vec::new();
    for (key, value) in items {
        pairs.push(json!([convert(key, depth, left), convert(value, depth, left)]));
    }
    json!({ "$dict": pairs })
}

/// The digits of a large integer, most significant first, from its two's complement.
fn hex(little_endian: &[u8]) -> String {
    let digits = little_endian.iter().rev().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_json() {
        let bytes = PyValue::from(bytes::Bytes::from_static(b"a\xff"));
        let dict = |key: PyValue| PyValue::dict(vec![(key, 1.into())]);
        for (value, expected) in [
            (PyValue::NONE, "null"),
            (PyValue::tuple(vec![true.into(), 7.into(), 0.5.into()]), "[true,7,0.5]"),
            (PyValue::list(vec!["a".into()]), r#"["a"]"#),
            (PyValue::from(f64::NAN), r#"{"$float":"NaN"}"#),
            (bytes, r#"{"$bytes":"a\\xff"}"#),
            (dict("a".into()), r#"{"a":1}"#),
            (dict(2.into()), r#"{"$dict":[[2,1]]}"#),
            (PyValue::from(u64::MAX), r#"{"$int":"00ffffffffffffffff"}"#),
        ] {
            assert_eq!(to_json(&value).to_string(), expected);
        }
    }

    #[test]
    fn deep_values_end_in_dots() {
        let deep = (0..100).fold(PyValue::NONE, |inner, _| PyValue::list(vec![inner]));
        let shown = to_json(&deep).to_string();
        assert!(shown.contains("..."), "{shown}");
    }
}
