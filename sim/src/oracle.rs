//! The oracle: the expected contents of the database, found without the code that is tested.
//!
//! It reads the file with its own reader ([`file_reader`]) whenever a server may have written, and after each
//! crash. Applications report the [`Plan`] of a transaction before its vote, and its [`Outcome`] at the end. The
//! oracle checks:
//!
//! * that tids grow, and that each commit is exactly what its application planned;
//! * that the first committer wins: a transaction changes revisions that it has read, or the conflict was resolved;
//! * that the accounts keep their sum, and [`TICKS`] is the sum of the counters, at every commit;
//! * that no crash and no pack loses or changes a commit;
//! * loads, as of any tid.
//!
//! A pack may only remove revisions that were replaced before its time.

use std::collections::BTreeMap;

use bytes::Bytes;
use rzeo_core::storage::Revision;
use rzeo_core::{Oid, Tid};

use crate::file_reader::{self, Commit};
use crate::objects::{self, TICKS, TOTAL};

/// The writes of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Objects, with the serial that was read and the new record of each.
    pub writes: BTreeMap<Oid, (Tid, Bytes)>,
    /// Objects that must not have changed.
    pub depends: Vec<(Oid, Tid)>,
    /// The commit that it undoes.
    pub undoes: Option<Tid>,
    /// The contents of the blobs among the objects.
    pub blobs: BTreeMap<Oid, Bytes>,
}

/// The outcome of a transaction, as far as its application knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Committed with this tid.
    Committed(Tid),
    /// Not committed.
    NotCommitted,
    /// The connection was lost during the finish.
    Unknown,
}

/// The expected contents of the database.
#[derive(Debug, Default)]
pub struct Oracle {
    commits: BTreeMap<Tid, BTreeMap<Oid, Option<Bytes>>>,
    descriptions: BTreeMap<Tid, Bytes>,
    objects: BTreeMap<Oid, BTreeMap<Tid, Option<Bytes>>>,
    numbers: BTreeMap<Oid, i64>,
    blobs: BTreeMap<(Oid, Tid), Bytes>,
    plans: BTreeMap<u64, Plan>,
    committed: BTreeMap<u64, Tid>,
    outcomes: BTreeMap<u64, Outcome>,
    /// A pack may have removed the revisions that were replaced up to this tid.
    packed_to: Tid,
    /// Position in the file up to which it was read.
    read_to: usize,
    /// Position of the last transaction.
    last_at: usize,
    /// Whether clients resolve conflicts.
    pub clients_resolve: bool,
    /// Number of resolved conflicts.
    pub resolved: u64,
}

impl Oracle {
    /// Takes the plan of a transaction; its description is this number.
    pub fn plan(&mut self, number: u64, plan: Plan) {
        self.plans.insert(number, plan);
    }

    /// Takes the outcome of a transaction.
    ///
    /// # Panics
    /// If the outcome is wrong.
    pub fn outcome(&mut self, number: u64, outcome: Outcome) {
        if let Outcome::Committed(tid) = outcome {
            let known = self.committed.get(&number);
            assert_eq!(known, Some(&tid), "transaction {number} was acknowledged");
        }
        let known = self.outcomes.insert(number, outcome);
        assert!(known.is_none(), "transaction {number} is {outcome:?} and {known:?}");
    }

    /// Takes the time of a pack that was requested.
    pub fn pack(&mut self, time: Tid) {
        self.packed_to = self.packed_to.max(time);
    }

    /// The tid up to which a pack may have removed replaced revisions.
    #[must_use]
    pub const fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// The newest commit.
    #[must_use]
    pub fn last_tid(&self) -> Tid {
        self.commits.keys().next_back().copied().unwrap_or_default()
    }

    /// All commits after one, up to another, with the objects that they changed.
    pub fn between(&self, after: Tid, up_to: Tid) -> impl Iterator<Item = (Tid, Vec<Oid>)> {
        let range = self.commits.range(after.next()..=up_to.max(after.next()));
        let range = range.filter(move |(tid, _)| **tid <= up_to);
        range.map(|(tid, records)| (*tid, records.keys().copied().collect()))
    }

    /// The record that a commit wrote of an object, if it did.
    #[must_use]
    pub fn record(&self, tid: Tid, oid: Oid) -> Option<&Option<Bytes>> {
        self.commits.get(&tid)?.get(&oid)
    }

    /// The commit of a transaction.
    #[must_use]
    pub fn committed(&self, number: u64) -> Option<Tid> {
        self.committed.get(&number).copied()
    }

    /// The objects that a commit changed.
    #[must_use]
    pub fn changed(&self, tid: Tid) -> Vec<Oid> {
        self.commits.get(&tid).map(|it| it.keys().copied().collect()).unwrap_or_default()
    }

