//! Log files: appending, reopening, and rotation by size or by time.
//!
//! Names of rotated files, and which of them are removed, are as in Python: `log.1`, `log.2` and so on by
//! size, `log.2026-11-24` by time. When a file cannot be renamed, Python loses a record; here records
//! are still written to the same file, and the failure is reported.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::encoding::Encoding;
use crate::rollover::Schedule;

/// A file that log records are appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Path of the file. Rotated files are beside it, with a suffix.
    pub path: PathBuf,
    /// Whether the file is opened when the first record is written.
    pub delay: bool,
    /// Encoding of new records; ones that are already in the file stay.
    pub encoding: Encoding,
    /// When it is rotated.
    pub rotation: Rotation,
}

/// When a log file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Never; another program can rename it before [`Log::reopen`](crate::Log::reopen).
    None,
    /// When a record would make it reach a size.
    Size {
        /// The size in bytes.
        max: u64,
        /// Maximum number of old files. Older ones are removed.
        old_files: u32,
    },
    /// At regular times.
    Time {
        /// How often, and at which time of the day.
        schedule: Schedule,
        /// Maximum number of old files. Older ones are removed.
        old_files: u32,
    },
}

impl FileSettings {
    /// A file without rotation, in UTF-8.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (delay, encoding, rotation) = (false, Encoding::Utf8, Rotation::None);
        Self { path: path.into(), delay, encoding, rotation }
    }
}

/// An open log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    settings: FileSettings,
    zone: TimeZone,
    /// `None` before the first record of a delayed file.
    file: Option<File>,
    /// The time of the next rotation, in seconds since 1970.
    end: i64,
}

impl LogFile {
    /// Opens a log file, unless that is delayed.
    pub(crate) fn open(settings: FileSettings, zone: TimeZone, now: Timestamp) -> io::Result<Self> {
        let file = if settings.delay { None } else { Some(append_to(&settings.path)?) };
        let mut log = Self { settings, zone, file, end: i64::MAX };
        if let Rotation::Time { schedule, .. } = log.settings.rotation {
            let last = modified(&log.settings.path).unwrap_or_else(|| now.as_second());
            log.end = schedule.end_of(last, &log.zone);
        }
        Ok(log)
    }

    /// Writes a record with one system call, so that lines of several processes do not mix.
    pub(crate) fn write(&mut self, text: &str, now: Timestamp) -> io::Result<()> {
        let rolled = if self.is_due(text, now) { self.roll_over(now) } else { Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(append_to(&self.settings.path)?),
        };
        file.write_all(&self.settings.encoding.encode(text))?;
        rolled
    }

    /// Reopens a plain file, rotates the others. When that fails, records are still written to the old
    /// file.
    pub(crate) fn reopen(&mut self, now: Timestamp) -> io::Result<()> {
        match self.settings.rotation {
            Rotation::None => {
                let wanted = !self.settings.delay;
                self.file = if wanted { Some(append_to(&self.settings.path)?) } else { None };
                Ok(())
            }
            Rotation::Size { .. } | Rotation::Time { .. } => self.roll_over(now),
        }
    }

    fn is_due(&mut self, text: &str, now: Timestamp) -> bool {
        let path = &self.settings.path;
        let is_other = fs::metadata(path).is_ok_and(|found| !found.is_file());
        match self.settings.rotation {
            Rotation::None => false,
            Rotation::Size { max, .. } => {
                let size = match &self.file {
                    Some(file) => file.metadata(),
                    None => fs::metadata(path),
                };
                let size = size.map_or(0, |found| found.len());
                // Python counts characters. Rotating an empty file would be useless.
                let more = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
                !is_other && size > 0 && size.saturating_add(more) >= max
            }
            Rotation::Time { schedule, .. } if now.as_second() >= self.end => {
                if is_other {
                    self.end = schedule.end_of(now.as_second(), &self.zone);
                }
                !is_other
            }
            Rotation::Time { .. } => false,
        }
    }

