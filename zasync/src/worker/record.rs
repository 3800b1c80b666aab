//! The record of a worker, and its beats.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rzeo_core::{Tid, UnixTime};
use rzeo_objects::btree::{BTree, Family};
use rzeo_objects::{ObjectId, PersistentMapping, PyValue, Snapshot};

use crate::error::{Error, LayoutError, Refusal};
use crate::fields::Fields;
use crate::layout::{Queue, create_mapping, tree_below};
use crate::state::WorkerState;
use crate::tree::NamedTree;

/// What a worker tells of itself.
#[derive(Clone, Debug, Default)]
pub struct WorkerInfo {
    /// Patterns of the calls that it executes, with `*` and `?`. None means all.
    pub accept: Vec<String>,
    /// Number of jobs that it executes at the same time, until people change it.
    pub slots: u32,
    /// Name of its machine.
    pub host: String,
    /// Number of its process.
    pub pid: u32,
    /// Version of its program.
    pub version: String,
}

/// A worker as the database knows it.
#[derive(Clone, Debug)]
pub struct WorkerRecord {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: WorkerState,
    /// Patterns of the calls that it executes.
    pub accept: Vec<String>,
    /// The revision of its last beat. A worker is dead if this stays the same for long enough.
    pub beat: Tid,
    pub(crate) object: ObjectId,
    pub(crate) ping: ObjectId,
    pub(crate) active: NamedTree,
    fields: Fields,
}

impl WorkerRecord {
    /// Reads the record of a registered worker.
    ///
    /// # Errors
    /// [`Refusal::NoWorker`], [`LayoutError`].
    pub fn open(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<Self, Error> {
        let object = queue.workers.object(snapshot, &id.into())?;
        let object = object.ok_or_else(|| Refusal::NoWorker(id.to_string()))?;
        let path = queue.workers.path_of(&id.into());
        let fields = Fields::read(snapshot, object, path)?;
        let state = fields.need("state", fields.text("state")?)?;
        let state = WorkerState::from_text(&state).ok_or_else(|| LayoutError::Malformed {
            path: fields.path_of("state"),
            found: format!("{state:?}"),
            expected: "a state of a worker",
        })?;
        let text = |value: &PyValue| value.as_text().map(ToString::to_string);
        fields.below(snapshot, "ping")?;
        let ping = fields.need("ping", fields.object("ping")?)?;
        Ok(Self {
            id: id.to_string(),
            state,
            accept: fields.all("accept", "a tuple of texts", text)?,
            beat: snapshot.serial(ping)?,
            object,
            ping,
            active: tree_below(snapshot, &fields, "active", Family::LO)?,
            fields,
        })
    }

    /// Fails if the worker is in another state, and has the commit fail if it is then.
    pub(crate) fn check(
        &self,
        snapshot: &mut Snapshot,
        expected: WorkerState,
    ) -> Result<(), Error> {
        if self.state != expected {
            return Err(Refusal::WorkerState { found: self.state, expected }.into());
        }
        Ok(snapshot.check_current(self.object)?)
    }

    /// Fails if the worker was declared gone, and has the commit fail if it is then.
    pub(crate) fn check_not_gone(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        if self.state == WorkerState::Gone {
            let (found, expected) = (self.state, WorkerState::Up);
            return Err(Refusal::WorkerState { found, expected }.into());
        }
        Ok(snapshot.check_current(self.object)?)
    }

    /// Whether one of the worker's patterns is right for a call.
    #[must_use]
    pub fn accepts(&self, call: &str) -> bool {
        let mut patterns = self.accept.iter();
        self.accept.is_empty()
            || patterns.any(|pattern| matches(pattern.as_bytes(), call.as_bytes()))
    }

    /// The records that people change: this one, and `want`.
    pub(crate) fn settings(&self) -> Result<[ObjectId; 2], LayoutError> {
        Ok([self.object, self.fields.need("want", self.fields.object("want")?)?])
    }

    /// Writes the record as it is. Transactions of this worker that are still on their way to the storage
    /// check it, so they fail after this is committed.
    pub(crate) fn renew(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        self.check_not_gone(snapshot)?;
        snapshot.modify(self.object, |_: &mut PersistentMapping| {})?;
        Ok(())
    }

    pub(crate) fn write_state(
        &self,
        snapshot: &mut Snapshot,
        state: WorkerState,
    ) -> Result<(), Error> {
        snapshot.modify(self.object, |record: &mut PersistentMapping| {
            record.insert("state", state.text());
        })?;
        Ok(())
    }
}

/// Adds a worker to a queue. Its id has a random part, so that it is no other one's.
///
/// # Errors
/// [`Refusal::WorkerExists`], [`LayoutError`].
pub fn register(
    snapshot: &mut Snapshot,
    queue: &Queue,
    id: &str,
    info: &WorkerInfo,
    now: UnixTime,
) -> Result<(), Error> {
    if queue.workers.get(snapshot, id)?.is_some() {
        return Err(Refusal::WorkerExists(id.to_string()).into());
    }
    let accept = info.accept.iter().map(|pattern| pattern.as_str().into()).collect();
    let want = create_mapping(snapshot, [("slots", i64::from(info.slots).into())]);
    let ping = create_mapping(snapshot, [("n", 0.into()), ("time", now.0.into())]);
    let active = BTree::create(snapshot, Family::LO).reference();
    let items = [
        ("id", id.into()),
        ("state", WorkerState::Up.text().into()),
        ("host", info.host.as_str().into()),
        ("pid", i64::from(info.pid).into()),
        ("version", info.version.as_str().into()),
        ("started", now.0.into()),
        ("accept", PyValue::tuple(accept)),
        ("want", want),
        ("ping", ping),
        ("active", active),
    ];
    let worker = create_mapping(snapshot, items);
    queue.workers.set(snapshot, id, worker)?;
    Ok(())
}

/// Shows that a worker is alive (T14). `load` is what it tells of itself, such as the number of jobs that it
/// executes.
///
/// # Errors
/// [`Refusal::WorkerState`] of a worker that was declared gone, [`Refusal::NoWorker`], [`LayoutError`].
pub fn beat(
    snapshot: &mut Snapshot,
    queue: &Queue,
    id: &str,
    load: &[(&str, PyValue)],
    now: UnixTime,
) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    worker.check_not_gone(snapshot)?;
    let count = worker.fields.below(snapshot, "ping")?.count("n")?;
    snapshot.modify(worker.ping, |ping: &mut PersistentMapping| {
        ping.insert("n", i64::from(count.wrapping_add(1)));
        ping.insert("time", now.0);
        for (key, value) in load {
            ping.insert(key, value.clone());
        }
    })?;
    Ok(())
}