    /// Number of records of a commit; `None` if there is no such commit.
    #[must_use]
    pub fn records(&self, tid: Tid) -> Option<usize> {
        self.commits.get(&tid).map(BTreeMap::len)
    }

    /// The description of a commit.
    #[must_use]
    pub fn description(&self, tid: Tid) -> Option<&Bytes> {
        self.descriptions.get(&tid)
    }

    /// The content of a revision's blob.
    #[must_use]
    pub fn blob(&self, oid: Oid, serial: Tid) -> Option<&Bytes> {
        self.blobs.get(&(oid, serial))
    }

    /// All revisions with blobs, and their contents.
    #[must_use]
    pub const fn blobs(&self) -> &BTreeMap<(Oid, Tid), Bytes> {
        &self.blobs
    }

    /// The revision that was current before a tid.
    fn serial_before(&self, oid: Oid, bound: Tid) -> Option<(Tid, &Option<Bytes>)> {
        let revisions = self.objects.get(&oid)?;
        revisions.range(..bound).next_back().map(|(serial, data)| (*serial, data))
    }

    /// The revision before a tid, as seen with all commits up to another tid.
    #[must_use]
    pub fn before(&self, oid: Oid, bound: Tid, as_of: Tid) -> Option<Revision> {
        let (serial, data) = self.serial_before(oid, bound.min(as_of.next()))?;
        let next = self.objects.get(&oid)?.range(serial.next()..).next();
        let end = next.map(|(tid, _)| *tid).filter(|tid| *tid <= as_of);
        data.clone().map(|data| Revision { data, serial, end })
    }

    /// Whether a pack may have removed the revision of an object before a tid, if there was one.
    #[must_use]
    pub fn may_be_packed(&self, oid: Oid, bound: Tid) -> bool {
        let Some((serial, _)) = self.serial_before(oid, bound) else { return true };
        let next = self.objects.get(&oid).and_then(|it| it.range(serial.next()..).next());
        next.is_some_and(|(tid, _)| *tid <= self.packed_to)
    }

    /// Reads the commits that a server has appended, up to its last tid.
    ///
    /// # Panics
    /// If a check fails.
    pub fn read_new(&mut self, file: &[u8], last_tid: Tid) {
        if !self.continues(file) {
            self.read_all(file, last_tid);
        }
        while let Some((commit, end)) =
            file_reader::commit_at(file, self.read_to.max(file_reader::START))
            && commit.tid <= last_tid
        {
            self.last_at = commit.at;
            self.read_to = end;
            self.add_commit(commit);
        }
        assert_eq!(self.last_tid(), last_tid, "the last commit is not in the file");
    }

    /// Whether the file is the one that was read last, perhaps longer.
    fn continues(&self, file: &[u8]) -> bool {
        let last = file_reader::commit_at(file, self.last_at);
        self.read_to == 0
            || last
                .is_some_and(|(commit, end)| (commit.tid, end) == (self.last_tid(), self.read_to))
    }

    /// Reads a file from the start, as after a crash or a pack.
    ///
    /// # Panics
    /// If a check fails.
    pub fn read_all(&mut self, file: &[u8], last_tid: Tid) {
        let commits = file_reader::commits(file);
        self.compare(&commits);
        self.read_to = 0;
        let last = self.last_tid();
        for commit in commits.into_iter().take_while(|commit| commit.tid <= last_tid) {
            let (at, tid) = (commit.at, commit.tid);
            if tid > last {
                self.add_commit(commit);
            }
            self.last_at = at;
            self.read_to = file_reader::commit_at(file, at).map_or(0, |(_, end)| end);
        }
    }

    /// Checks that every commit is there and unchanged, except for revisions that a pack may remove.
    ///
    /// # Panics
    /// If one is not.
    pub fn compare(&self, found: &[Commit]) {
        let mut current = BTreeMap::new();
        let found: BTreeMap<Tid, &Commit> =
            found.iter().map(|commit| (commit.tid, commit)).collect();
        for (tid, commit) in &found {
            let Some(known) = self.commits.get(tid) else { continue };
            let records: BTreeMap<Oid, &Option<Bytes>> =
                commit.records.iter().map(|(oid, data)| (*oid, data)).collect();
            for (oid, data) in &records {
                assert_eq!(known.get(oid), Some(*data), "{oid} of {tid}");
                current.insert(*oid, (*tid, *data));
            }
            if *tid > self.packed_to {
                assert_eq!(records.len(), known.len(), "records of {tid} are lost");
            }
        }
        for tid in self.commits.range(self.packed_to.next()..).map(|(tid, _)| tid) {
            assert!(found.contains_key(tid), "commit {tid} is lost");
        }
        for (oid, revisions) in &self.objects {
            let newest = revisions.iter().next_back().map(|(tid, data)| (*tid, data));
            assert_eq!(current.get(oid).copied(), newest, "the current revision of {oid}");
        }
    }

