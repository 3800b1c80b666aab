//! Storage calls, as values that an adapter can carry to the thread that may run them.
//!
//! [`perform`] runs one. With [`Patience::Now`] it answers from memory and page cache, or returns the
//! call, which then runs on a thread that may wait for the disk.
//!
//! Each kind of call is a type with an associated answer ([`StorageJob`]). A job contains what its
//! session needs to continue: the caller, or the id of the upload. The answer brings it back, so the
//! session has one handler per kind and no answer can meet the wrong one. A new kind is one line in
//! the table below, and the compiler then asks for its handler.

mod blob;
mod iterator_step;
mod job;
mod load;
mod query;
mod scratch;
mod vote;

use core::fmt;

pub(super) use blob::{OpenBlob, OpenedBlob, ReadBlob, ReadBlobPart};
pub(super) use iterator_step::{IteratorStep, Step, Stepped, SteppedTo};
pub(super) use job::{Schedule, StorageJob};
pub(super) use load::{LoadId, LoadJob};
pub(super) use query::{Query, QueryJob};
pub(super) use scratch::{
    BlobRecord, CreateSpool, CreateUpload, Discard, FindShared, FoundShared, Leftovers, UploadId,
    WriteScratch, Writer,
};
pub(super) use vote::{VoteJob, VotedJob};

use crate::storage::{Patience, Storage};

/// A call that a session makes to its storage. [`perform`] runs it.
#[derive(Debug)]
pub struct StorageCall(pub(super) Job);

/// The answer to a [`StorageCall`], for [`Input::Answer`](super::Input::Answer).
#[derive(Debug)]
pub struct StorageReply(pub(super) Answer);

/// Declares the kinds of calls: the enums of jobs and of their answers, and how they run.
macro_rules! storage_calls {
    ($($kind:ident($job:ty),)*) => {
        /// A storage call of any kind.
        #[derive(Debug)]
        pub(super) enum Job {
            $($kind($job),)*
        }

        /// The answer to a [`Job`], in the variant of the same name.
        pub(super) enum Answer {
            $($kind(<$job as StorageJob>::Answer),)*
        }

        $(impl From<$job> for Job {
            fn from(job: $job) -> Self {
                Self::$kind(job)
            }
        })*

        impl Job {
            /// When the session may let the call out.
            pub(super) const fn schedule(&self) -> Schedule {
                match self {
                    $(Self::$kind(_) => <$job as StorageJob>::SCHEDULE,)*
                }
            }

            fn run(self, storage: &dyn Storage, patience: Patience) -> Result<Answer, Self> {
                match self {
                    $(Self::$kind(job) => match job.run(storage, patience) {
                        Ok(answer) => Ok(Answer::$kind(answer)),
                        Err(job) => Err(Self::$kind(job)),
                    },)*
                }
            }
        }

        impl fmt::Debug for Answer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$kind(_) => stringify!($kind),)*
                })
            }
        }
    };
}

storage_calls! {
    Load(LoadJob),
    Query(QueryJob),
    IteratorStep(IteratorStep),
    Vote(VoteJob),
    CreateSpool(CreateSpool),
    CreateUpload(CreateUpload),
    FindShared(FindShared),
    WriteScratch(WriteScratch),
    Discard(Discard),
    OpenBlob(OpenBlob),
    ReadBlob(ReadBlob),
}

/// Runs a call.
///
/// # Errors
/// With [`Patience::Now`], the call itself if it has to wait; run it again with [`Patience::Wait`].
pub fn perform(
    storage: &dyn Storage,
    call: StorageCall,
    patience: Patience,
) -> Result<StorageReply, StorageCall> {
    call.0.run(storage, patience).map(StorageReply).map_err(StorageCall)
}
