//! Whole configurations: what is read from valid files, and the messages for invalid ones.
//!
//! The messages were compared with those of Python's ZConfig.

mod directives;
mod sections;

use std::path::Path;

use crate::{
    Accepts, ConfigError, Count, Group, InvalidValue, Key, Kind, MemorySystem, Schema, Section,
    SectionType, Slot, System,
};

/// A server for web pages, with handlers that can be within one another.
static SCHEMA: Schema = Schema {
    groups: &[&HANDLER],
    packages: &["known.package"],
    refused_packages: &[("refused.package", "that package is refused")],
    foreign_types: &[("slides", "convert them to <pages>")],
    ..Schema::new(&TOP, &[&[&WEB, &PAGES, &CACHE, &OLD, &OPTIONS]])
};

static TOP: SectionType = SectionType::new(
    "",
    &[],
    &[
        Slot { accepts: Accepts::Type(&WEB), count: Count::One },
        Slot { accepts: Accepts::Group(&HANDLER), count: Count::AtLeastOne },
        Slot { accepts: Accepts::Type(&OPTIONS), count: Count::AtMostOne },
    ],
);

static HANDLER: Group = Group { name: "web.handler", members: &["pages", "cache", "old"] };

static WEB: SectionType = SectionType::new(
    "web",
    &[
        Key::required("listen", Kind::SocketBindingAddress),
        Key::with_default("compress", Kind::Boolean, "no"),
        Key::optional("port-file", Kind::DirPath),
    ],
    &[Slot { accepts: Accepts::Type(&SECURE), count: Count::AtMostOne }],
);

static SECURE: SectionType =
    SectionType::new("secure", &[Key::required("certificate", Kind::Text)], &[]);

static PAGES: SectionType = SectionType::new(
    "pages",
    &[
        Key::with_default("title", Kind::Text, "Pages"),
        Key::with_computed_default("limit", Kind::Count { min: 1, max: 9 }, || 7.to_string()),
    ],
    &[],
);

static CACHE: SectionType = SectionType::new(
    "cache",
    &[Key::repeated("path", Kind::Text)],
    &[Slot { accepts: Accepts::Group(&HANDLER), count: Count::One }],
)
.checked(check_cache);

static OLD: SectionType =
    SectionType::new("old", &[Key::required("path", Kind::Text)], &[]).refused("use <pages>");

static OPTIONS: SectionType = SectionType::new(
    "options",
    &[Key::optional("code", Kind::Refused("code is not supported"))],
    &[],
);

fn check_cache(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    match section.section("pages") {
        Some(pages) if pages.name.as_deref() == Some("never") => {
            Err(pages.wrong_at_start(InvalidValue::custom("this is never cached")))
        }
        _ if section.values::<String>("path").len() > 2 => {
            Err(section.wrong("path", InvalidValue::custom("at most two paths")))
        }
        _ => Ok(()),
    }
}

const SERVER: &str = "<web>\nlisten 8080\n</web>\n";
const HANDLERS: &str = "<pages/>\n";

fn read_with(system: &MemorySystem, overrides: &[&str]) -> Result<Section, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|one| (*one).to_owned()).collect();
    SCHEMA.read(system, Path::new("c.conf"), &overrides)
}

fn read_files(files: &[(&str, &str)]) -> Result<Section, ConfigError> {
    read_with(&MemorySystem::with(files), &[])
}

fn read(text: &str) -> Result<Section, ConfigError> {
    read_files(&[("/dir/c.conf", text)])
}

/// The message for an invalid file, without the file's directory.
fn message(text: &str) -> String {
    read(text).unwrap_err().to_string().replace("file:///dir/c.conf", "c.conf")
}

/// The message for lines after a complete configuration, where they start at 5.
fn message_after(lines: &str) -> String {
    message(&format!("{SERVER}{HANDLERS}{lines}"))
}

/// The message for a line in `<web>`, where it is the third.
fn message_in_web(line: &str) -> String {
    message(&format!("<web>\nlisten 8080\n{line}\n</web>\n{HANDLERS}"))
}
