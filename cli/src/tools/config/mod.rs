//! `rzeo config check FILE`: the settings of a configuration file, without serving it.
//!
//! Every setting is shown with its value and its origin: a line, an option `-X`, or the default. Valid
//! settings that are rarely intended get a warning. Nothing is opened or changed.
//!
//! Exit status: 0 if `rzeo serve` would accept the file, 2 if not.

mod report;
mod warnings;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;
use rzeo_zconfig::{ConfigError, RealSystem, System, path_of};
use serde_json::{Value as Json, json};

use crate::config::ServerConfig;
use crate::exit;

/// Check configuration files.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct ConfigOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
enum Action {
    Check(CheckOptions),
}

/// Show the settings of a configuration file, its errors and warnings
///
/// The exit status is 0 if `rzeo serve -C FILE` would accept it, else 2.
#[derive(Clone, Debug, PartialEq, clap::Args)]
struct CheckOptions {
    /// The configuration file, as a path or a file: URL
    file: String,

    /// Override a setting of the file, as for rzeo serve; repeatable
    #[arg(short = 'X', value_name = "SECTION/KEY=VALUE")]
    overrides: Vec<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &ConfigOptions) -> ExitCode {
    let Action::Check(options) = &options.action;
    let checked = check(&options.file, &options.overrides, &RealSystem);
    let (report, status) = match (checked, options.json) {
        (Ok(json), true) => (format!("{json:#}\n"), ExitCode::SUCCESS),
        (Ok(json), false) => (report::text(&json), ExitCode::SUCCESS),
        (Err(error), true) => (format!("{:#}\n", failure(&error)), ExitCode::from(2)),
        (Err(error), false) => {
            exit::config_error(&error);
            return ExitCode::from(2);
        }
    };
    // If standard output is closed, the exit status still shows the result.
    let _ = io::stdout().write_all(report.as_bytes());
    status
}

/// The settings and warnings of a file, as JSON.
fn check(file: &str, overrides: &[String], system: &dyn System) -> Result<Json, ConfigError> {
    let path = path_of(file)?;
    let (config, top) = ServerConfig::read_with_sections(system, &path, overrides)?;
    Ok(json!({
        "ok": true,
        "file": system.absolute(&path).display().to_string(),
        "sections": report::sections(&top, system),
        "warnings": warnings::of(&config, &top, system),
    }))
}

/// The settings and warnings of a file, as text.
pub(crate) fn explain(
    file: &str,
    overrides: &[String],
    system: &dyn System,
) -> Result<String, ConfigError> {
    check(file, overrides, system).map(|json| report::text(&json))
}

fn failure(error: &ConfigError) -> Json {
    json!({
        "ok": false,
        "error": error.to_string(),
        "expected": error.expected(),
        "place": error.location().map(report::place),
    })
}
