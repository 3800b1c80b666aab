//! The names of the classes of BTrees.
//!
//! There is a module for every pair of key and value types, with four persistent classes each.
//! Pickles have several names for them: with and without the pair before the class's name, and in
//! modules with and without an underscore.

/// The four kinds of classes in a module of BTrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassKind {
    /// A leaf with keys and values.
    Bucket,
    /// A leaf with keys only.
    Set,
    /// A tree of buckets.
    BTree,
    /// A tree of sets.
    TreeSet,
}

/// A class of BTrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BTreesClass {
    /// One letter for the type of the keys, one for that of the values.
    pub family: [u8; 2],
    /// Which of the family's classes.
    pub kind: ClassKind,
}

/// The names of one pair of types.
struct Names {
    prefix: [u8; 2],
    module: &'static str,
    classes: [(&'static str, ClassKind); 4],
}

macro_rules! names {
    ($($prefix:literal)*) => {
        &[$(Names {
            prefix: {
                let bytes: &[u8; 2] = $prefix.as_bytes().first_chunk().expect("two letters");
                *bytes
            },
            module: concat!("BTrees.", $prefix, "BTree"),
            classes: [
                (concat!($prefix, "Bucket"), ClassKind::Bucket),
                (concat!($prefix, "Set"), ClassKind::Set),
                (concat!($prefix, "BTree"), ClassKind::BTree),
                (concat!($prefix, "TreeSet"), ClassKind::TreeSet),
            ],
        }),*]
    };
}

const NAMES: &[Names] = names!(
    "OO" "OI" "OL" "OU" "OQ" "IO" "II" "IF" "IU" "LO" "LL" "LF" "LQ" "UO" "UU" "UF" "UI" "QO" "QQ"
    "QF" "QL" "fs"
);

impl BTreesClass {
    /// Recognizes a class by any of its names.
    #[must_use]
    pub fn named(module: &[u8], name: &[u8]) -> Option<Self> {
        let (names, (_, kind)) = find(module, name)?;
        Some(Self { family: names.prefix, kind })
    }
}

/// Module and name under which current versions of Python and BTrees pickle a class.
#[must_use]
pub fn present_class<'a>((module, name): (&'a [u8], &'a [u8])) -> (&'a [u8], &'a [u8]) {
    match find(module, name) {
        Some((names, (name, _))) => (names.module.as_bytes(), name.as_bytes()),
        None if module == b"__builtin__" => (b"builtins", name),
        None => (module, name),
    }
}

fn find(module: &[u8], name: &[u8]) -> Option<(&'static Names, (&'static str, ClassKind))> {
    let module = module.strip_prefix(b"BTrees.")?;
    let module = module.strip_prefix(b"_").unwrap_or(module);
    let prefix = module.strip_suffix(b"BTree")?;
    let names = NAMES.iter().find(|names| names.prefix == *prefix)?;
    let bare = name.strip_prefix(prefix).unwrap_or(name);
    let class = names.classes.iter().find(|(full, _)| full.as_bytes()[2..] == *bare)?;
    Some((names, *class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_become_present_ones() {
        let full: (&[u8], &[u8]) = (b"BTrees.OOBTree", b"OOBTree");
        let old: [(&[u8], &[u8]); 3] =
            [full, (b"BTrees._OOBTree", b"OOBTree"), (b"BTrees.OOBTree", b"BTree")];
        for names in old {
            assert_eq!(present_class(names), full);
        }
        for other in [&b"BTrees.XXBTree"[..], b"BTrees.OOBTreeX", b"BTrees", b"OOBTree"] {
            assert_eq!(present_class((other, b"OOBTree")), (other, &b"OOBTree"[..]));
        }
        assert_eq!(present_class((b"BTrees.OOBTree", b"IOBTree")).1, b"IOBTree");
    }
}
