//! `rzeo repair`: copies what is readable of a damaged FileStorage into a new one.

use std::fs;
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rzeo_core::UnixTime;
use rzeo_core::storage::Storage;
use rzeo_storage::FileStorage;
use rzeo_storage::disk::RealDisk;
use rzeo_storage::file::FileOptions;
use rzeo_storage::tools::{self, CheckOptions, Lost, Observer, Repaired, Scan, Transaction};

use super::progress::Progress;
use super::{ToolError, counted, time_of};

/// Maximum number of objects named for a transaction that lost some.
const NAMED_MAX: usize = 5;

/// Copy everything readable from a damaged FileStorage into a new one
///
/// The damaged file is not changed. The arguments are those of Python's fsrecover.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The damaged FileStorage
    #[arg(value_name = "DAMAGED")]
    input: PathBuf,

    /// The FileStorage to create
    #[arg(value_name = "OUTPUT")]
    output: PathBuf,

    /// Overwrite OUTPUT if it exists
    #[arg(short, long)]
    force: bool,

    /// Print transactions (1), or transactions and records (2)
    #[arg(short, value_name = "LEVEL", default_value_t = 0)]
    verbose: u8,

    /// Keep the readable records of transactions that lost some
    ///
    /// Without this option such a transaction is left out as a whole. fsrecover keeps the records before the
    /// first one that is lost.
    #[arg(short, long)]
    partial: bool,

    /// Pack OUTPUT to the state of this many seconds ago
    #[arg(short = 'P', long, value_name = "SECONDS")]
    pack: Option<f64>,
}

/// Restores, and checks the result.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    refuse_to_harm(options)?;
    let mut scan = Scan::open(&RealDisk, &options.input)?;
    let create = FileOptions { create: true, ..FileOptions::default() };
    let output = FileStorage::open_file(&options.output, create)?;
    let mut watcher = Watcher {
        out: BufWriter::new(io::stdout()),
        verbose: options.verbose,
        progress: Progress::new("restoring"),
        failed: None,
    };
    let repaired = tools::repair(&mut scan, &output, options.partial, &mut watcher)?;
    if let Some(seconds) = options.pack {
        pack(&output, seconds)?;
    }
    output.close()?;
    let Watcher { mut out, progress, failed, .. } = watcher;
    drop(progress);
    failed.map_or(Ok(()), Err)?;
    print(&mut out, &repaired)?;
    let is_fine = check(&mut out, &options.output)?;
    out.flush()?;
    Ok(is_fine)
}

fn refuse_to_harm(options: &Options) -> Result<(), ToolError> {
    let (input, output) = (options.input.display(), options.output.display());
    let Ok(found) = fs::metadata(&options.output) else { return Ok(()) };
    let same = fs::metadata(&options.input)
        .is_ok_and(|input| (input.dev(), input.ino()) == (found.dev(), found.ino()));
    if same {
        let text = format!("{output} is the same file as {input}; name a new file");
        return Err(ToolError::Refused(text));
    }
    if !options.force {
        return Err(ToolError::Refused(format!("{output} already exists; use -f to overwrite it")));
    }
    Ok(())
}

fn pack(output: &FileStorage, seconds: f64) -> Result<(), ToolError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if let Some(prepared) = output.pack(UnixTime(now.as_secs_f64() - seconds))? {
        prepared.finish()?;
    }
    Ok(())
}

fn print(out: &mut impl Write, repaired: &Repaired) -> io::Result<()> {
    for lost in &repaired.lost {
        match lost {
            Lost::Gap(gap) if gap.unfinished => writeln!(
                out,
                "byte {}: {} bytes of an unfinished write left out; it was never acknowledged",
                gap.at, gap.bytes
            )?,
            Lost::Gap(gap) => {
                writeln!(out, "byte {}: {} bytes lost: {}", gap.at, gap.bytes, gap.what)?;
            }
            Lost::Salvaged { tid, at, records } => {
                writeln!(
                    out,
                    "byte {at}: found {} of transaction {tid}",
                    counted(*records as u64, "record")
                )?;
            }
            Lost::Records { tid, at, partial, objects } => {
                let what = if *partial { "restored in part" } else { "left out" };
                let count = counted(objects.len() as u64, "unreadable record");
                writeln!(out, "byte {at}: transaction {tid} {what}: {count}")?;
                for (oid, why) in objects.iter().take(NAMED_MAX) {
                    writeln!(out, "    {oid}: {why}")?;
                }
            }
        }
    }
    let Repaired { transactions, records, undone, retimed, .. } = repaired;
    let (transactions, records) =
        (counted(*transactions, "transaction"), counted(*records, "record"));
    writeln!(out, "restored {transactions} with {records}")?;
    writeln!(out, "{} bytes removed during recovery", repaired.damaged_bytes())?;
    if *undone > 0 {
        writeln!(out, "{} skipped", counted(*undone, "undone transaction"))?;
    }
    if *retimed > 0 {
        let text = counted(*retimed, "transaction");
        writeln!(out, "{text} got a later tid, because the tids were out of order")?;
    }
    Ok(())
}

fn check(out: &mut impl Write, path: &Path) -> Result<bool, ToolError> {
    let report = tools::check(&RealDisk, path, &CheckOptions::default(), &mut ())?;
    if report.is_fine() {
        writeln!(out, "{}: no errors detected", path.display())?;
    } else {
        let count = report.problems.len() as u64 + report.more_problems;
        let path = path.display();
        let problems = counted(count, "problem");
        writeln!(out, "{path}: {problems} left; rzeo check {path} lists them")?;
    }
    Ok(report.is_fine())
}

/// Prints what fsrecover prints while it reads.
struct Watcher {
    out: BufWriter<Stdout>,
    verbose: u8,
    progress: Progress,
    failed: Option<io::Error>,
}

impl Watcher {
    fn lines(&mut self, transaction: &Transaction) -> io::Result<()> {
        let tid = transaction.header.tid;
        writeln!(self.out, "{:10}: {tid} {}", transaction.at, time_of(tid))?;
        if self.verbose > 1 {
            for record in &transaction.records {
                writeln!(self.out, "{:10}:   {} {:?}", record.at, record.oid, record.payload)?;
            }
        }
        Ok(())
    }
}

impl Observer for Watcher {
    fn progress(&mut self, done: u64, total: u64) {
        self.progress.set(done, total);
    }

    fn transaction(&mut self, _n: u64, transaction: &Transaction) {
        if self.verbose > 0 && self.failed.is_none() {
            self.failed = self.lines(transaction).err();
        }
    }
}
