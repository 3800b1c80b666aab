//! `rzeo dump`: prints the transactions of a FileStorage.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};
use rzeo_core::record::class_name;
use rzeo_core::storage::StorageError;
use rzeo_core::{Oid, Tid, UnixTime};
use rzeo_storage::disk::RealDisk;
use rzeo_storage::tools::{Gap, PayloadInfo, RecordInfo, Scan, ScanItem, Transaction};
use serde_json::{Value, json};

use super::{ToolError, time_of};
use crate::values;

/// Print the transactions and records of a FileStorage
///
/// Reads only, takes no lock, and may run beside a server. Damage is skipped and reported, and makes the
/// exit status 1. Records are never executed: a class is only a name.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The FileStorage to print
    #[arg(value_name = "DATA.FS")]
    path: PathBuf,

    /// Begin at this tid or time: 0x…, 2026-11-24 or 2026-11-24T10:00
    ///
    /// A time is local unless it names its offset.
    #[arg(long, value_name = "TID|TIME", value_parser = bound)]
    since: Option<Tid>,

    /// End with this tid or time, inclusive
    #[arg(long, value_name = "TID|TIME", value_parser = bound)]
    until: Option<Tid>,

    /// Print only transactions with this object, and only its records
    #[arg(long, value_name = "OID", value_parser = values::oid)]
    oid: Option<Oid>,

    /// Print only the last N transactions
    #[arg(short = 'n', long, value_name = "N", value_parser = values::whole_number::<usize>)]
    last: Option<usize>,

    /// Print transactions without their records
    #[arg(long)]
    no_records: bool,

    /// Print each transaction as a JSON object, one per line
    #[arg(long)]
    json: bool,
}

/// Prints the transactions; `false` if the file is damaged.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut scan = Scan::open(&RealDisk, &options.path)?;
    if let Some(count) = options.last {
        scan.skip_to_last(count)?;
    }
    let mut is_whole = true;
    while let Some(step) = scan.next_item()? {
        match step {
            ScanItem::Transaction(transaction) => {
                let tid = transaction.header.tid;
                if options.until.is_some_and(|until| tid > until) {
                    break;
                }
                if options.since.is_none_or(|since| tid >= since) {
                    transaction_out(&mut out, options, &scan, &transaction)?;
                }
            }
            ScanItem::Gap(gap) => {
                is_whole &= gap.unfinished;
                gap_out(&mut out, options, gap)?;
            }
        }
    }
    out.flush()?;
    Ok(is_whole)
}

fn transaction_out(
    out: &mut impl Write,
    options: &Options,
    scan: &Scan,
    transaction: &Transaction,
) -> Result<(), ToolError> {
    let wanted = |record: &&RecordInfo| options.oid.is_none_or(|oid| oid == record.oid);
    let records: Vec<&RecordInfo> = transaction.records.iter().filter(wanted).collect();
    if options.oid.is_some() && records.is_empty() {
        return Ok(());
    }
    let shown = if options.no_records { &[] } else { &records[..] };
    let shown = shown.iter().map(|record| Shown::read(scan, record));
    let shown = shown.collect::<Result<Vec<_>, _>>()?;
    if options.json {
        let records = (!options.no_records).then(|| shown.iter().map(Shown::json).collect());
        writeln!(out, "{}", json_of(transaction, records))?;
    } else {
        text_of(out, transaction, &shown)?;
    }
    Ok(())
}

/// A record with what its data contain.
struct Shown<'a> {
    place: &'a RecordInfo,
    class: Option<String>,
    size: Option<usize>,
    data_txn: Option<Tid>,
    damage: Option<String>,
}

impl<'a> Shown<'a> {
    fn read(scan: &Scan, place: &'a RecordInfo) -> Result<Self, StorageError> {
        let read = || Ok((scan.data(place)?, scan.data_txn(place)?));
        let mut shown = Self { place, class: None, size: None, data_txn: None, damage: None };
        match read() {
            Ok((data, data_txn)) => {
                shown.data_txn = data_txn;
                if let Some(data) = data {
                    shown.size = Some(data.len());
                    shown.class = class_name(&data);
                }
            }
            Err(StorageError::Corrupt { what, .. }) => shown.damage = Some(what),
            Err(error) => return Err(error),
        }
        Ok(shown)
    }