    /// Renames the file, removes old ones, and opens a new one.
    fn roll_over(&mut self, now: Timestamp) -> io::Result<()> {
        let renamed = match self.settings.rotation {
            Rotation::None => Ok(()),
            Rotation::Size { old_files, .. } => self.number_old_files(old_files),
            Rotation::Time { schedule, old_files } => {
                let now = now.as_second();
                let stamp = schedule.stamp(self.end, now, &self.zone);
                self.end = schedule.end_after(now, &self.zone);
                let renamed = replace(&self.settings.path, &self.with_suffix(&stamp));
                renamed.and_then(|()| self.remove_old_files(schedule, old_files))
            }
        };
        if self.settings.delay {
            self.file = None;
        } else {
            self.file = Some(append_to(&self.settings.path)?);
        }
        renamed
    }

    fn number_old_files(&self, old_files: u32) -> io::Result<()> {
        let numbered = |number: u32| self.with_suffix(&number.to_string());
        for number in (1..old_files).rev() {
            replace(&numbered(number), &numbered(number + 1))?;
        }
        replace(&self.settings.path, &numbered(1))
    }

    fn remove_old_files(&self, schedule: Schedule, old_files: u32) -> io::Result<()> {
        let Some(name) = self.settings.path.file_name().and_then(|name| name.to_str()) else {
            return Ok(());
        };
        let directory = match self.settings.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut old = Vec::new();
        for entry in fs::read_dir(directory)? {
            let found = entry?.file_name();
            // Python also removes `log2.2026-11-24` as an old `log`.
            let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.'));
            if rest.unwrap_or("").split('.').any(|part| schedule.is_stamp(part)) {
                old.push(directory.join(found));
            }
        }
        old.sort();
        let kept = usize::try_from(old_files).unwrap_or(usize::MAX);
        let removed = old.len().saturating_sub(kept);
        old[..removed].iter().try_for_each(fs::remove_file)
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = self.settings.path.as_os_str().to_owned();
        path.push(".");
        path.push(suffix);
        path.into()
    }
}

