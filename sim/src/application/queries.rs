//! Requests outside transactions: single loads, slow snapshots, iteration over transactions and records, blobs,
//! statistics, packs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rzeo_core::client::query::{
    CurrentSerial, History, Info, IteratorNext, IteratorStart, LastTransaction, LoadSerial,
    NextRecord, Pack, Ping, RecordsNext, RecordsStart, UndoLog,
};
use rzeo_core::client::{Answer, BlobPart, CallError, Refused, Request, UndoEntry};
use rzeo_core::storage::Revision;
use rzeo_core::value::Value;
use rzeo_core::{Oid, Tid};

use crate::application::query::{Download, Iteration, Query, SnapshotReader, Step};
use crate::application::shared::Shared;
use crate::application::state::{Application, Context, FollowUp, LoadPurpose, PendingCall};
use crate::objects::{self, TICKS, TOTAL};

/// Maximum number of snapshots that an application reads at once.
const READERS_MAX: usize = 2;

impl Application {
    /// Loads one object.
    pub(crate) fn load_any(&mut self, context: &mut Context<'_>) {
        let oid = Oid(context.random.next() % objects::UNUSED.0);
        let before = self.some_tid(context.random);
        self.load(context, oid, before, LoadPurpose::Check);
    }

    pub(crate) fn prefetch(&mut self, context: &mut Context<'_>) {
        let oids: Vec<Oid> =
            (0..6).map(|_| Oid(context.random.next() % objects::UNUSED.0)).collect();
        let before = self.some_tid(context.random);
        context.shared.coverage.count("prefetches");
        context.rig.act(|client, _| client.prefetch(&oids, before));
    }

    pub(crate) fn begin_snapshot(&mut self) {
        if self.last_tid == Tid::ZERO || self.readers.len() >= READERS_MAX {
            return;
        }
        self.last_reader += 1;
        let missing = objects::accounts().chain(objects::counters()).chain([TICKS]).collect();
        let (number, numbers) = (self.last_reader, BTreeMap::new());
        self.readers.push(SnapshotReader { number, tid: self.last_tid, missing, numbers });
    }

    pub(crate) fn continue_snapshot(&mut self, context: &mut Context<'_>) {
        let Some(reader) = self.readers.first() else { return };
        let (before, purpose) = (reader.tid.next(), LoadPurpose::Snapshot(reader.number));
        for oid in reader.missing.iter().take(3).copied().collect::<Vec<_>>() {
            self.load(context, oid, before, purpose);
        }
    }

    pub(crate) fn add_to_snapshot(
        &mut self,
        number: u64,
        oid: Oid,
        found: Option<Revision>,
        shared: &mut Shared,
    ) {
        let Some(index) = self.readers.iter().position(|reader| reader.number == number) else {
            return;
        };
        let reader = &mut self.readers[index];
        let Some(found) = found else {
            self.readers.remove(index);
            return;
        };
        reader.missing.remove(&oid);
        reader.numbers.insert(oid, objects::number(oid, &found.data));
        if reader.missing.is_empty() {
            let number = |oid| reader.numbers[&oid];
            let money: i64 = objects::accounts().map(number).sum();
            let counted: i64 = objects::counters().map(number).sum();
            let sums = (money, counted);
            assert_eq!(
                sums,
                (TOTAL, number(TICKS)),
                "the snapshot of {} is inconsistent",
                reader.tid
            );
            shared.coverage.count("snapshots");
            shared.coverage.add("snapshots of old tids", u64::from(reader.tid < self.last_tid));
            self.readers.remove(index);
        }
    }

    fn request(&mut self, context: &mut Context<'_>, request: impl Into<Request>, query: Query) {
        let call = context.rig.act(|client, now| client.ask(now, request));
        self.pending.insert(call.id, PendingCall::Query(query));
    }