    fn json(&self) -> Value {
        let tid = |tid: Tid| tid.to_string();
        json!({
            "oid": self.place.oid.to_string(),
            "tid": tid(self.place.tid),
            "position": self.place.at,
            "class": self.class,
            "size": self.size,
            "gone": self.place.payload == PayloadInfo::Deleted,
            "data_txn": self.data_txn.map(tid),
            "damage": self.damage,
        })
    }

    fn text(&self) -> String {
        let oid = self.place.oid;
        let mut text = format!("  {oid} ");
        match (&self.damage, self.size) {
            (Some(damage), _) => text += &format!("unreadable: {damage}"),
            (None, None) => text += "deleted",
            (None, Some(size)) => {
                let class = self.class.as_deref().unwrap_or("of unknown class");
                text += &format!("{size:>8}  {class}");
            }
        }
        if let Some(tid) = self.data_txn {
            text += &format!("  as of {tid}");
        }
        text
    }
}

fn text_of(out: &mut impl Write, transaction: &Transaction, shown: &[Shown<'_>]) -> io::Result<()> {
    let header = &transaction.header;
    let (tid, time) = (header.tid, time_of(header.tid));
    write!(out, "{tid} {time} at {} {} bytes", transaction.at, header.size + 8)?;
    match header.status {
        b' ' => {}
        b'p' => write!(out, " packed")?,
        b'u' => write!(out, " undone")?,
        other => write!(out, " status {other:#04x}")?,
    }
    writeln!(out)?;
    for (name, text) in [("user", &header.user), ("description", &header.description)] {
        if !text.is_empty() {
            writeln!(out, "  {name}: {}", one_line(text))?;
        }
    }
    for record in shown {
        writeln!(out, "{}", record.text())?;
    }
    Ok(())
}

/// Text that a client wrote, as it may be shown on a terminal.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn json_of(transaction: &Transaction, records: Option<Vec<Value>>) -> Value {
    let header = &transaction.header;
    let mut value = json!({
        "tid": header.tid.to_string(),
        "time": time_of(header.tid),
        "position": transaction.at,
        "bytes": header.size + 8,
        "status": char::from(header.status).to_string(),
        "user": String::from_utf8_lossy(&header.user),
        "description": String::from_utf8_lossy(&header.description),
        "extension_bytes": header.extension.len(),
        "record_count": transaction.records.len(),
    });
    if let Some(records) = records {
        value["records"] = Value::Array(records);
    }
    value
}

fn gap_out(out: &mut impl Write, options: &Options, gap: Gap) -> io::Result<()> {
    let Gap { at, bytes, what, unfinished, .. } = gap;
    if options.json {
        let kind = if unfinished { "unfinished" } else { "damage" };
        return writeln!(out, "{}", json!({ kind: what, "position": at, "bytes": bytes }));
    }
    let kind = if unfinished { "unfinished write" } else { "DAMAGE" };
    writeln!(out, "{kind} at {at}, {bytes} bytes: {what}")
}

/// A tid as such, or the first one of a time.
fn bound(text: &str) -> Result<Tid, String> {
    if let Some(tid) = values::hex(text) {
        return Ok(Tid(tid));
    }
    let local = || {
        let time = DateTime::from_str(text).ok()?;
        time.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp())
    };
    let time = Timestamp::from_str(text).ok().or_else(local);
    let time = time.ok_or_else(|| {
        format!(
            "{text:?} is neither a tid (0x and up to 16 hex digits) nor a time (2026-11-24T10:00)"
        )
    })?;
    #[expect(clippy::cast_precision_loss, reason = "tids are no more exact")]
    let seconds = time.as_microsecond() as f64 / 1e6;
    Ok(Tid::from_unix(UnixTime(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_tids_or_times() {
        assert_eq!(bound("0x0f"), Ok(Tid(15)));
        let day = bound("2026-11-24T00:00:00Z").unwrap();
        assert_eq!(time_of(day), "2026-11-24T00:00:00.000000Z");
        assert!(bound("2026-11-24").is_ok() && bound("2026-11-24T10:00").is_ok());
        let refused = bound("yesterday").unwrap_err();
        assert!(refused.contains("\"yesterday\""), "{refused}");
        assert!(values::oid("12").is_err());
    }

    #[test]
    fn what_clients_wrote_stays_on_its_line() {
        assert_eq!(one_line(b"a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
    }
}
