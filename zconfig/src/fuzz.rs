//! The body of a fuzzer of configuration files, for a program with a schema of its own.

use std::io;
use std::path::{Path, PathBuf};

use crate::system::System;

/// Between two parts of an input.
const MARK: [u8; 2] = [0xfe, 0xed];
/// Maximum bytes of an error message, which can repeat some of the file.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Reads a configuration with overrides: what it means as text, or an error message.
pub type Read = fn(&dyn System, path: &str, overrides: &[String]) -> Result<String, String>;

/// Reads a configuration out of an input of the fuzzer. Whatever the input, it is accepted or refused with
/// a message. Line ends make no difference, nor does a comment at the end.
///
/// The first part is the file, the next ones are files that it can include by the names `1`, `2` and so
/// on; a part that begins with `-X` is an override.
///
/// # Panics
/// If one of these promises is broken.
pub fn check(input: &[u8], read: Read) {
    let (overrides, files): (Vec<_>, Vec<_>) =
        parts(input).into_iter().partition(|part| part.starts_with(b"-X"));
    let text = |part: &[u8]| String::from_utf8(part[2..].to_vec()).ok();
    let overrides: Vec<String> = overrides.into_iter().filter_map(text).collect();
    let files = Files(files.into_iter().map(<[u8]>::to_vec).collect());
    let read = |files: &Files| read(files, "/dir/c.conf", &overrides);

    let meaning = read(&files);
    if let Err(message) = &meaning {
        assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{message}");
    }
    let with_returns = files.map(|text| text.replace("\r", "").replace('\n', "\r\n"));
    let without = files.map(|text| text.replace('\r', ""));
    assert_eq!(read(&with_returns), read(&without), "line ends make a difference");
    // Errors name lines, so comments can follow the file but not stand within.
    let commented = files.map(|text| {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}# a comment <zeo>")
    });
    match &meaning {
        Ok(_) => assert_eq!(read(&commented), meaning, "a comment makes a difference"),
        Err(_) => assert!(read(&commented).is_err(), "a comment makes an invalid file valid"),
    }
}

/// Files in memory, in the directory `/dir`: `c.conf`, `1`, `2`, …
struct Files(Vec<Vec<u8>>);

impl Files {
    /// The same files with changed text; bytes that are not text stay as they are.
    fn map(&self, change: impl Fn(&str) -> String) -> Self {
        let change = |bytes: &Vec<u8>| {
            std::str::from_utf8(bytes).map_or_else(|_| bytes.clone(), |it| change(it).into_bytes())
        };
        Self(self.0.iter().map(change).collect())
    }

    fn number(path: &Path) -> Option<usize> {
        let name = path.strip_prefix("/dir").ok()?.to_str()?;
        if name == "c.conf" { Some(0) } else { name.parse().ok().filter(|number| *number > 0) }
    }
}
impl System for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = Self::number(path).and_then(|number| self.0.get(number));
        file.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/dir".to_owned())
    }

    fn is_directory(&self, path: &Path) -> bool {
        path == Path::new("/") || path == Path::new("/dir")
    }

    fn exists(&self, path: &Path) -> bool {
        self.is_directory(path) || System::read(self, path).is_ok()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        Path::new("/dir").join(path)
    }
}

fn parts(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(MARK.len()).position(|two| two == MARK) {
        parts.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