    pub(crate) fn send_query(&mut self, context: &mut Context<'_>) {
        let oid = Oid(context.random.next() % objects::UNUSED.0);
        let (acknowledged, last_tid) = (context.shared.acknowledged, self.last_tid);
        let (request, query): (Request, _) = match context.random.below(9) {
            0 | 1 => (Ping.into(), Query::Ping { acknowledged }),
            2 => (LastTransaction.into(), Query::Newest { acknowledged }),
            3 => (Info.into(), Query::Info),
            4 => (CurrentSerial(oid).into(), Query::CurrentSerial { oid, last_tid }),
            5 => {
                let before = self.some_tid(context.random);
                let Some(old) = context.shared.oracle.before(oid, before, last_tid) else { return };
                let serial = old.serial;
                (LoadSerial(oid, serial).into(), Query::OldRecord { oid, serial })
            }
            6 => (History(oid, 1 + context.random.below(4)).into(), Query::History { oid }),
            7 => {
                let from = Oid(oid.0 + 3);
                (NextRecord(Some(from)).into(), Query::NextRecord { from })
            }
            _ => (UndoLog { first: 0, last: -10 }.into(), Query::UndoLog),
        };
        self.request(context, request, query);
    }

    /// Requests a pack as of some commit, with or without waiting for it.
    pub(crate) fn pack(&mut self, context: &mut Context<'_>) {
        let tids: Vec<Tid> =
            context.shared.oracle.between(Tid::ZERO, self.last_tid).map(|it| it.0).collect();
        if tids.is_empty() {
            return;
        }
        let tid = tids[context.random.below(tids.len())];
        let (time, wait) = (tid.to_unix(), context.random.below(2) == 0);
        context.shared.oracle.pack(Tid::from_unix(time));
        context.shared.coverage.count("packs requested");
        self.log(context.shared, || format!("requests a pack as of {tid}"));
        self.request(context, Pack { time, wait }, Query::Pack);
    }

    pub(crate) fn read_blob(&mut self, context: &mut Context<'_>) {
        let oid = objects::some(context.random, objects::blobs());
        let before = self.some_tid(context.random);
        if let Some(Revision { serial, .. }) =
            context.shared.oracle.before(oid, before, self.last_tid)
        {
            let call = context.rig.act(|client, now| client.load_blob(now, oid, serial));
            self.pending.insert(call.id, PendingCall::Query(Query::Blob { oid, serial }));
        }
    }

    pub(crate) fn receive_blob(&mut self, oid: Oid, serial: Tid, part: BlobPart) {
        let download = self.downloads.entry((oid, serial)).or_default();
        match part {
            BlobPart::Start => *download = Download::default(),
            BlobPart::Chunk(bytes) => download.bytes.extend_from_slice(&bytes),
            BlobPart::End => download.is_whole = true,
            BlobPart::Lost => _ = self.downloads.remove(&(oid, serial)),
        }
    }

    pub(crate) fn iterate(&mut self, context: &mut Context<'_>) {
        if self.iteration.is_some() {
            return self.continue_iteration(context);
        }
        let known = self.last_tid;
        let mut bound = |one_in| {
            let tid = self.some_tid(context.random);
            (context.random.below(one_in) == 0 && tid <= known).then_some(tid)
        };
        let (start, stop) = (bound(2), bound(3));
        let last = start.map_or(Tid::ZERO, |start| Tid(start.0 - 1));
        let (id, records) = (None, None);
        let is_pending = true;
        self.iteration = Some(Iteration { id, start, stop, known, last, records, is_pending });
        self.request(context, IteratorStart { start, stop }, Query::Iterate(Step::Start));
    }

    pub(crate) fn continue_iteration(&mut self, context: &mut Context<'_>) {
        let Some(iteration) = self.iteration.as_mut().filter(|it| !it.is_pending) else { return };
        let Some(id) = iteration.id else { return };
        iteration.is_pending = true;
        match iteration.records.as_ref().map(|(id, _)| *id) {
            None => self.request(context, IteratorNext(id), Query::Iterate(Step::Next)),
            Some(id) => self.request(context, RecordsNext(id), Query::Iterate(Step::NextRecord)),
        }
    }

