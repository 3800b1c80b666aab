//! Everything that an application asks beside transactions: loads for a look, snapshots that take their
//! time, walks over transactions and records, blobs, figures, packs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rzeo_core::client::{
    Answer, BlobPart, CallError, IteratorId, Refused, Request, UndoEntry, WalkedTransaction,
};
use rzeo_core::ids::{Oid, Tid};
use rzeo_core::storage::{Record, Revision};
use rzeo_core::value::Value;

use crate::application::{Asked, Desk, Person, Shared, Then, Why};
use crate::objects::{self, TICKS, TOTAL};

/// What a request was for.
#[derive(Debug)]
pub(crate) enum Question {
    Ping { acknowledged: Tid },
    Newest { acknowledged: Tid },
    Figures,
    CurrentSerial { oid: Oid, told: Tid },
    OldRecord { oid: Oid, serial: Tid },
    History { oid: Oid },
    NextRecord { from: Oid },
    UndoLog,
    Pack,
    Walk,
    Blob { oid: Oid, serial: Tid },
}

/// Somebody who takes their time to read all that has a sum, as of one tid.
#[derive(Debug)]
pub(crate) struct Reader {
    number: u64,
    tid: Tid,
    missing: BTreeSet<Oid>,
    numbers: BTreeMap<Oid, i64>,
}

/// Somebody who walks over transactions.
#[derive(Debug)]
pub(crate) struct Walk {
    id: Option<IteratorId>,
    start: Option<Tid>,
    stop: Option<Tid>,
    /// What was committed when it began.
    known: Tid,
    /// The last transaction.
    last: Tid,
    /// The records of that, as far as they have come.
    records: Option<(IteratorId, BTreeSet<Oid>)>,
    is_asked: bool,
}

/// A blob on its way.
#[derive(Debug, Default)]
pub(crate) struct Download {
    bytes: Vec<u8>,
    is_whole: bool,
}

const READERS_MAX: usize = 2;

impl Person {
    /// One object, whatever there is of it.
    pub(crate) fn look(&mut self, desk: &mut Desk<'_>) {
        let oid = Oid(desk.random.next() % objects::UNUSED.0);
        let before = self.some_tid(desk.random);
        self.load(desk, oid, before, Why::Look);
    }

    pub(crate) fn prefetch(&mut self, desk: &mut Desk<'_>) {
        let oids: Vec<Oid> = (0..6).map(|_| Oid(desk.random.next() % objects::UNUSED.0)).collect();
        let before = self.some_tid(desk.random);
        desk.shared.coverage.count("prefetches");
        desk.rig.act(|client, _| client.prefetch(&oids, before));
    }

    pub(crate) fn begin_reading(&mut self) {
        if self.told == Tid::ZERO || self.readers.len() >= READERS_MAX {
            return;
        }
        self.last_reader += 1;
        let missing = objects::accounts().chain(objects::counters()).chain([TICKS]).collect();
        let (number, numbers) = (self.last_reader, BTreeMap::new());
        self.readers.push(Reader { number, tid: self.told, missing, numbers });
    }

    pub(crate) fn read_on(&mut self, desk: &mut Desk<'_>) {
        let Some(reader) = self.readers.first() else { return };
        let (before, why) = (reader.tid.next(), Why::Snapshot(reader.number));
        for oid in reader.missing.iter().take(3).copied().collect::<Vec<_>>() {
            self.load(desk, oid, before, why);
        }
    }

    pub(crate) fn add_up(
        &mut self,
        number: u64,
        oid: Oid,
        found: Option<Revision>,
        shared: &mut Shared,
    ) {
        let Some(place) = self.readers.iter().position(|reader| reader.number == number) else {
            return;
        };
        let reader = &mut self.readers[place];
        let Some(found) = found else {
            self.readers.remove(place);
            return;
        };
        reader.missing.remove(&oid);
        reader.numbers.insert(oid, objects::number(oid, &found.data));
        if reader.missing.is_empty() {
            let of = |oid| reader.numbers[&oid];
            let money: i64 = objects::accounts().map(of).sum();
            let counted: i64 = objects::counters().map(of).sum();
            let sums = (money, counted);
            assert_eq!(sums, (TOTAL, of(TICKS)), "the snapshot of {} is mixed", reader.tid);
            shared.coverage.count("snapshots");
            shared.coverage.add("snapshots of old tids", u64::from(reader.tid < self.told));
            self.readers.remove(place);
        }
    }

