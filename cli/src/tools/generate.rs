//! `rzeo completions` and `rzeo man`: files for the shell and for `man`, made from the command line's
//! definition, so they are never out of date.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::ToolError;

/// Print a completion script for a shell
///
/// For bash, for example: rzeo completions bash > /etc/bash_completion.d/rzeo
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

/// Write manual pages, one for rzeo and one for each command
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ManOptions {
    /// The directory to write them to, such as /usr/local/share/man/man1
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

pub(crate) fn completions(
    options: &CompletionsOptions,
    mut command: Command,
) -> Result<bool, ToolError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "rzeo", &mut script);
    io::stdout().write_all(&script)?;
    Ok(true)
}

pub(crate) fn man_pages(options: &ManOptions, command: Command) -> Result<bool, ToolError> {
    let directory = &options.directory;
    let written =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| {
        ToolError::Refused(format!("cannot write manual pages to {}: {error}", directory.display()))
    })?;
    Ok(true)
}
