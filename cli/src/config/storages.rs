//! The storages of a server's file.

use std::path::PathBuf;

use rzeo_zconfig::{
    Accepts, ConfigError, Count, Group, InvalidValue, Key, Kind, Section, SectionType, Slot, System,
};
use thiserror::Error;

use super::zeoclient::{self, ZEOCLIENT, ZeoClientConfig};

/// Why storages cannot be used together.
#[derive(Debug, Error)]
enum StorageError {
    /// A blob storage over a storage with blobs.
    #[error("<{0}> in <blobstorage> already has blobs of its own")]
    BlobsTwice(&'static str),
    /// A storage over the client of another server.
    #[error(
        "<zeoclient> in <{0}>: the storage of another server, which others change, can only be served \
         as it is"
    )]
    ProxyWithin(&'static str),
    /// A demo storage with two bases.
    #[error("Too many base storages defined!")]
    TwoBases,
    /// `<filestorage>` and `<filestorage 1>` would both be served as `1`.
    #[error("Can't have an unnamed storage and a storage named 1.")]
    UnnamedAndOne,
    /// Several storages would be served as `1`.
    #[error("No more than one storage may be unnamed.")]
    UnnamedTwice,
}

/// A storage, and the name under which it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageConfig {
    /// The name in clients' requests.
    pub(crate) name: String,
    /// How to open it.
    pub(crate) kind: StorageKind,
}

/// How to open a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorageKind {
    /// `<blobstorage>`: blobs beside another storage.
    Blob {
        /// The directory of blobs.
        directory: PathBuf,
        /// The storage of records.
        base: Box<Self>,
    },
    /// `<demostorage>`: changes over a base that stays as it is.
    Demo {
        /// Its name; `None` for one made of the names of the two storages.
        name: Option<String>,
        /// The base; `None` for an empty mapping storage.
        base: Option<Box<Self>>,
        /// The storage of changes; `None` for a mapping storage with blobs in a temporary directory.
        changes: Option<Box<Self>>,
    },
    /// `<filestorage>`
    File(FileConfig),
    /// `<mappingstorage>`
    Mapping { name: String },
    /// `<zeoclient>`
    Zeo(Box<ZeoClientConfig>),
}

/// `<filestorage>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileConfig {
    pub(crate) path: PathBuf,
    /// The directory of blobs; `None` for a storage without blobs.
    pub(crate) blob_dir: Option<PathBuf>,
    /// Whether to empty the file at start.
    pub(crate) create: bool,
    /// Whether the storage is read-only.
    pub(crate) read_only: bool,
    /// Maximum bytes of the file.
    pub(crate) quota: Option<u64>,
    /// Whether packing removes objects that nothing refers to.
    pub(crate) pack_gc: bool,
    /// Whether packing keeps the old file as `.old`.
    pub(crate) pack_keep_old: bool,
}

impl FileConfig {
    /// A file with the default of every other setting.
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

    /// The name of the class in the log of Python's server.
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
/// Advice for storages that other Python packages add to ZODB.
pub(super) const BEFORESTORAGE: &str = "views of the past are not served; copy the database with rzeo copy \
                                        into another <filestorage>, or serve <demostorage> over it";
pub(super) const RELSTORAGE: &str = "SQL databases are not served; convert the database with zodbconvert and \
                                     serve the file with <filestorage>";
pub(super) const ZLIBSTORAGE: &str = "compressed records are not supported; copy the database with Python into \
                                      a <filestorage> without <zlibstorage>";
const PYTHON_PACKER: &str = "Python code cannot be used by this server: leave the key out, and its own \
                             packer packs";

/// The sections that can stand where a storage is required.
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
        Key::with_default("pack-gc", Kind::Boolean, "true"),
        Key::with_default("pack-keep-old", Kind::Boolean, "true"),
    ],
    &[],
);

static MAPPINGSTORAGE: SectionType = SectionType::new(
    "mappingstorage",
    &[Key::with_default("name", Kind::Text, "Mapping Storage")],
    &[],
);

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
    Key::with_default("interval", Kind::TimeInterval, "2m"),
    Key::with_default("kbyte", Kind::Integer, "0"),
    Key::with_default("min", Kind::Integer, "0"),
    Key::optional("logdir", Kind::Text),
    Key::with_default("cachesize", Kind::ByteSize, "128MB"),
    Key::with_default("frequency", Kind::TimeInterval, "0"),
    Key::with_default("packtime", Kind::TimeInterval, "4h"),
    Key::with_default("gcpack", Kind::Integer, "0"),
    Key::with_default("read-only", Kind::Boolean, "off"),
];

/// All storages at top level, under distinct names.
pub(super) fn storages(
    top: &Section,
    system: &dyn System,
) -> Result<Vec<StorageConfig>, ConfigError> {
    let sections: Vec<&Section> = inner(top).collect();
    let unnamed = sections.iter().filter(|section| section.name.is_none()).count();
    if unnamed > 1 {
        return Err(top.wrong_at_start(InvalidValue::custom(StorageError::UnnamedTwice)));
    }
    if unnamed == 1 && sections.iter().any(|section| section.name.as_deref() == Some("1")) {
        return Err(top.wrong_at_start(InvalidValue::custom(StorageError::UnnamedAndOne)));
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
                    base.expect("the reader refuses <blobstorage> without a storage"),
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

/// Refuses a storage over a `<zeoclient>`: it would not see what others commit on that server.
fn check_proxies(section: &Section) -> Result<(), ConfigError> {
    let proxy = inner(section).find(|inner| inner.section_type.name == ZEOCLIENT.name);
    proxy.map_or(Ok(()), |proxy| {
        Err(proxy.wrong_at_start(InvalidValue::custom(StorageError::ProxyWithin(
            section.section_type.name,
        ))))
    })
}

/// Refuses two directories of blobs for one storage.
fn check_blobs(section: &Section, system: &dyn System) -> Result<(), ConfigError> {
    check_proxies(section)?;
    let base = inner(section).next().filter(|base| kind(base, system).has_blobs());
    base.map_or(Ok(()), |base| {
        Err(base
            .wrong_at_start(InvalidValue::custom(StorageError::BlobsTwice(base.section_type.name))))
    })
}

/// Refuses a second base.
fn check_demo(section: &Section, _: &dyn System) -> Result<(), ConfigError> {
    check_proxies(section)?;
    bases(section).nth(1).map_or(Ok(()), |base| {
        Err(base.wrong_at_start(InvalidValue::custom(StorageError::TwoBases)))
    })
}