/// Has a worker take no more jobs.
///
/// # Errors
/// [`Refusal::WorkerState`] of a worker that is not up, [`Refusal::NoWorker`], [`LayoutError`].
pub fn drain(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    worker.check(snapshot, WorkerState::Up)?;
    worker.write_state(snapshot, WorkerState::Draining)
}

/// Ends a worker that has drained: it is gone and forgotten.
///
/// # Errors
/// [`Refusal::WorkerState`] of a worker that is not draining, [`Refusal::WorkerActive`],
/// [`Refusal::NoWorker`], [`LayoutError`].
pub fn leave(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<(), Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    worker.check(snapshot, WorkerState::Draining)?;
    if !worker.active.is_empty(snapshot)? {
        return Err(Refusal::WorkerActive.into());
    }
    worker.write_state(snapshot, WorkerState::Gone)?;
    queue.workers.remove(snapshot, id)?;
    Ok(())
}

/// Number of jobs that people want a worker to execute at the same time.
///
/// # Errors
/// [`Refusal::NoWorker`], [`LayoutError`].
pub fn wanted_slots(snapshot: &mut Snapshot, queue: &Queue, id: &str) -> Result<u32, Error> {
    let worker = WorkerRecord::open(snapshot, queue, id)?;
    Ok(worker.fields.below(snapshot, "want")?.count("slots")?)
}

/// Ids of all workers, in ascending order.
///
/// # Errors
/// [`LayoutError`].
pub fn workers(snapshot: &mut Snapshot, queue: &Queue) -> Result<Vec<String>, Error> {
    let (mut ids, mut entries) = (Vec::new(), queue.workers.entries(..)?);
    while let Some((id, _)) = entries.next(snapshot)? {
        let malformed = || {
            let path = format!("queues/{}/workers", queue.name());
            LayoutError::malformed(path, &id, "a text as id")
        };
        ids.push(id.as_text().ok_or_else(malformed)?.to_string());
    }
    Ok(ids)
}

/// Whether a pattern is right for a whole text. Takes time in proportion to both lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                // The last star stands for one byte more.
                Some((star_at, star_from)) => {
                    star = Some((star_at, star_from + 1));
                    at = star_at + 1;
                    from = star_from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_right_for_whole_calls() {
        for (pattern, text, expected) in [
            ("app.*", "app.mail:welcome", true),
            ("app.*", "application", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*:go", "a:go:go", true),
            ("*a*b", "xxaxxbxx", false),
            ("*a*b*", "xxaxxbxx", true),
        ] {
            let matched = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(matched, expected, "{pattern} {text}");
        }
    }
}