/// Renames a file, replacing another one. A file that does not exist is not an error.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn modified(path: &Path) -> Option<i64> {
    let time = fs::metadata(path).ok()?.modified().ok()?;
    Some(Timestamp::try_from(time).ok()?.as_second())
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollover::When;

    /// A log `l` in a directory of its own.
    struct Fixture {
        directory: tempfile::TempDir,
        log: LogFile,
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn settings(path: PathBuf, rotation: Rotation) -> FileSettings {
        FileSettings { rotation, ..FileSettings::new(path) }
    }

    impl Fixture {
        fn new(rotation: Rotation, delay: bool) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let settings = FileSettings { delay, ..settings(directory.path().join("l"), rotation) };
            let log = LogFile::open(settings, TimeZone::UTC, at(0)).unwrap();
            Self { directory, log }
        }

        fn write(&mut self, texts: &[&str]) {
            for text in texts {
                self.log.write(text, at(0)).unwrap();
            }
        }

        /// All files, with their contents.
        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<_> = fs::read_dir(self.directory.path())
                .unwrap()
                .map(|entry| {
                    let path = entry.unwrap().path();
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, fs::read_to_string(path).unwrap())
                })
                .collect();
            files.sort();
            files
        }

        fn assert_files(&self, expected: &[(&str, &str)]) {
            let files = self.files();
            let files: Vec<(&str, &str)> =
                files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            assert_eq!(files, expected);
        }
    }

    /// Python's handler left the same files after the same records.
    #[test]
    fn by_size() {
        let mut fixture = Fixture::new(Rotation::Size { max: 8, old_files: 2 }, false);
        fixture.write(&["1234\n", "ab\n"]);
        fixture.assert_files(&[("l", "ab\n"), ("l.1", "1234\n")]);
        fixture.write(&["cdé\n"]);
        fixture.assert_files(&[("l", "ab\ncdé\n"), ("l.1", "1234\n")]);
        fixture.write(&["5\n", "too long\n", "6\n"]);
        fixture.assert_files(&[("l", "6\n"), ("l.1", "too long\n"), ("l.2", "5\n")]);
        fixture.log.reopen(at(0)).unwrap();
        fixture.assert_files(&[("l", ""), ("l.1", "6\n"), ("l.2", "too long\n")]);
    }

    #[test]
    fn by_time() {
        let day = 24 * 3600;
        let schedule = Schedule { when: When::Midnight, interval: 1 };
        let mut fixture = Fixture::new(Rotation::Time { schedule, old_files: 2 }, false);
        for name in ["l.1970-01-01.gz", "l.other", "l2.1970-01-01", "other"] {
            fs::write(fixture.directory.path().join(name), "").unwrap();
        }
        // The file is new, so its rotation is in the future.
        fixture.log.end = 3 * day;
        for time in [0, 3 * day, 3 * day + 5, 10 * day] {
            fixture.log.write(&format!("{time}\n"), at(time)).unwrap();
        }
        assert_eq!(fixture.log.end, 11 * day);
        fixture.assert_files(&[
            ("l", "864000\n"),
            ("l.1970-01-03", "0\n"),
            ("l.1970-01-04", "259200\n259205\n"),
            ("l.other", ""),
            ("l2.1970-01-01", ""),
            ("other", ""),
        ]);
        fixture.log.reopen(at(10 * day + 1)).unwrap();
        fixture.assert_files(&[
            ("l", ""),
            ("l.1970-01-04", "259200\n259205\n"),
            ("l.1970-01-11", "864000\n"),
            ("l.other", ""),
            ("l2.1970-01-01", ""),
            ("other", ""),
        ]);
    }

    #[test]
    fn an_existing_file_is_rotated_by_its_age() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l");
        fs::write(&path, "old\n").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(100)).unwrap();
        let schedule = Schedule { when: When::Hours, interval: 2 };
        let settings = settings(path, Rotation::Time { schedule, old_files: 1 });
        let log = LogFile::open(settings, TimeZone::UTC, at(10_000)).unwrap();
        assert_eq!(log.end, 7300);
    }

    #[test]
    fn a_reopened_file_is_a_new_one() {
        let mut fixture = Fixture::new(Rotation::None, false);
        fixture.write(&["1\n"]);
        let path = fixture.directory.path().join("l");
        fs::rename(&path, path.with_file_name("o")).unwrap();
        fixture.write(&["2\n"]);
        fixture.log.reopen(at(0)).unwrap();
        fixture.write(&["3\n"]);
        fixture.assert_files(&[("l", "3\n"), ("o", "1\n2\n")]);
    }

    #[test]
    fn a_delayed_file_appears_with_its_first_record() {
        for rotation in [Rotation::None, Rotation::Size { max: 100, old_files: 1 }] {
            let mut fixture = Fixture::new(rotation, true);
            fixture.log.reopen(at(0)).unwrap();
            fixture.assert_files(&[]);
            fixture.write(&["1\n"]);
            fixture.assert_files(&[("l", "1\n")]);
        }
    }

    #[test]
    fn a_file_that_cannot_be_reopened_is_kept() {
        for rotation in [Rotation::None, Rotation::Size { max: 8, old_files: 1 }] {
            let directory = tempfile::tempdir().unwrap();
            let (inner, moved) = (directory.path().join("d"), directory.path().join("e"));
            fs::create_dir(&inner).unwrap();
            let settings = settings(inner.join("l"), rotation);
            let mut log = LogFile::open(settings, TimeZone::UTC, at(0)).unwrap();
            fs::rename(&inner, &moved).unwrap();
            assert!(log.reopen(at(0)).is_err());
            log.write("still here\n", at(0)).unwrap();
            assert_eq!(fs::read_to_string(moved.join("l")).unwrap(), "still here\n");
        }
    }

    #[test]
    fn devices_are_never_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("l");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let rotation = Rotation::Size { max: 1, old_files: 1 };
        let mut log =
            LogFile::open(settings(link.clone(), rotation), TimeZone::UTC, at(0)).unwrap();
        log.write("gone\n", at(0)).unwrap();
        log.write("gone\n", at(0)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(!directory.path().join("l.1").exists());
    }
}
