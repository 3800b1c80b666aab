//! The door of the fuzzer of configuration files.

/// Reads a configuration file of the server out of an input of the fuzzer, see [`rzeo_zconfig::fuzz`].
///
/// # Panics
/// If a promise of the reader is broken.
pub fn zconfig(input: &[u8]) {
    rzeo_zconfig::fuzz::check(input, |system, path, overrides| {
        crate::tools::config::explain(path, overrides, system).map_err(|error| error.to_string())
    });
}
