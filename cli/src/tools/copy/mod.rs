//! `rzeo copy`: copies all transactions of a database into another one, unchanged.
//!
//! ```text
//!   Source ── transactions, records, blobs ──► copying ──► Target
//!     file, server                 │                         file, server
//!                                  └ prefix_check: does the target hold a prefix of the source?
//! ```
//!
//! It does what Python's `copyTransactionsFrom` does, between any two of a file and a server, and it can be
//! interrupted: a target that holds a prefix of the source is resumed. Transactions are committed one after
//! the other under their own tids, so the target is consistent up to some transaction at every instant.
//!
//! Records and blobs go through memory piece by piece, however large a transaction is.

mod copying;
mod database;
mod file;
mod location;
mod prefix_check;
mod server;
mod stop;
#[cfg(test)]
mod tests;
mod tls;

use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rzeo_client::Access;
use tokio::runtime::Runtime;

use self::copying::{Copied, copy};
use self::database::{Source, Target};
use self::file::{FileSource, FileTarget};
use self::location::Location;
use self::server::{Server, ServerSettings};
use self::stop::Stop;
use self::tls::TlsOptions;
use super::progress::Progress;
use super::{ToolError, counted, time_of};
use crate::values;

/// Copy a database with all its transactions, or resume a copy
///
/// FROM and TO are FileStorages or servers. TO must be empty or hold a prefix of FROM; then only the new
/// transactions are copied. Ctrl-C stops after a whole transaction; the same command resumes from there.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Copy from this FileStorage or server
    ///
    /// HOST:PORT, :PORT, [IPV6]:PORT and unix:PATH are servers, everything else is the path of a file.
    #[arg(value_name = "FROM", value_parser = location::parse)]
    from: Location,

    /// Copy to this FileStorage or server; a file is created if needed
    #[arg(value_name = "TO", value_parser = location::parse)]
    to: Location,

    /// Name of the storage, if FROM is a server [default: 1]
    #[arg(long, value_name = "NAME")]
    from_storage: Option<String>,

    /// Name of the storage, if TO is a server [default: 1]
    #[arg(long, value_name = "NAME")]
    to_storage: Option<String>,

    /// Directory of the blobs, if FROM is a file [default: no blobs]
    #[arg(long, value_name = "DIR")]
    from_blobs: Option<PathBuf>,

    /// Directory of the blobs, if TO is a file [default: no blobs]
    #[arg(long, value_name = "DIR")]
    to_blobs: Option<PathBuf>,

    /// Maximum time to wait until a server can be used, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    connect_timeout: Duration,

    #[command(flatten)]
    tls: TlsOptions,
}

/// Copies, and returns whether everything has been copied.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    options.refuse_nonsense()?;
    let stop = Stop::by_signals()?;
    let runtime = server::runtime()?;
    let source = options.source(&runtime)?;
    let mut target = options.target(&runtime)?;
    let progress = Progress::new("copying");
    let copied = copy(&*source, &mut *target, &stop, &mut |done, total| progress.set(done, total));
    drop(progress);
    // Also after an error: the next copy resumes after what this one has copied.
    let closed = target.close();
    let copied = copied?;
    closed?;
    print(options, &copied)?;
    Ok(copied.is_complete())
}

