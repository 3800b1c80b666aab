//! The thread that writes and reads files.
//!
//! ```text
//!   under the lock ── DiskJob ──► this thread ──► the cache's journal
//!                                     │ ▲ ──────► downloads, as their bytes come
//!             answers, bytes of blobs ◄─┘ └─────── uploads, as their bytes are asked for
//! ```
//!
//! One thread does all jobs, in the order of the machine's outputs, and none of them waits for another
//! process. Work that may have to wait for another client of the same directory of blobs gets a thread of
//! its own: otherwise a blob could wait for the lock of another one whose bytes are not written any more.
//!
//! It ends with the client, after the jobs that were queued.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use bytes::Bytes;
use rzeo_core::client::cache::Snapshot;
use rzeo_core::client::{Answer, BlobPart, CallError, CallId, Input, TxnId};
use rzeo_core::{Oid, Tid};

use crate::blobs::{BlobDir, Upload};
use crate::cache_file::CacheFile;
use crate::disk_job::{DiskJob, Incoming};
use crate::shared::Shared;
use crate::unblock::in_own_thread;

struct Disk {
    shared: Arc<Shared>,
    blobs: Option<BlobDir>,
    cache_file: Option<CacheFile>,
    /// A snapshot was requested and has not come yet.
    is_rewriting: bool,

    downloads: HashMap<(Oid, Tid), Incoming>,
    uploads: HashMap<TxnId, Vec<Upload>>,
}

pub(crate) fn start(
    shared: Arc<Shared>,
    jobs: Receiver<DiskJob>,
    blobs: Option<BlobDir>,
    cache_file: Option<CacheFile>,
) -> std::io::Result<JoinHandle<()>> {
    let (downloads, uploads) = (HashMap::new(), HashMap::new());
    std::thread::Builder::new().name("zeo-files".to_owned()).spawn(move || {
        let _end = End(shared.clone());
        let is_rewriting = false;
        let mut disk = Disk { shared, blobs, cache_file, is_rewriting, downloads, uploads };
        disk.sweep_if_due();
        for job in jobs {
            let bytes = job.bytes();
            disk.perform(job);
            if bytes > 0 {
                disk.shared.with(|state, _| state.written(bytes));
            }
        }
    })
}

/// However the thread ends, its waiters are woken.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.with(|state, now| {
            state.close(now);
            state.disk_is_busy = false;
            state.disk = None;
            // After a panic, no answers that were queued here will come.
            state.waiters.fail_all(&CallError::Closed, &mut state.wakers);
            state.wakers.append(&mut state.waits_for_end);
        });
    }
}

impl Disk {
    fn perform(&mut self, job: DiskJob) {
        match job {
            DiskJob::Journal(chunk) => self.append(&chunk),
            DiskJob::Rewrite(snapshot) => self.rewrite(snapshot),
            DiskJob::Download(oid, serial, incoming) => {
                self.downloads.insert((oid, serial), incoming);
            }
            DiskJob::Write(oid, serial, part) => self.write(oid, serial, part),
            DiskJob::Downloaded(oid, serial) => {
                // A download that is still here is incomplete, and stays so.
                self.downloads.remove(&(oid, serial));
                self.sweep_if_due();
            }
            DiskJob::Upload(txn, upload) => self.uploads.entry(txn).or_default().push(upload),
            DiskJob::Read { txn, blob, at, len } => self.read(txn, blob, at, len),
            DiskJob::Settle(txn, call, result) => self.settle(txn, call, result),
            DiskJob::Discard(txn) => {
                self.uploads.remove(&txn);
            }
        }
    }

    /// A client works without the file of its cache.
    fn append(&mut self, chunk: &[u8]) {
        let Some(file) = &mut self.cache_file else { return };
        if let Err(error) = file.append(chunk) {
            tracing::warn!("the cache file is not written: {error}");
        }
        let is_due = !self.is_rewriting
            && file.wants_rewrite(&self.shared.look(|state| state.machine.cache().statistics()));
        if is_due {
            self.is_rewriting = true;
            // It is queued behind all jobs that it has to follow.
            self.shared.with(|state, _| {
                state.do_on_disk(DiskJob::Rewrite(state.machine.cache().snapshot()));
            });
        }
    }

    fn rewrite(&mut self, snapshot: Snapshot) {
        self.is_rewriting = false;
        if let Some(Err(error)) = self.cache_file.as_mut().map(|file| file.rewrite(snapshot)) {
            tracing::warn!("the cache file is not compacted: {error}");
        }
    }

    fn write(&mut self, oid: Oid, serial: Tid, part: BlobPart) {
        let Some(incoming) = self.downloads.get_mut(&(oid, serial)) else { return };
        let result = match part {
            BlobPart::Start => incoming.download.restart(),
            BlobPart::Chunk(bytes) => incoming.download.append(&bytes),
            BlobPart::End => return self.finish_download(oid, serial),
            BlobPart::Lost => return drop(self.downloads.remove(&(oid, serial))),
        };
        if let Err(error) = result
            && let Some(incoming) = self.downloads.remove(&(oid, serial))
        {
            // The future may have been dropped.
            let _ = incoming.done.send(Err(error));
        }
    }

