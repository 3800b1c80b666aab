//! `rzeo config check FILE`: what a configuration means, without serving it.
//!
//! Every setting is shown with its value and where it comes from: a line, an option `-X`, or nowhere, if
//! it is the default. What is legal but rarely meant is said too. Nothing is opened or changed.
//!
//! Exit status: 0 if a server would start with the file, 2 if not.

mod oddities;
mod report;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use crate::config::{ConfigError, Place, RealSystem, ServerConfig, System, path_of};
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

/// Show the settings of a configuration file, its errors and oddities
///
/// The exit status is 0 if `rzeo serve -C FILE` would accept it, else 2.
#[derive(Clone, Debug, PartialEq, clap::Args)]
struct CheckOptions {
    /// The file, or a file: URL
    file: String,

    /// Override a setting, as for `rzeo serve`; may be repeated
    #[arg(short = 'X', value_name = "SECTION/KEY=VALUE")]
    overrides: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Does what was asked for.
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
    // If nobody reads it, the status has to do.
    let _ = io::stdout().write_all(report.as_bytes());
    status
}

/// Everything that there is to say about a file, as JSON.
fn check(file: &str, overrides: &[String], system: &dyn System) -> Result<Json, ConfigError> {
    let path = path_of(file)?;
    let (config, top) = ServerConfig::read_with_sections(system, &path, overrides)?;
    Ok(json!({
        "ok": true,
        "file": system.absolute(&path).display().to_string(),
        "sections": report::sections(&top, system),
        "warnings": oddities::of(&config, &top, system),
    }))
}

/// The same for people.
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
        "place": error.place().map(place),
    })
}

/// Where something stands.
fn place(place: &Place) -> Json {
    match place {
        Place::Line { url, line } => json!({ "url": &**url, "line": line }),
        Place::Override(spec) => json!({ "option": format!("-X {spec}") }),
    }
}