impl Options {
    /// An option without effect may have been meant for the other side.
    fn refuse_nonsense(&self) -> Result<(), ToolError> {
        let sides = [
            ("from", &self.from, &self.from_storage, &self.from_blobs, self.tls.from_tls),
            ("to", &self.to, &self.to_storage, &self.to_blobs, self.tls.to_tls),
        ];
        for (side, location, storage, blobs, tls) in sides {
            match location {
                Location::File(path) if tls => {
                    let path = path.display();
                    let text = format!("--{side}-tls needs a server, but {path} is a file");
                    return Err(ToolError::Usage(text));
                }
                Location::File(path) if storage.is_some() => {
                    let path = path.display();
                    let text = format!("--{side}-storage needs a server, but {path} is a file");
                    return Err(ToolError::Usage(text));
                }
                Location::Server(address) if blobs.is_some() => {
                    let text = format!(
                        "--{side}-blobs needs a file, but {address} is a server and has its own blobs"
                    );
                    return Err(ToolError::Usage(text));
                }
                Location::File(_) | Location::Server(_) => {}
            }
        }
        if !self.tls.from_tls
            && !self.tls.to_tls
            && let Some(option) = self.tls.files.first_given()
        {
            let text = format!("{option} has no effect without --from-tls or --to-tls");
            return Err(ToolError::Usage(text));
        }
        if let (Location::File(from), Location::File(to)) = (&self.from, &self.to) {
            if file::is_same(from, to) {
                let (from, to) = (from.display(), to.display());
                return Err(ToolError::Usage(format!("{to} is the same file as {from}")));
            }
            if self.from_blobs.is_some() != self.to_blobs.is_some() {
                let text = "to copy blobs, use both --from-blobs and --to-blobs";
                return Err(ToolError::Usage(text.to_owned()));
            }
        }
        Ok(())
    }

    fn source(&self, runtime: &Rc<Runtime>) -> Result<Box<dyn Source>, ToolError> {
        match &self.from {
            Location::File(path) => Ok(Box::new(FileSource::open(path, self.from_blobs.clone())?)),
            Location::Server(address) => {
                let settings = ServerSettings {
                    storage: self.from_storage.clone(),
                    access: Access::ReadOnly,
                    connect_timeout: self.connect_timeout,
                    tls_option: "--from-tls",
                    tls: self.tls.from_tls.then(|| self.tls.files.configure()).transpose()?,
                };
                Ok(Box::new(Server::connect(runtime, address, settings)?))
            }
        }
    }

    fn target(&self, runtime: &Rc<Runtime>) -> Result<Box<dyn Target>, ToolError> {
        match &self.to {
            Location::File(path) => Ok(Box::new(FileTarget::open(path, self.to_blobs.clone())?)),
            Location::Server(address) => {
                let settings = ServerSettings {
                    storage: self.to_storage.clone(),
                    access: Access::ReadWrite,
                    connect_timeout: self.connect_timeout,
                    tls_option: "--to-tls",
                    tls: self.tls.to_tls.then(|| self.tls.files.configure()).transpose()?,
                };
                Ok(Box::new(Server::connect(runtime, address, settings)?))
            }
        }
    }
}

fn print(options: &Options, copied: &Copied) -> Result<(), ToolError> {
    let mut out = std::io::stdout();
    let to = &options.to;
    let Copied { transactions, records, blobs, bytes, .. } = copied;
    match copied.last {
        None => writeln!(out, "{to}: nothing to copy, {} is empty", options.from)?,
        Some(last) if *transactions == 0 => {
            let time = time_of(last);
            writeln!(out, "{to}: nothing to copy, it is complete up to {last} ({time})")?;
        }
        Some(last) => {
            let time = time_of(last);
            let (transactions, records) =
                (counted(*transactions, "transaction"), counted(*records, "record"));
            write!(out, "{to}: copied {transactions} with {records}")?;
            if *blobs > 0 {
                write!(out, " and {}", counted(*blobs, "blob"))?;
            }
            writeln!(out, ", {}, up to {last} ({time})", counted(*bytes, "byte"))?;
        }
    }
    if copied.retimed > 0 {
        let retimed = counted(copied.retimed, "transaction");
        writeln!(out, "{retimed} got a later tid, because the tids were out of order")?;
    }
    if copied.without_blobs > 0 {
        let count = counted(copied.without_blobs, "blob record");
        writeln!(out, "{count} copied without the blob, {}", copied.why)?;
    }
    for (oid, tid, why) in &copied.missing {
        writeln!(out, "blob of object {oid} at {tid} was not copied: {why}")?;
    }
    if copied.more_missing > 0 {
        let count = counted(copied.more_missing, "more blob");
        writeln!(out, "{count} not copied")?;
    }
    Ok(())
}
