//! "Did you mean …?"

/// The known name that a misspelt one most likely stands for.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    // One mistake, and one more for each eight characters: `listn`, but not `port` for `path`.
    let distance_max = 1 + name.chars().count() / 8;
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, known), known))
        .filter(|(distance, known)| *distance <= distance_max && *distance < known.chars().count())
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn misspelt_names_are_recognized_and_others_are_not() {
        let known = ["filestorage", "mappingstorage", "eventlog", "path", "zeo"];
        let closest = |name| closest(name, known);
        assert_eq!(closest("filestorge"), Some("filestorage"));
        assert_eq!(closest("File_Storage"), Some("filestorage"));
        assert_eq!(closest("evenlog"), Some("eventlog"));
        assert_eq!(closest("pth"), Some("path"));
        assert_eq!(closest("relstorage"), None);
        assert_eq!(closest("port"), None);
        assert_eq!(closest("x"), None);
    }
}