    /// Checks an answer against the oracle.
    pub(crate) fn check_answer(
        &mut self,
        query: Query,
        result: Result<Answer, CallError>,
        context: &mut Context<'_>,
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.check_refusal(&query, &error, context.shared),
        };
        let shared = &mut *context.shared;
        let what = match (query, answer) {
            (Query::Ping { acknowledged }, answer) => {
                read::<Ping>(answer);
                assert!(
                    self.last_tid >= acknowledged,
                    "a ping sent after {acknowledged} was answered at {}",
                    self.last_tid
                );
                "pings"
            }
            (Query::Newest { acknowledged }, answer) => {
                let tid = read::<LastTransaction>(answer);
                assert!(tid >= acknowledged, "the newest is {tid}, known is {acknowledged}");
                assert!(shared.oracle.records(tid).is_some(), "there is no commit {tid}");
                "requests for the last tid"
            }
            (Query::Info, answer) => {
                read::<Info>(answer);
                "requests for statistics"
            }
            (Query::CurrentSerial { oid, last_tid }, answer) => {
                let serial = read::<CurrentSerial>(answer);
                let known = shared.oracle.before(oid, last_tid.next(), last_tid);
                assert!(shared.oracle.record(serial, oid).is_some(), "{oid} has no {serial}");
                assert!(known.is_none_or(|known| serial >= known.serial), "{oid} is at {serial}");
                "requests for serials"
            }
            (Query::OldRecord { oid, serial }, answer) => {
                let data = read::<LoadSerial>(answer);
                assert_eq!(shared.oracle.record(serial, oid), Some(&Some(data)), "{oid} {serial}");
                "old records"
            }
            (Query::History { oid }, answer) => {
                check_history(oid, &read::<History>(answer), shared);
                "histories"
            }
            (Query::NextRecord { from }, answer) => {
                let found = read::<NextRecord>(answer);
                assert!(found.oid >= from, "{} comes after {from}", found.oid);
                let oracle = shared.oracle.record(found.serial, found.oid);
                assert_eq!(oracle, Some(&Some(found.data)), "{}", found.oid);
                "next records"
            }
            (Query::UndoLog, answer) => {
                return self.choose_undo(&read::<UndoLog>(answer), context);
            }
            (Query::Pack, answer) => {
                read::<Pack>(answer);
                "packs answered"
            }
            (Query::Blob { oid, serial }, Answer::Done) => {
                self.check_blob(oid, serial, shared);
                "blobs read"
            }
            (Query::Iterate(step), answer) => return self.iterated(step, answer, context),
            (query, answer) => panic!("{query:?} is answered with {answer:?}"),
        };
        shared.coverage.count(what);
    }

    /// Checks whether a refusal is legitimate.
    fn check_refusal(&mut self, query: &Query, error: &CallError, shared: &mut Shared) {
        if matches!(query, Query::Iterate(_)) {
            self.iteration = None;
        }
        let what = match (query, error) {
            (
                Query::OldRecord { oid, serial },
                CallError::Refused(Refused::NoSuchObject { .. }),
            ) => {
                assert!(shared.oracle.may_be_packed(*oid, serial.next()), "{oid} has no {serial}");
                "old records that were packed"
            }
            (Query::Blob { oid, serial }, CallError::Refused(Refused::NoSuchObject { .. })) => {
                assert!(shared.oracle.may_be_packed(*oid, serial.next()), "{oid} has no {serial}");
                "blobs that were packed"
            }
            (
                Query::CurrentSerial { oid, last_tid },
                CallError::Refused(Refused::NoSuchObject { .. }),
            ) => {
                assert_eq!(shared.oracle.before(*oid, last_tid.next(), *last_tid), None, "{oid}");
                "serials of missing objects"
            }
            (Query::History { oid }, CallError::Refused(Refused::NoSuchObject { .. })) => {
                assert!(objects::at_first(*oid).is_none(), "{oid} has no history");
                "histories of missing objects"
            }
            // Python's `ValueError` stands for "no more objects".
            (Query::NextRecord { from }, CallError::Refused(Refused::Other { class, .. }))
                if class == "builtins.ValueError" =>
            {
                assert!(*from >= objects::UNUSED, "there is nothing after {from}");
                "ends of the objects"
            }
            (Query::UndoLog, CallError::Refused(Refused::Undo { .. })) => "undo logs refused",
            (Query::Pack, CallError::Refused(_)) => "packs refused",
            (_, error) => return shared.allow_failure(error),
        };
        shared.coverage.count(what);
    }

    fn check_blob(&mut self, oid: Oid, serial: Tid, shared: &Shared) {
        let known = shared.oracle.blob(oid, serial).expect("it was stored");
        let download = self.downloads.get(&(oid, serial));
        let download =
            download.unwrap_or_else(|| panic!("no part of the blob of {oid} was received"));
        assert!(download.is_whole, "the end of the blob of {oid} was not received");
        assert_eq!(Bytes::copy_from_slice(&download.bytes), known, "the blob of {oid} {serial}");
    }

    /// Checks the undo log, and undoes one of its transactions.
    fn choose_undo(&mut self, entries: &[UndoEntry], context: &mut Context<'_>) {
        let mut chosen = None;
        for entry in entries {
            let text = String::from_utf8_lossy(&entry.description);
            let number: u64 = text.parse().unwrap_or_default();
            let Some(tid) = context.shared.oracle.committed(number) else {
                assert_eq!(number, 0, "transaction {number} was not committed");
                continue;
            };
            let records = context.shared.oracle.changed(tid);
            let is_transfer = records.iter().all(|oid| *oid < objects::counter(0));
            if is_transfer && !records.is_empty() && context.random.below(3) == 0 {
                chosen = Some((tid, entry.id.clone()));
            }
        }
        context.shared.coverage.count("undo logs");
        if let Some((tid, id)) = chosen {
            self.begin_undo(context, tid, id);
        }
    }

    fn iterated(&mut self, step: Step, answer: Answer, context: &mut Context<'_>) {
        let (shared, random) = (&mut *context.shared, &mut *context.random);
        let Some(iteration) = &mut self.iteration else { return };
        iteration.is_pending = false;
        match step {
            Step::Start => iteration.id = Some(read::<IteratorStart>(answer)),
            Step::StartRecords => {
                iteration.records = Some((read::<RecordsStart>(answer), BTreeSet::new()));
            }
            Step::Next => {
                let Some(found) = read::<IteratorNext>(answer) else {
                    iteration.check_end(shared);
                    self.iteration = None;
                    return;
                };
                iteration.check_transaction(&found, shared);
                if let Some(id) = iteration.id.filter(|_| random.below(2) == 0) {
                    iteration.is_pending = true;
                    let request = RecordsStart(id, found.tid);
                    return self.request(context, request, Query::Iterate(Step::StartRecords));
                }
            }
            Step::NextRecord => match read::<RecordsNext>(answer) {
                Some(found) => iteration.check_record(&found, shared),
                None => iteration.check_end_of_records(shared),
            },
        }
        if random.below(4) > 0 {
            self.follow_ups.push_back(FollowUp::Iterate);
        }
    }
}

/// The answer to a query of this type.
fn read<Q: rzeo_core::client::query::Query>(answer: Answer) -> Q::Answer {
    let Answer::Reply(reply) = answer else { panic!("{} is answered with {answer:?}", Q::METHOD) };
    reply.read::<Q>().unwrap_or_else(|error| panic!("{error}"))
}

/// Checks that a history is newest first, and that each entry is a commit that wrote the object.
fn check_history(oid: Oid, entries: &[Value], shared: &Shared) {
    let mut last = Tid::MAX;
    for entry in entries {
        let Some(Value::Bytes(tid)) = entry.item("tid") else { panic!("{entry:?} has no tid") };
        let tid = Tid::from_slice(tid).expect("a tid has eight bytes");
        assert!(tid < last, "{tid} comes before {last}");
        assert!(shared.oracle.record(tid, oid).is_some(), "{tid} has not changed {oid}");
        last = tid;
    }
}