    fn ask(&mut self, desk: &mut Desk<'_>, request: Request, question: Question) {
        let call = desk.rig.act(|client, now| client.call(now, request));
        self.asked.insert(call, Asked::Question(question));
    }

    pub(crate) fn ask_something(&mut self, desk: &mut Desk<'_>) {
        let oid = Oid(desk.random.next() % objects::UNUSED.0);
        let (acknowledged, told) = (desk.shared.acknowledged, self.told);
        let (request, question) = match desk.random.below(9) {
            0 | 1 => (Request::Ping, Question::Ping { acknowledged }),
            2 => (Request::LastTransaction, Question::Newest { acknowledged }),
            3 => (Request::Info, Question::Figures),
            4 => (Request::CurrentSerial(oid), Question::CurrentSerial { oid, told }),
            5 => {
                let before = self.some_tid(desk.random);
                let Some(old) = desk.shared.truth.before(oid, before, told) else { return };
                let serial = old.serial;
                (Request::LoadSerial(oid, serial), Question::OldRecord { oid, serial })
            }
            6 => (Request::History(oid, 1 + desk.random.below(4)), Question::History { oid }),
            7 => {
                let from = Oid(oid.0 + 3);
                (Request::NextRecord(Some(from)), Question::NextRecord { from })
            }
            _ => (Request::UndoLog { first: 0, last: -10 }, Question::UndoLog),
        };
        self.ask(desk, request, question);
    }

    /// As of some commit, with or without waiting for it.
    pub(crate) fn pack(&mut self, desk: &mut Desk<'_>) {
        let tids: Vec<Tid> =
            desk.shared.truth.between(Tid::ZERO, self.told).map(|it| it.0).collect();
        if tids.is_empty() {
            return;
        }
        let tid = tids[desk.random.below(tids.len())];
        let (time, wait) = (tid.to_unix(), desk.random.below(2) == 0);
        desk.shared.truth.pack(Tid::from_unix(time));
        desk.shared.coverage.count("packs asked for");
        self.say(desk.shared, || format!("asks for a pack as of {tid}"));
        self.ask(desk, Request::Pack { time, wait }, Question::Pack);
    }

    pub(crate) fn read_blob(&mut self, desk: &mut Desk<'_>) {
        let oid = objects::some(desk.random, objects::blobs());
        let before = self.some_tid(desk.random);
        if let Some(Revision { serial, .. }) = desk.shared.truth.before(oid, before, self.told) {
            self.ask(desk, Request::LoadBlob(oid, serial), Question::Blob { oid, serial });
        }
    }

    pub(crate) fn blob_comes(&mut self, oid: Oid, serial: Tid, part: BlobPart) {
        let download = self.downloads.entry((oid, serial)).or_default();
        match part {
            BlobPart::Start => *download = Download::default(),
            BlobPart::Chunk(bytes) => download.bytes.extend_from_slice(&bytes),
            BlobPart::End => download.is_whole = true,
            BlobPart::Lost => _ = self.downloads.remove(&(oid, serial)),
        }
    }

    pub(crate) fn walk(&mut self, desk: &mut Desk<'_>) {
        if self.walk.is_some() {
            return self.walk_on(desk);
        }
        let known = self.told;
        let mut bound = |one_of| {
            let tid = self.some_tid(desk.random);
            (desk.random.below(one_of) == 0 && tid <= known).then_some(tid)
        };
        let (start, stop) = (bound(2), bound(3));
        let last = start.map_or(Tid::ZERO, |start| Tid(start.0 - 1));
        let (id, records) = (None, None);
        self.walk = Some(Walk { id, start, stop, known, last, records, is_asked: true });
        self.ask(desk, Request::IteratorStart { start, stop }, Question::Walk);
    }

    pub(crate) fn walk_on(&mut self, desk: &mut Desk<'_>) {
        let Some(walk) = self.walk.as_mut().filter(|walk| !walk.is_asked) else { return };
        let Some(id) = walk.id else { return };
        walk.is_asked = true;
        let records = walk.records.as_ref().map(|(id, _)| *id);
        let request = records.map_or(Request::IteratorNext(id), Request::RecordsNext);
        self.ask(desk, request, Question::Walk);
    }

