//! `rzeo check`: verifies a FileStorage.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;

use rzeo_storage::disk::RealDisk;
use rzeo_storage::tools::{self, CheckOptions, IndexFile, Observer, Report, Transaction};
use serde_json::json;

use super::progress::Progress;
use super::{ToolError, time_of};

/// Check a FileStorage: structure, index, records, references, blobs
///
/// Reads only, takes no lock, and may run beside a server. Finds what Python's fstest finds, and more;
/// -v prints the lines of fstest. The exit status is 0 if the database is intact, else 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The FileStorage to check
    #[arg(value_name = "DATA.FS")]
    path: PathBuf,

    /// Check blobs too: each revision has its file here and the reverse
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,

    /// Check only what fstest checks: neither records nor the index file
    #[arg(long, conflicts_with = "blobs")]
    structure: bool,

    /// Print a line for each transaction; -vv also for each object
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Print only problems
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Print the result as one JSON object
    #[arg(long, conflicts_with_all = ["verbose", "quiet"])]
    json: bool,
}

/// Checks, prints the result, and returns whether the database is intact.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    let wanted = CheckOptions { structure_only: options.structure, blobs: options.blobs.clone() };
    let mut watcher = Watcher {
        out: BufWriter::new(io::stdout()),
        verbose: options.verbose,
        progress: Progress::new("checking"),
        failed: None,
    };
    let report = tools::check(&RealDisk, &options.path, &wanted, &mut watcher)?;
    let Watcher { mut out, progress, failed, .. } = watcher;
    drop(progress);
    failed.map_or(Ok(()), Err)?;
    if options.json {
        writeln!(out, "{}", as_json(&report))?;
    } else {
        print(&mut out, options, &report)?;
    }
    out.flush()?;
    Ok(report.is_fine())
}

/// Prints what fstest prints while it reads.
struct Watcher {
    out: BufWriter<Stdout>,
    verbose: u8,
    progress: Progress,
    failed: Option<io::Error>,
}

impl Watcher {
    fn lines(&mut self, n: u64, transaction: &Transaction) -> io::Result<()> {
        if self.verbose > 1 {
            for (n, record) in transaction.records.iter().enumerate() {
                writeln!(self.out, "{:10}: object oid {} #{n}", record.at, record.oid)?;
            }
        }
        let tid = transaction.header.tid;
        writeln!(self.out, "{:10}: transaction tid {tid} #{n} ", transaction.at)
    }
}

impl Observer for Watcher {
    fn progress(&mut self, done: u64, total: u64) {
        self.progress.set(done, total);
    }

    fn transaction(&mut self, n: u64, transaction: &Transaction) {
        if self.verbose > 0 && self.failed.is_none() {
            self.failed = self.lines(n, transaction).err();
        }
    }
}

fn print(out: &mut impl Write, options: &Options, report: &Report) -> io::Result<()> {
    let path = options.path.display();
    if !options.quiet {
        let Report { bytes, transactions, records, objects, deleted, blobs, .. } = report;
        writeln!(out, "{path}: {bytes} bytes")?;
        if let (Some(first), Some(last)) = (report.first_tid, report.last_tid) {
            let (from, to) = (time_of(first), time_of(last));
            writeln!(out, "transactions: {transactions}, from {from} to {to}")?;
        }
        write!(out, "records:      {records} of {objects} objects")?;
        if *deleted > 0 {
            write!(out, ", {deleted} of them deleted")?;
        }
        if *blobs > 0 {
            write!(out, ", {blobs} with a blob")?;
        }
        writeln!(out, "\nindex file:   {}", describe(&report.index))?;
        if let Some(gap) = report.unfinished {
            let (bytes, at) = (gap.bytes, gap.at);
            let what = "of a write that is in progress or was interrupted";
            writeln!(
                out,
                "at the end:   {bytes} bytes from {at} on {what}; it was never acknowledged"
            )?;
        }
    }
    for problem in &report.problems {
        match problem.at {
            Some(at) => writeln!(out, "{path}: byte {at}: {}", problem.what)?,
            None => writeln!(out, "{path}: {}", problem.what)?,
        }
    }
    match report.problems.len() as u64 + report.more_problems {
        0 if options.quiet => Ok(()),
        0 => writeln!(out, "no errors detected"),
        1 => writeln!(out, "1 problem"),
        all if report.more_problems > 0 => {
            writeln!(out, "{all} problems, the first {} are shown", report.problems.len())
        }
        all => writeln!(out, "{all} problems"),
    }
}

fn describe(index: &IndexFile) -> String {
    match index {
        IndexFile::Unchecked => "not checked".to_owned(),
        IndexFile::Missing => "none; the next start reads the whole file".to_owned(),
        IndexFile::Good { end } => format!("good up to byte {end}"),
        IndexFile::Bad(why) => format!("unusable: {why}; the next start takes longer"),
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let problems: Vec<_> = (report.problems.iter())
        .map(|problem| json!({ "at": problem.at, "what": problem.what }))
        .collect();
    let tid = |tid: Option<rzeo_core::Tid>| tid.map(|tid| tid.to_string());
    json!({
        "bytes": report.bytes,
        "transactions": report.transactions,
        "records": report.records,
        "objects": report.objects,
        "deleted": report.deleted,
        "blobs": report.blobs,
        "first_tid": tid(report.first_tid),
        "last_tid": tid(report.last_tid),
        "unfinished": report.unfinished.map(|gap| json!({ "at": gap.at, "bytes": gap.bytes })),
        "index": describe(&report.index),
        "problems": problems,
        "more_problems": report.more_problems,
        "fine": report.is_fine(),
    })
}
