//! `<runner>`: what `zeoctl` reads in the file that it shares with the server.

use super::logs::LOG;
use crate::config::schema::{Accepts, Count, Key, SectionType, Slot};
use crate::config::types::Kind;

/// For `zeoctl`; checked here too, because a file serves both.
pub(super) static RUNNER: SectionType = SectionType::new(
    "runner",
    &[
        Key::required("program", Kind::TextList),
        Key::optional("python", Kind::ExistingPath),
        Key::optional("zdrun", Kind::ExistingPath),
        Key::with("socket-name", Kind::ParentDirPath, "zdsock"),
        Key::with("daemon", Kind::Boolean, "on"),
        Key::optional("directory", Kind::ParentDirectory),
        Key::with("backoff-limit", Kind::Integer, "10"),
        Key::with("forever", Kind::Boolean, "false"),
        Key::with("exit-codes", Kind::IntegerList, "0,2"),
        Key::optional("start-test-program", Kind::TextList),
        Key::with("start-timeout", Kind::Integer, "300"),
        Key::with("stop-timeout", Kind::Integer, "300"),
        Key::optional("user", Kind::Text),
        Key::with("umask", Kind::Octal, "022"),
        Key::with("hang-around", Kind::Boolean, "false"),
        Key::with("default-to-interactive", Kind::Boolean, "true"),
        Key::optional("logfile", Kind::DirPath),
        Key::optional("transcript", Kind::DirPath),
        Key::optional("prompt", Kind::Text),
    ],
    &[Slot { accepts: Accepts::Group(&LOG), count: Count::AtMostOne }],
);
