//! `<zeo>` and the `<ssl>` in it.

use std::fmt;
use std::path::PathBuf;

use rzeo_host::Settings;
use rzeo_zconfig::{
    Accepts, ConfigError, Count, InvalidValue, Key, Kind, Section, SectionType, Slot, System,
};
use thiserror::Error;

/// The environment variable with the password of the server's key.
pub(crate) const KEY_PASSWORD_VARIABLE: &str = "RZEO_TLS_KEY_PASSWORD";

/// `<ssl>` in `<zeo>`: TLS with certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// The file with the server's certificate and those of intermediate authorities.
    pub(crate) certificate: PathBuf,
    /// The file with the server's key; `None` if the key is in the certificate's file.
    pub(crate) key: Option<PathBuf>,
    /// The source of the key's password; `None` if the key has no password.
    pub(crate) password: Option<KeyPassword>,
    /// The file or directory with trusted certificates; `None` to trust no client.
    pub(crate) authenticate: Option<PathBuf>,
}

/// The source of the password of a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum KeyPassword {
    /// A shell command that prints it.
    Command(String),
    /// The password itself, from [`KEY_PASSWORD_VARIABLE`].
    Given(String),
}

/// Without the password: this can end up in a log.
impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.debug_tuple("Command").field(command).finish(),
            Self::Given(_) => f.write_str("Given(..)"),
        }
    }
}

/// A Python function for the password of a key.
#[derive(Debug, Error)]
#[error(
    "Python code cannot be used by this server: set password-command to a command that prints \
     the password, or the environment variable {KEY_PASSWORD_VARIABLE} to the password itself"
)]
struct PasswordFunction;

/// `<zeo>`
pub(super) static ZEO: SectionType = SectionType::new(
    "zeo",
    &[
        Key::required("address", Kind::SocketBindingAddress),
        Key::with_default("read-only", Kind::Boolean, "false"),
        Key::with_computed_default(
            "invalidation-queue-size",
            Kind::Count { min: 0, max: u32::MAX },
            || Settings::default().invalidation_queue_size.to_string(),
        ),
        Key::optional("invalidation-age", Kind::NonNegativeFloat),
        Key::optional("transaction-timeout", Kind::Count { min: 1, max: u32::MAX }),
        Key::optional("pid-filename", Kind::DirPath),
        Key::with_default("client-conflict-resolution", Kind::Boolean, "false"),
        Key::optional("msgpack", Kind::Boolean),
    ],
    &[Slot { accepts: Accepts::Type(&SSL), count: Count::AtMostOne }],
);

/// `<ssl>` in `<zeo>`
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

/// The settings of TLS, if `<zeo>` has the section.
pub(super) fn tls(zeo: &Section, system: &dyn System) -> Option<TlsConfig> {
    let section = zeo.section(SSL.name)?;
    let authenticate: String = section.required("authenticate");
    let trusts_some = !authenticate.is_empty() && authenticate != "DYNAMIC";
    Some(TlsConfig {
        certificate: section.required("certificate"),
        key: section.value("key"),
        password: password(section, system),
        authenticate: trusts_some.then(|| authenticate.into()),
    })
}

/// The source of the password of a key: the environment, then the section.
pub(super) fn password(section: &Section, system: &dyn System) -> Option<KeyPassword> {
    let given = system.variable(KEY_PASSWORD_VARIABLE).map(KeyPassword::Given);
    given.or_else(|| section.value("password-command").map(KeyPassword::Command))
}

/// Refuses a Python function for the password, unless there is another source.
pub(super) fn check_password(section: &Section, system: &dyn System) -> Result<(), ConfigError> {
    let function: Option<String> = section.value("password-function");
    let command: Option<String> = section.value("password-command");
    let has_function = function.is_some_and(|function| !function.is_empty());
    if has_function && command.is_none() && system.variable(KEY_PASSWORD_VARIABLE).is_none() {
        return Err(section.wrong("password-function", InvalidValue::custom(PasswordFunction)));
    }
    Ok(())
}
