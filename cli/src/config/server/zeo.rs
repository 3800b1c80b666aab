//! `<zeo>` and the `<ssl>` in it.

use std::fmt;
use std::path::PathBuf;

use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::schema::{Accepts, Count, Key, SectionType, Slot};
use crate::config::system::System;
use crate::config::types::{InvalidValue, Kind};

/// The transactions that a server remembers unless told otherwise.
pub(crate) const INVALIDATION_QUEUE_SIZE: usize = 100;

/// The environment variable with the password of the server's key.
pub(crate) const KEY_PASSWORD_VARIABLE: &str = "RZEO_TLS_KEY_PASSWORD";

/// `<ssl>`: what is needed to talk with clients that show certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// The server's certificate, and those that lead to a root.
    pub(crate) certificate: PathBuf,
    /// The server's key; in the certificate's file if there is none.
    pub(crate) key: Option<PathBuf>,
    /// How to get the key's password; there is none if nothing says how.
    pub(crate) password: Option<KeyPassword>,
    /// A file or a directory with the clients' certificates; none to begin without any.
    pub(crate) authenticate: Option<PathBuf>,
}

/// How to get the password of a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum KeyPassword {
    /// A shell command that prints it.
    Command(String),
    /// The password itself, from [`KEY_PASSWORD_VARIABLE`].
    Given(String),
}

/// Without the password: this may end up in a log.
impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::Given(_) => f.write_str("Given(..)"),
        }
    }
}

pub(super) static ZEO: SectionType = SectionType::new(
    "zeo",
    &[
        Key::required("address", Kind::SocketBindingAddress),
        Key::with("read-only", Kind::Boolean, "false"),
        Key::with("invalidation-queue-size", Kind::Integer, "100"),
        Key::optional("invalidation-age", Kind::Float),
        Key::optional("transaction-timeout", Kind::Integer),
        Key::optional("pid-filename", Kind::DirPath),
        Key::with("client-conflict-resolution", Kind::Boolean, "false"),
        Key::optional("msgpack", Kind::Boolean),
    ],
    &[Slot { accepts: Accepts::Type(&SSL), count: Count::AtMostOne }],
);

pub(super) static SSL: SectionType = SectionType::new(
    "ssl",
    &[
        Key::required("certificate", Kind::DirPath),
        Key::optional("key", Kind::DirPath),
        Key::optional("password-function", Kind::Text),
        Key::required("authenticate", Kind::Text),
        Key::optional("password-command", Kind::Text),
    ],
    &[],
)
.checked(check_password);

/// TLS, if the server is to speak it.
pub(super) fn tls(zeo: &Section, system: &dyn System) -> Option<TlsConfig> {
    let section = zeo.sections.iter().find(|section| section.section_type.name == SSL.name)?;
    let authenticate: String = section.required("authenticate");
    let trusts_some = !authenticate.is_empty() && authenticate != "DYNAMIC";
    Some(TlsConfig {
        certificate: section.required("certificate"),
        key: section.value("key"),
        password: password(section, system),
        authenticate: trusts_some.then(|| authenticate.into()),
    })
}

/// How to get the password of a key, from the environment or by what a section says.
pub(super) fn password(section: &Section, system: &dyn System) -> Option<KeyPassword> {
    let given = system.variable(KEY_PASSWORD_VARIABLE).map(KeyPassword::Given);
    given.or_else(|| section.value("password-command").map(KeyPassword::Command))
}

/// A Python function is no way to a password, so there must be another one.
pub(super) fn check_password(section: &Section, system: &dyn System) -> Result<(), ConfigError> {
    let function: Option<String> = section.value("password-function");
    let command: Option<String> = section.value("password-command");
    let has_function = function.is_some_and(|function| !function.is_empty());
    if has_function && command.is_none() && system.variable(KEY_PASSWORD_VARIABLE).is_none() {
        let error = InvalidValue::PasswordFunction(KEY_PASSWORD_VARIABLE);
        return Err(section.wrong("password-function", error));
    }
    Ok(())
}