    fn finish_download(&mut self, oid: Oid, serial: Tid) {
        if let Some(Incoming { download, done }) = self.downloads.remove(&(oid, serial)) {
            let _ = done.send(download.finish());
        }
    }

    fn read(&mut self, txn: TxnId, blob: usize, at: u64, len: usize) {
        let upload = self.uploads.get_mut(&txn).and_then(|uploads| uploads.get_mut(blob));
        // A transaction that was aborted meanwhile has no uploads any more.
        let Some(upload) = upload else { return };
        let bytes = upload.read(at, len).map(Bytes::from).map_err(|error| error.to_string());
        self.shared.with(|state, now| {
            state.machine.handle_input(now, Input::BlobBytes(txn, bytes));
        });
    }

    fn settle(&mut self, txn: TxnId, call: CallId, result: Result<Answer, CallError>) {
        let uploads = self.uploads.remove(&txn).unwrap_or_default();
        let Ok(Answer::Finished(tid)) = result else { return self.deliver(call, result) };
        let shared = self.shared.clone();
        let blobs = self.blobs.clone();
        in_own_thread(move || {
            for upload in uploads {
                if let Err(error) = upload.committed(tid) {
                    tracing::warn!("a committed blob is not kept in the blob cache: {error}");
                }
            }
            shared.with(|state, _| state.deliver(call, result));
            if let Some(blobs) = blobs.filter(BlobDir::sweep_is_due) {
                sweep(&blobs);
            }
        });
    }

    fn deliver(&self, call: CallId, result: Result<Answer, CallError>) {
        self.shared.with(|state, _| state.deliver(call, result));
    }

    fn sweep_if_due(&self) {
        if let Some(blobs) = self.blobs.clone().filter(BlobDir::sweep_is_due) {
            in_own_thread(move || sweep(&blobs));
        }
    }
}

fn sweep(blobs: &BlobDir) {
    if let Err(error) = blobs.sweep() {
        tracing::warn!("the blob cache is not reduced to its maximum size: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use rzeo_core::client::{Client as Machine, ClientSettings};
    use tempfile::TempDir;

    use super::*;
    use crate::cache_file::CacheFileError;
    use crate::error::ConnectError;
    use crate::observer::Observers;
    use crate::options::ClientOptions;
    use crate::shared::Clock;

    const ROOM: usize = 100_000;

    /// A thread for a cache, and a client without servers.
    fn thread(path: &Path) -> (Arc<Shared>, JoinHandle<()>) {
        let (file, cache) = CacheFile::open(path, ROOM).unwrap();
        let clock = Clock::start();
        let machine = Machine::new(clock.now(), ClientSettings::default(), cache);
        let (jobs, todo) = channel();
        let addresses = vec!["localhost:1".parse().unwrap()];
        let shared = Shared::new(clock, machine, addresses, Observers::new(None), Some(jobs));
        let thread = start(shared.clone(), todo, None, Some(file)).unwrap();
        (shared, thread)
    }

    #[test]
    fn a_journal_that_is_too_long_is_compacted() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cache");
        let (shared, thread) = thread(&path);
        shared.with(|state, _| {
            // What an older journal could have had; it is not looked at.
            state.do_on_disk(DiskJob::Journal(vec![0; 2 << 20].into()));
        });
        while shared.look(|state| state.unwritten > 0) {
            std::thread::yield_now();
        }
        // The thread ends after what was given to it.
        shared.with(|state, _| state.disk = None);
        thread.join().unwrap();
        assert!(path.metadata().unwrap().len() < 100);
        let (_file, cache) = CacheFile::open(&path, ROOM).unwrap();
        assert!(cache.is_empty());
    }

    #[test]
    fn a_client_starts_with_the_contents_of_its_cache_file_and_locks_it() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cache");
        let (mut file, mut cache) = CacheFile::open(&path, ROOM).unwrap();
        let data = Bytes::from_static(b"a record");
        let revision = rzeo_core::storage::Revision { data, serial: Tid(1), end: None };
        cache.store(Oid(1), revision);
        file.append(&cache.take_journal().unwrap()).unwrap();
        drop(file);

        let addresses = ["localhost:1".parse().unwrap()];
        let options = ClientOptions { cache_path: Some(path), ..ClientOptions::new(addresses) };
        let (client, _driver) = options.clone().open().unwrap();
        assert_eq!(client.cache_statistics().entries, 1);
        let error = options.open().err();
        let Some(ConnectError::Cache(CacheFileError::InUse(_))) = error else {
            panic!("{error:?}")
        };
    }
}
