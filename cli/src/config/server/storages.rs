//! The storages of a server's file.

use std::path::PathBuf;

use super::PYTHON_PACKER;
use super::zeoclient::{self, ZEOCLIENT, ZeoClientConfig};
use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::schema::{Accepts, Count, Group, Key, SchemaError, SectionType, Slot};
use crate::config::system::System;
use crate::config::types::{InvalidValue, Kind};

/// A storage, and the name that clients know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageConfig {
    /// The name.
    pub(crate) name: String,
    /// The storage.
    pub(crate) kind: StorageKind,
}

/// How to open a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorageKind {
    /// `<blobstorage>`: blobs beside another storage.
    Blob {
        /// Where the blobs are.
        directory: PathBuf,
        /// Where the records are.
        base: Box<Self>,
    },
    /// `<demostorage>`: changes over a base that stays as it is.
    Demo {
        /// What it calls itself; made of the two names if it says nothing.
        name: Option<String>,
        /// What is below; an empty mapping storage if there is none.
        base: Option<Box<Self>>,
        /// Where changes go; a mapping storage with blobs in a temporary directory if there is none.
        changes: Option<Box<Self>>,
    },
    /// `<filestorage>`
    File(FileConfig),
    /// `<mappingstorage>`
    Mapping {
        /// What it calls itself.
        name: String,
    },
    /// `<zeoclient>`
    Zeo(Box<ZeoClientConfig>),
}

/// `<filestorage>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileConfig {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where blobs are, if there are any.
    pub(crate) blob_dir: Option<PathBuf>,
    /// Whether to begin with an empty file.
    pub(crate) create: bool,
    /// Whether to leave the file alone.
    pub(crate) read_only: bool,
    /// How many bytes the file may have.
    pub(crate) quota: Option<u64>,
    /// Whether packing removes what is not reachable.
    pub(crate) pack_gc: bool,
    /// Whether packing keeps the old file.
    pub(crate) pack_keep_old: bool,
}

impl FileConfig {
    /// A file with all settings as they are when a configuration says nothing.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path,
            blob_dir: None,
            create: false,
            read_only: false,
            quota: None,
            pack_gc: true,
            pack_keep_old: true,
        }
    }
}

impl StorageKind {
    /// Whether it keeps blobs.
    fn has_blobs(&self) -> bool {
        match self {
            Self::Blob { .. } => true,
            Self::Demo { changes, .. } => {
                changes.as_ref().is_none_or(|changes| changes.has_blobs())
            }
            Self::File(file) => file.blob_dir.is_some(),
            Self::Mapping { .. } => false,
            Self::Zeo(client) => client.blob_dir.is_some(),
        }
    }

    /// What Python's server calls it in its log.
    pub(crate) fn class_name(&self) -> &'static str {
        match self {
            Self::Blob { .. } => "BlobStorage",
            Self::Demo { .. } => "DemoStorage",
            Self::File(_) => "FileStorage",
            Self::Mapping { .. } => "MappingStorage",
            Self::Zeo(_) => "ZEOClient",
        }
    }
}

const BERKELEY: &str = "BerkeleyDB storages are not supported, nor are they by Python's server; \
                        copy the database into a <filestorage>";
pub(super) static STORAGE: Group = Group {
    name: "zodb.storage",
    members: &[
        "filestorage",
        "mappingstorage",
        "blobstorage",
        "demostorage",
        "zeoclient",
        "fullstorage",
        "minimalstorage",
    ],
};

pub(super) static TYPES: [&SectionType; 7] = [
    &FILESTORAGE,
    &MAPPINGSTORAGE,
    &BLOBSTORAGE,
    &DEMOSTORAGE,
    &ZEOCLIENT,
    &FULLSTORAGE,
    &MINIMALSTORAGE,
];

static FILESTORAGE: SectionType = SectionType::new(
    "filestorage",
    &[
        Key::required("path", Kind::DirPath),
        Key::optional("blob-dir", Kind::DirPath),
        Key::optional("create", Kind::Boolean),
        Key::optional("read-only", Kind::Boolean),
        Key::optional("quota", Kind::ByteSize),
        Key::optional("packer", Kind::Refused(PYTHON_PACKER)),
        Key::with("pack-gc", Kind::Boolean, "true"),
        Key::with("pack-keep-old", Kind::Boolean, "true"),
    ],
    &[],
);

static MAPPINGSTORAGE: SectionType =
    SectionType::new("mappingstorage", &[Key::with("name", Kind::Text, "Mapping Storage")], &[]);

static BLOBSTORAGE: SectionType = SectionType::new(
    "blobstorage",
    &[Key::required("blob-dir", Kind::Text)],
    &[Slot { accepts: Accepts::Group(&STORAGE), count: Count::One }],
)
.checked(check_blobs);