    /// Adds a commit and checks it.
    fn add_commit(&mut self, commit: Commit) {
        let tid = commit.tid;
        assert!(tid > self.last_tid(), "{tid} comes after {}", self.last_tid());
        let text = String::from_utf8_lossy(&commit.description);
        let number: u64 = text.parse().unwrap_or_default();
        let records: BTreeMap<Oid, Option<Bytes>> = commit.records.into_iter().collect();
        if number > 0 {
            let plan =
                self.plans.get(&number).unwrap_or_else(|| panic!("no application planned {text}"));
            let resolved = self.check_commit(tid, plan, &records);
            let before = self.committed.get(&number);
            assert!(before.is_none(), "transaction {number} is in {before:?} and in {tid}");
            let blobs = plan.blobs.iter().map(|(oid, bytes)| ((*oid, tid), bytes.clone()));
            self.blobs.extend(blobs);
            self.resolved += resolved;
            self.committed.insert(number, tid);
        }
        for (oid, data) in &records {
            self.objects.entry(*oid).or_default().insert(tid, data.clone());
            if let Some(data) = data
                && objects::is_a_sum(*oid)
            {
                self.numbers.insert(*oid, objects::number(*oid, data));
            }
        }
        self.descriptions.insert(tid, commit.description);
        self.commits.insert(tid, records);
        self.check_sums(tid);
    }

    /// Checks a commit against its plan; returns the number of resolved conflicts.
    fn check_commit(&self, tid: Tid, plan: &Plan, records: &BTreeMap<Oid, Option<Bytes>>) -> u64 {
        for (oid, serial) in &plan.depends {
            let now = self.serial_before(*oid, Tid::MAX).map(|(serial, _)| serial);
            assert_eq!(now, Some(*serial), "{tid} depends on an old revision of {oid}");
        }
        if let Some(undone) = plan.undoes {
            let changed = self
                .commits
                .get(&undone)
                .expect("an application undoes only commits of the oracle");
            assert!(records.keys().eq(changed.keys()), "{tid} undoes another commit");
            for (oid, data) in records {
                let before = self.serial_before(*oid, undone).map(|(_, data)| data);
                assert_eq!(before, Some(data), "{oid} of {tid}, which undoes {undone}");
            }
            return 0;
        }
        let mut resolved = 0;
        assert!(records.keys().eq(plan.writes.keys()), "{tid} differs from its plan");
        for (oid, (read, new)) in &plan.writes {
            let current = self.serial_before(*oid, Tid::MAX);
            if current.map_or(Tid::ZERO, |(serial, _)| serial) == *read {
                assert_eq!(records[oid].as_ref(), Some(new), "{oid} of {tid}");
                continue;
            }
            resolved += 1;
            let may_resolve = *oid == TICKS || self.clients_resolve && objects::is_a_sum(*oid);
            assert!(may_resolve, "{tid} overwrites a change of {oid} that it has not seen");
            let base = self.record(*read, *oid).expect("it was read").clone();
            let committed = current.and_then(|(_, data)| data.clone());
            let expected = base.zip(committed).map(|(base, committed)| {
                objects::number(*oid, &objects::resolved(*oid, &base, &committed, new))
            });
            let stored = records[oid].as_ref().map(|data| objects::number(*oid, data));
            assert_eq!(stored, expected, "{oid} of {tid}, a resolved conflict");
        }
        resolved
    }

    /// Checks the sums of accounts and counters.
    fn check_sums(&self, tid: Tid) {
        let number = |oid| self.numbers.get(&oid).copied().unwrap_or_default();
        let money: i64 = objects::accounts().map(number).sum();
        assert_eq!(money, TOTAL, "the accounts' sum after {tid}");
        let counted: i64 = objects::counters().map(number).sum();
        assert_eq!(number(TICKS), counted, "the ticks after {tid}");
    }

    /// Checks at the end that outcomes and commits agree.
    ///
    /// # Panics
    /// If they do not.
    pub fn compare_outcomes(&self) {
        for (number, outcome) in &self.outcomes {
            let committed = self.committed.get(number);
            match outcome {
                Outcome::Committed(tid) => assert_eq!(committed, Some(tid)),
                Outcome::NotCommitted => {
                    assert_eq!(
                        committed, None,
                        "transaction {number} was reported as not committed"
                    );
                }
                Outcome::Unknown => {}
            }
        }
    }
}