    /// An answer, and whether it is the truth.
    pub(crate) fn hear_answer(
        &mut self,
        question: Question,
        result: Result<Answer, CallError>,
        desk: &mut Desk<'_>,
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.hear_refusal(&question, &error, desk.shared),
        };
        let shared = &mut *desk.shared;
        let what = match (question, answer) {
            (Question::Ping { acknowledged }, Answer::Done) => {
                assert!(self.told >= acknowledged, "pinged at {acknowledged}, {}", self.told);
                "pings"
            }
            (Question::Newest { acknowledged }, Answer::Tid(tid)) => {
                assert!(tid >= acknowledged, "the newest is {tid}, known is {acknowledged}");
                assert!(shared.truth.records(tid).is_some(), "there is no commit {tid}");
                "questions for the newest commit"
            }
            (Question::Figures, Answer::Info(_)) => "questions for figures",
            (Question::CurrentSerial { oid, told }, Answer::Tid(serial)) => {
                let known = shared.truth.before(oid, told.next(), told);
                assert!(shared.truth.record(serial, oid).is_some(), "{oid} has no {serial}");
                assert!(known.is_none_or(|known| serial >= known.serial), "{oid} is at {serial}");
                "questions for serials"
            }
            (Question::OldRecord { oid, serial }, Answer::Data(data)) => {
                assert_eq!(shared.truth.record(serial, oid), Some(&Some(data)), "{oid} {serial}");
                "old records"
            }
            (Question::History { oid }, Answer::History(entries)) => {
                judge_history(oid, &entries, shared);
                "histories"
            }
            (Question::NextRecord { from }, Answer::Current(found)) => {
                assert!(found.oid >= from, "{} comes after {from}", found.oid);
                let truth = shared.truth.record(found.serial, found.oid);
                assert_eq!(truth, Some(&Some(found.data)), "{}", found.oid);
                "walks over objects"
            }
            (Question::UndoLog, Answer::UndoLog(entries)) => {
                return self.choose_undo(&entries, desk);
            }
            (Question::Pack, Answer::Done) => "packs answered",
            (Question::Blob { oid, serial }, Answer::Done) => {
                self.judge_blob(oid, serial, shared);
                "blobs read"
            }
            (Question::Walk, answer) => return self.walked(answer, desk),
            (question, answer) => panic!("{question:?} is answered with {answer:?}"),
        };
        shared.coverage.count(what);
    }

    /// A refusal, and whether it may be.
    fn hear_refusal(&mut self, question: &Question, error: &CallError, shared: &mut Shared) {
        if matches!(question, Question::Walk) {
            self.walk = None;
        }
        let what = match (question, error) {
            (
                Question::OldRecord { oid, serial },
                CallError::Refused(Refused::NoSuchObject { .. }),
            ) => {
                assert!(shared.truth.may_be_gone(*oid, serial.next()), "{oid} has no {serial}");
                "old records that were packed away"
            }
            (Question::Blob { oid, serial }, CallError::Refused(Refused::NoSuchObject { .. })) => {
                assert!(shared.truth.may_be_gone(*oid, serial.next()), "{oid} has no {serial}");
                "blobs that were packed away"
            }
            (
                Question::CurrentSerial { oid, told },
                CallError::Refused(Refused::NoSuchObject { .. }),
            ) => {
                assert_eq!(shared.truth.before(*oid, told.next(), *told), None, "{oid}");
                "serials of nothing"
            }
            (Question::History { oid }, CallError::Refused(Refused::NoSuchObject { .. })) => {
                assert!(objects::at_first(*oid).is_none(), "{oid} has no history");
                "histories of nothing"
            }
            // No more objects, which Python says with a ValueError.
            (Question::NextRecord { from }, CallError::Refused(Refused::Other { class, .. }))
                if class == "builtins.ValueError" =>
            {
                assert!(*from >= objects::UNUSED, "there is nothing after {from}");
                "ends of walks over objects"
            }
            (Question::UndoLog, CallError::Refused(Refused::Undo { .. })) => "no undo log now",
            (Question::Pack, CallError::Refused(_)) => "packs refused",
            (_, error) => return shared.away(error),
        };
        shared.coverage.count(what);
    }

    fn judge_blob(&mut self, oid: Oid, serial: Tid, shared: &Shared) {
        let known = shared.truth.blob(oid, serial).expect("it was stored");
        let download = self.downloads.get(&(oid, serial));
        let download = download.unwrap_or_else(|| panic!("nothing came of the blob of {oid}"));
        assert!(download.is_whole, "the blob of {oid} has not ended");
        assert_eq!(Bytes::copy_from_slice(&download.bytes), known, "the blob of {oid} {serial}");
    }

    /// Undoable transactions are what was committed, newest first; one of them is undone.
    fn choose_undo(&mut self, entries: &[UndoEntry], desk: &mut Desk<'_>) {
        let mut chosen = None;
        for entry in entries {
            let text = String::from_utf8_lossy(&entry.description);
            let number: u64 = text.parse().unwrap_or_default();
            let Some(tid) = desk.shared.truth.committed(number) else {
                assert_eq!(number, 0, "transaction {number} was not committed");
                continue;
            };
            let records = desk.shared.truth.changed(tid);
            let is_transfer = records.iter().all(|oid| *oid < objects::counter(0));
            if is_transfer && !records.is_empty() && desk.random.below(3) == 0 {
                chosen = Some((tid, entry.id.clone()));
            }
        }
        desk.shared.coverage.count("undo logs");
        if let Some((tid, id)) = chosen {
            self.begin_undo(desk, tid, id);
        }
    }

    fn walked(&mut self, answer: Answer, desk: &mut Desk<'_>) {
        let (shared, random) = (&mut *desk.shared, &mut *desk.random);
        let Some(walk) = &mut self.walk else { return };
        walk.is_asked = false;
        match answer {
            Answer::Iterator(id) if walk.id.is_none() => walk.id = Some(id),
            Answer::Iterator(id) => walk.records = Some((id, BTreeSet::new())),
            Answer::Transaction(Some(found)) => {
                walk.transaction(&found, shared);
                if let Some(id) = walk.id.filter(|_| random.below(2) == 0) {
                    walk.is_asked = true;
                    let request = Request::RecordsStart(id, found.tid);
                    return self.ask(desk, request, Question::Walk);
                }
            }
            Answer::Transaction(None) => {
                walk.ends(shared);
                self.walk = None;
                return;
            }
            Answer::Record(Some(found)) => walk.record(&found, shared),
            Answer::Record(None) => walk.records_end(shared),
            other => panic!("a walk is answered with {other:?}"),
        }
        if random.below(4) > 0 {
            self.then.push_back(Then::WalkOn);
        }
    }
}