static DEMOSTORAGE: SectionType = SectionType::new(
    "demostorage",
    &[Key::optional("name", Kind::Text)],
    &[Slot { accepts: Accepts::Group(&STORAGE), count: Count::Any }],
)
.checked(check_demo);

static FULLSTORAGE: SectionType =
    SectionType::new("fullstorage", BERKELEY_KEYS, &[]).refused(BERKELEY);
static MINIMALSTORAGE: SectionType =
    SectionType::new("minimalstorage", BERKELEY_KEYS, &[]).refused(BERKELEY);

const BERKELEY_KEYS: &[Key] = &[
    Key::required("envdir", Kind::Text),
    Key::with("interval", Kind::TimeInterval, "2m"),
    Key::with("kbyte", Kind::Integer, "0"),
    Key::with("min", Kind::Integer, "0"),
    Key::optional("logdir", Kind::Text),
    Key::with("cachesize", Kind::ByteSize, "128MB"),
    Key::with("frequency", Kind::TimeInterval, "0"),
    Key::with("packtime", Kind::TimeInterval, "4h"),
    Key::with("gcpack", Kind::Integer, "0"),
    Key::with("read-only", Kind::Boolean, "off"),
];

/// Everything that is served, under names of their own.
pub(super) fn storages(
    top: &Section,
    system: &dyn System,
) -> Result<Vec<StorageConfig>, ConfigError> {
    let sections: Vec<&Section> = inner(top).collect();
    let unnamed = sections.iter().filter(|section| section.name.is_none()).count();
    if unnamed > 1 {
        return Err(ConfigError::Schema { error: SchemaError::UnnamedTwice, place: None });
    }
    if unnamed == 1 && sections.iter().any(|section| section.name.as_deref() == Some("1")) {
        return Err(ConfigError::Schema { error: SchemaError::UnnamedAndOne, place: None });
    }
    let storage = |section: &&Section| StorageConfig {
        name: section.name.clone().unwrap_or_else(|| "1".to_owned()),
        kind: kind(section, system),
    };
    Ok(sections.iter().map(storage).collect())
}

fn inner(section: &Section) -> impl Iterator<Item = &Section> {
    section.sections.iter().filter(|inner| STORAGE.members.contains(&inner.section_type.name))
}

fn kind(section: &Section, system: &dyn System) -> StorageKind {
    match section.section_type.name {
        "filestorage" => StorageKind::File(FileConfig {
            path: section.required("path"),
            blob_dir: section.value("blob-dir"),
            create: section.value("create").unwrap_or(false),
            read_only: section.value("read-only").unwrap_or(false),
            quota: section.value("quota"),
            pack_gc: section.required("pack-gc"),
            pack_keep_old: section.required("pack-keep-old"),
        }),
        "mappingstorage" => StorageKind::Mapping { name: section.required("name") },
        "blobstorage" => {
            let base = inner(section).next();
            let directory: String = section.required("blob-dir");
            StorageKind::Blob {
                directory: directory.into(),
                base: Box::new(kind(
                    base.expect("the reader wants a storage in <blobstorage>"),
                    system,
                )),
            }
        }
        "demostorage" => {
            let boxed = |section| Box::new(kind(section, system));
            StorageKind::Demo {
                name: section.value("name"),
                base: bases(section).next().map(boxed),
                changes: inner(section).find(|inner| is_changes(inner)).map(boxed),
            }
        }
        "zeoclient" => StorageKind::Zeo(Box::new(zeoclient::of(section, system))),
        other => unreachable!("the reader refuses <{other}>"),
    }
}

fn is_changes(section: &Section) -> bool {
    section.name.as_deref() == Some("changes")
}

fn bases(section: &Section) -> impl Iterator<Item = &Section> {
    inner(section).filter(|inner| !is_changes(inner))
}

/// Others change what is behind a `<zeoclient>`, and no storage over it would know.
fn check_proxies(section: &Section) -> Result<(), ConfigError> {
    let proxy = inner(section).find(|inner| inner.section_type.name == ZEOCLIENT.name);
    proxy.map_or(Ok(()), |proxy| {
        Err(proxy.wrong_at_start(InvalidValue::ProxyWithin(section.section_type.name)))
    })
}

/// Blobs are kept once.
fn check_blobs(section: &Section, system: &dyn System) -> Result<(), ConfigError> {
    check_proxies(section)?;
    let base = inner(section).next().filter(|base| kind(base, system).has_blobs());
    base.map_or(Ok(()), |base| {
        Err(base.wrong_at_start(InvalidValue::BlobsTwice(base.section_type.name)))
    })
}

/// There is one base.
fn check_demo(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    check_proxies(section)?;
    bases(section).nth(1).map_or(Ok(()), |base| Err(base.wrong_at_start(InvalidValue::TwoBases)))
}
