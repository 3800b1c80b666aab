//! `rzeo copy`: all transactions of a database into another one, as they are.
//!
//! ```text
//!   Source ── transactions, records, blobs ──► copying ──► Target
//!     file, server                 │                         file, server
//!                                  └ same: is what the target has a beginning of the source?
//! ```
//!
//! What Python's `copyTransactionsFrom` does, between any two of a file and a server, and so that it can be
//! interrupted: a target that has the first transactions of the source is gone on with. One transaction
//! after the other is committed under its own tid, so at every instant the target is whole up to some
//! transaction.
//!
//! Records and blobs go through memory piece by piece, however large a transaction is.

mod copying;
mod database;
mod file;
mod place;
mod same;
mod server;
#[cfg(test)]
mod tests;
mod tls;

use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rzeo_client::Access;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::runtime::Runtime;

use self::copying::{Copied, copy};
use self::database::{Source, Target};
use self::file::{FileSource, FileTarget};
use self::place::Place;
use self::server::{Server, Way};
use self::tls::TlsOptions;
use super::progress::Progress;
use super::{ToolError, time_of};

/// Copy a database, all transactions as they are, or go on with a copy
///
/// FROM and TO are FileStorages or servers. What TO has already must be a beginning of FROM: only what is
/// new is copied then. Ctrl-C stops after a whole transaction; the same command goes on from there.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to copy from: the path of a FileStorage, or a server's HOST:PORT, :PORT or unix:PATH
    #[arg(value_name = "FROM", value_parser = place::parse)]
    from: Place,

    /// Where to copy to, likewise; a file is made if there is none
    #[arg(value_name = "TO", value_parser = place::parse)]
    to: Place,

    /// The storage's name, where FROM is a server [default: 1]
    #[arg(long, value_name = "NAME")]
    from_storage: Option<String>,

    /// The storage's name, where TO is a server [default: 1]
    #[arg(long, value_name = "NAME")]
    to_storage: Option<String>,

    /// The directory of blobs, where FROM is a file
    #[arg(long, value_name = "DIR")]
    from_blobs: Option<PathBuf>,

    /// The directory of blobs, where TO is a file
    #[arg(long, value_name = "DIR")]
    to_blobs: Option<PathBuf>,

    #[command(flatten)]
    tls: TlsOptions,
}

/// Whether somebody wants the copy to end before its end.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asked for by signals; a second one ends the process at once.
    fn by_signals() -> Result<Self, ToolError> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, stop.0.clone())?;
            flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    fn check(&self) -> Result<(), ToolError> {
        if self.0.load(Ordering::Relaxed) { Err(ToolError::Interrupted) } else { Ok(()) }
    }
}

/// Copies, and tells whether all that was there has been copied.
pub(crate) fn run(options: &Options) -> Result<bool, ToolError> {
    options.refuse_nonsense()?;
    let stop = Stop::by_signals()?;
    let runtime = server::runtime()?;
    let source = options.source(&runtime)?;
    let mut target = options.target(&runtime)?;
    let progress = Progress::new("copying");
    let copied = copy(&*source, &mut *target, &stop, &mut |done, total| progress.set(done, total));
    drop(progress);
    // Also after an error: what was copied is not to be copied again.
    let closed = target.close();
    let copied = copied?;
    closed?;
    print(options, &copied)?;
    Ok(copied.is_complete())
}

impl Options {
    /// Options that would be without effect may be the ones that were meant for the other side.
    fn refuse_nonsense(&self) -> Result<(), ToolError> {
        let sides = [
            ("from", &self.from, &self.from_storage, &self.from_blobs, self.tls.from_tls),
            ("to", &self.to, &self.to_storage, &self.to_blobs, self.tls.to_tls),
        ];
        for (side, place, storage, blobs, tls) in sides {
            match place {
                Place::File(path) if tls => {
                    let path = path.display();
                    let text = format!("--{side}-tls is for servers; {path} is a file");
                    return Err(ToolError::Usage(text));
                }
                Place::File(path) if storage.is_some() => {
                    let path = path.display();
                    let text = format!("--{side}-storage is for servers; {path} is a file");
                    return Err(ToolError::Usage(text));
                }
                Place::Server(address) if blobs.is_some() => {
                    let text = format!("--{side}-blobs is for files; {address} has its own blobs");
                    return Err(ToolError::Usage(text));
                }
                Place::File(_) | Place::Server(_) => {}
            }
        }
        if self.tls.is_idle() {
            let text = "TLS is spoken with --from-tls or --to-tls; neither is given";
            return Err(ToolError::Usage(text.to_owned()));
        }
        if let (Place::File(from), Place::File(to)) = (&self.from, &self.to) {
            if file::is_same(from, to) {
                let (from, to) = (from.display(), to.display());
                return Err(ToolError::Usage(format!("{to} is {from} itself")));
            }
            if self.from_blobs.is_some() != self.to_blobs.is_some() {
                let text = "blobs need two directories, --from-blobs and --to-blobs";
                return Err(ToolError::Usage(text.to_owned()));
            }
        }
        Ok(())
    }

    fn source(&self, runtime: &Rc<Runtime>) -> Result<Box<dyn Source>, ToolError> {
        match &self.from {
            Place::File(path) => Ok(Box::new(FileSource::open(path, self.from_blobs.clone())?)),
            Place::Server(address) => {
                let way = Way {
                    storage: self.from_storage.clone(),
                    access: Access::ReadOnly,
                    tls: self.tls.from_tls.then(|| self.tls.configure()).transpose()?,
                };
                Ok(Box::new(Server::connect(runtime, address, way)?))
            }
        }
    }

    fn target(&self, runtime: &Rc<Runtime>) -> Result<Box<dyn Target>, ToolError> {
        match &self.to {
            Place::File(path) => Ok(Box::new(FileTarget::open(path, self.to_blobs.clone())?)),
            Place::Server(address) => {
                let way = Way {
                    storage: self.to_storage.clone(),
                    access: Access::ReadWrite,
                    tls: self.tls.to_tls.then(|| self.tls.configure()).transpose()?,
                };
                Ok(Box::new(Server::connect(runtime, address, way)?))
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
            writeln!(out, "{to}: nothing to copy, all is there up to {last} ({time})")?;
        }
        Some(last) => {
            let time = time_of(last);
            write!(out, "{to}: copied {transactions} transactions with {records} records")?;
            if *blobs > 0 {
                write!(out, " and {blobs} blobs")?;
            }
            writeln!(out, ", {bytes} bytes, up to {last} ({time})")?;
        }
    }
    if copied.retimed > 0 {
        let retimed = copied.retimed;
        writeln!(out, "{retimed} transactions got later tids, for theirs were out of order")?;
    }
    if copied.without_blobs > 0 {
        let count = copied.without_blobs;
        writeln!(out, "{count} records of blobs were copied without their blobs, {}", copied.why)?;
    }
    for (oid, tid, why) in &copied.missing {
        writeln!(out, "blob of object {oid} at {tid} was not copied: {why}")?;
    }
    if copied.more_missing > 0 {
        writeln!(out, "and so were {} more blobs", copied.more_missing)?;
    }
    Ok(())
}