impl Walk {
    /// The next transaction is the next that there is, but for those that a pack may have removed.
    fn transaction(&mut self, found: &WalkedTransaction, shared: &mut Shared) {
        let tid = found.tid;
        assert!(tid > self.last, "{tid} comes after {}", self.last);
        assert!(self.start.is_none_or(|start| tid >= start), "{tid} is before {:?}", self.start);
        assert!(self.stop.is_none_or(|stop| tid <= stop), "{tid} is after {:?}", self.stop);
        let description = shared.truth.description(tid);
        assert_eq!(description, Some(&found.description), "the description of {tid}");
        skipped(self.last, Tid(tid.0 - 1), shared);
        self.last = tid;
        shared.coverage.count("transactions walked to");
        shared.coverage.add("packed transactions walked to", u64::from(found.status == b'p'));
    }

    fn ends(&self, shared: &mut Shared) {
        skipped(self.last, self.stop.map_or(self.known, |stop| stop.min(self.known)), shared);
        shared.coverage.count("walks to the end");
    }

    fn record(&mut self, found: &Record, shared: &mut Shared) {
        let truth = shared.truth.record(self.last, found.oid);
        assert_eq!(truth, Some(&found.data), "{} of {}", found.oid, self.last);
        if let Some((_, seen)) = &mut self.records {
            seen.insert(found.oid);
        }
        shared.coverage.count("records walked to");
    }

    fn records_end(&mut self, shared: &Shared) {
        let Some((_, seen)) = self.records.take() else { return };
        if self.last > shared.truth.packed_to() {
            let known = shared.truth.records(self.last);
            assert_eq!(Some(seen.len()), known, "the records of {}", self.last);
        }
    }
}

/// Whatever is between two transactions of a walk may have been packed away.
fn skipped(after: Tid, up_to: Tid, shared: &Shared) {
    for (tid, _) in shared.truth.between(after, up_to) {
        assert!(tid <= shared.truth.packed_to(), "a walk has missed {tid}");
    }
}

/// Newest first, and each a commit that wrote the object.
fn judge_history(oid: Oid, entries: &[Value], shared: &Shared) {
    let mut last = Tid::MAX;
    for entry in entries {
        let Some(Value::Bytes(tid)) = entry.item("tid") else { panic!("{entry:?} has no tid") };
        let tid = Tid::from_slice(tid).expect("a tid has eight bytes");
        assert!(tid < last, "{tid} comes before {last}");
        assert!(shared.truth.record(tid, oid).is_some(), "{tid} has not changed {oid}");
        last = tid;
    }
}
