//! What the fuzzer calls: configuration files of anything.
//!
//! Whatever the files say, they are a configuration or there is a reason, which names a place in them. How
//! lines end makes no difference, nor does a comment at the end.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::System;
use crate::tools::config::explain;

/// What stands between two parts of an input (as in `rzeo_fixtures::fuzz`).
const MARK: [u8; 2] = [0xfe, 0xed];
/// The reason why a configuration is none may repeat some of it.
const REASON_BYTES_MAX: usize = 64 * 1024;

/// Reads a configuration: the first part is the file, the next ones are files that it may include by the
/// names `1`, `2` and so on, and one that begins with `-X` is an option.
///
/// # Panics
/// If it is read otherwise where it should not be.
pub fn zconfig(input: &[u8]) {
    let (options, files): (Vec<_>, Vec<_>) =
        parts(input).into_iter().partition(|part| part.starts_with(b"-X"));
    let option = |part: &[u8]| String::from_utf8(part[2..].to_vec()).ok();
    let options: Vec<String> = options.into_iter().filter_map(option).collect();
    let files = Files(files.into_iter().map(<[u8]>::to_vec).collect());
    let read = files.explained(&options);
    if let Err(reason) = &read {
        assert!(!reason.is_empty() && reason.len() <= REASON_BYTES_MAX, "{reason}");
    }
    let with_returns = files.map(|text| text.replace("\r", "").replace('\n', "\r\n"));
    let without = files.map(|text| text.replace('\r', ""));
    assert_eq!(
        with_returns.explained(&options),
        without.explained(&options),
        "it matters how lines end"
    );
    // The places of errors are those of lines, so comments may follow but not stand between.
    let commented = files.map(|text| {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}# a comment <zeo>")
    });
    if let Ok(text) = &read {
        assert_eq!(
            commented.explained(&options).as_ref(),
            Ok(text),
            "a comment makes a difference"
        );
    } else {
        assert!(commented.explained(&options).is_err(), "a comment makes a configuration of it");
    }
}

/// Files in memory, in the directory `/dir`: `c.conf`, `1`, `2`, …
struct Files(Vec<Vec<u8>>);

impl Files {
    fn explained(&self, options: &[String]) -> Result<String, String> {
        explain("/dir/c.conf", options, self).map_err(|error| error.to_string())
    }

    /// The same files with other text; what is no text stays as it is.
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
