//! Files as `file:` URLs, which is how ZConfig names them.

use std::path::Path;

/// `file:///dir/c.conf`, with what is special in a URL as `%20`.
pub(crate) fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/_.-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

/// The path in a text that may be a `file:` URL; `None` if it is the URL of something else.
pub(crate) fn file_path(text: &str) -> Option<&str> {
    let is_scheme_character = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match text.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            Some(rest.strip_prefix("//").unwrap_or(rest))
        }
        Some((scheme, _)) if !scheme.is_empty() && scheme.chars().all(is_scheme_character) => None,
        _ => Some(text),
    }
}

/// A text with `%20` as what it stands for; anything else after a `%` stays.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let byte = code
            .filter(|code| first == b'%' && code.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
