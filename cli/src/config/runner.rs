//! `<runner>`: settings of `zeoctl`, which reads the same file.

use rzeo_eventlog::sections::LOG;
use rzeo_zconfig::{Accepts, Count, Key, Kind, SectionType, Slot};

/// The settings are checked and have no effect here.
pub(super) static RUNNER: SectionType = SectionType::new(
    "runner",
    &[
        Key::required("program", Kind::TextList),
        Key::optional("python", Kind::ExistingPath),
        Key::optional("zdrun", Kind::ExistingPath),
        Key::with_default("socket-name", Kind::ParentDirPath, "zdsock"),
        Key::with_default("daemon", Kind::Boolean, "on"),
        Key::optional("directory", Kind::ParentDirectory),
        Key::with_default("backoff-limit", Kind::Integer, "10"),
        Key::with_default("forever", Kind::Boolean, "false"),
        Key::with_default("exit-codes", Kind::IntegerList, "0,2"),
        Key::optional("start-test-program", Kind::TextList),
        Key::with_default("start-timeout", Kind::Integer, "300"),
        Key::with_default("stop-timeout", Kind::Integer, "300"),
        Key::optional("user", Kind::Text),
        Key::with_default("umask", Kind::Octal, "022"),
        Key::with_default("hang-around", Kind::Boolean, "false"),
        Key::with_default("default-to-interactive", Kind::Boolean, "true"),
        Key::optional("logfile", Kind::DirPath),
        Key::optional("transcript", Kind::DirPath),
        Key::optional("prompt", Kind::Text),
    ],
    &[Slot { accepts: Accepts::Group(&LOG), count: Count::AtMostOne }],
);
