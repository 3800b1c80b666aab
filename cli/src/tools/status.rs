//! `rzeo status`: the figures of a running server, as a table.

use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rzeo_core::Tid;
use serde_json::Value;

use super::ToolError;
use super::server_query::{ServerOptions, Statuses};
use crate::exit;

/// Show the figures of a running server
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusOptions {
    /// Print the answer of the server as it is, a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerOptions,
}

/// Columns: the key in the server's answer, and the title.
const COLUMNS: [(&str, &str); 9] = [
    ("connections", "clients"),
    ("loads", "loads"),
    ("stores", "stores"),
    ("commits", "commits"),
    ("aborts", "aborts"),
    ("conflicts", "conflicts"),
    ("conflicts_resolved", "resolved"),
    ("active_txns", "open"),
    ("waiting", "waiting"),
];

/// Asks and prints. The status is 1 if the answer cannot be understood, 2 if there is none.
pub(crate) fn run(options: &StatusOptions) -> Result<ExitCode, ToolError> {
    let server = options.server.server()?;
    let answer = server.ask(options.server.timeout).and_then(|json| {
        if options.json {
            return Ok(String::from_utf8_lossy(&json).into_owned() + "\n");
        }
        Ok(table(&serde_json::from_slice(&json)?))
    });
    Ok(match answer {
        Ok(text) => {
            // If standard output is closed, the exit status still reports the result.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            exit::error(&format!("cannot ask {}: {error}", server.address));
            ExitCode::from(error.status())
        }
    })
}

/// One line for each storage, in aligned columns.
fn table(statuses: &Statuses) -> String {
    let head = ["storage"].into_iter().chain(COLUMNS.map(|(_, title)| title));
    let mut rows: Vec<Vec<String>> = vec![head.chain(["last commit"]).map(str::to_owned).collect()];
    for (name, status) in statuses {
        let shown = |key: &str| status.get(key).map_or_else(|| "-".to_owned(), Value::to_string);
        let figures = COLUMNS.iter().map(|(key, _)| shown(key));
        let name = name.chars().filter(|character| !character.is_control()).collect();
        rows.push([name].into_iter().chain(figures).chain([last_commit(status)]).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ if column + 1 == row.len() => cell.clone(),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text += &cells.join("  ");
        text.push('\n');
    }
    let started = statuses.values().find_map(|status| status.get("start")?.as_str());
    started.map_or_else(|| text.clone(), |start| format!("{text}started {start}\n"))
}

fn last_commit(status: &Value) -> String {
    let digits = status.get("last-transaction").and_then(Value::as_str);
    match digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        None => "-".to_owned(),
        Some(0) => "never".to_owned(),
        Some(tid) => {
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let seconds = Tid(tid).to_unix().0 as i64;
            let time = Timestamp::from_second(seconds).unwrap_or_default();
            time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let statuses = serde_json::json!({
            "1": {"connections": 12, "loads": 1_234_567, "stores": 3, "commits": 4, "aborts": 0,
                  "conflicts": 5, "conflicts_resolved": 6, "active_txns": 1, "waiting": 0,
                  "last-transaction": "0000000000000000", "start": "Tue Nov 24 20:33:39 2026"},
            "temporary\u{1b}[2J": {"connections": 0},
        });
        let expected = "\
storage       clients    loads  stores  commits  aborts  conflicts  resolved  open  waiting  last commit
1                  12  1234567       3        4       0          5         6     1        0  never
temporary[2J        0        -       -        -       -          -         -     -        -  -
started Tue Nov 24 20:33:39 2026
";
        assert_eq!(table(statuses.as_object().unwrap()), expected);
    }
}
