//! Ranges of items, in ascending order.
//!
//! A range is a position and an end. It follows the chain of buckets and reads one when it gets there;
//! if that is not loaded, the position stays where it is, and the next call goes on from there. The
//! further a range goes, the more buckets it asks for at once.

use alloc::collections::BTreeSet;
use core::cmp::Ordering;
use core::ops::Bound;

use super::error::Damage;
use super::leaf::{Leaf, Root, Search, search};
use super::nodes::damaged;
use super::order::order;
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// Maximum buckets that a range asks for at once.
const AHEAD_MAX: usize = 64;

/// The rest of a range of items.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    root: Root,
    position: Position,
    end: Bound<PyValue>,
    /// The key of the last item that was given.
    given: Option<PyValue>,
    /// The buckets that others have led to.
    visited: BTreeSet<ObjectId>,
    /// Number of buckets to load together the next time that one is lacking.
    ahead: usize,
}

#[derive(Clone, Debug)]
enum Position {
    /// Before the first item that is within the bound.
    Start(Bound<PyValue>),
    /// Before an item of a leaf.
    At(Leaf, usize),
    /// After the last item.
    End,
}

impl Cursor {
    /// The items between two keys.
    pub(super) const fn new(root: Root, start: Bound<PyValue>, end: Bound<PyValue>) -> Self {
        Self {
            root,
            position: Position::Start(start),
            end,
            given: None,
            visited: BTreeSet::new(),
            ahead: 1,
        }
    }

    /// The next item: its key, and its value or `None` in sets.
    pub(super) fn next(
        &mut self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<(PyValue, PyValue)>, Error> {
        loop {
            let (leaf, at) = match &self.position {
                Position::End => return Ok(None),
                Position::Start(start) => {
                    self.position = self.start(snapshot, start)?;
                    continue;
                }
                Position::At(leaf, at) => (*leaf, *at),
            };
            let found = leaf.look(snapshot, self.root.layout, |bucket| {
                let item = bucket.keys().get(at).map(|key| (key.clone(), bucket.value(at)));
                item.ok_or((bucket.len(), bucket.next))
            });
            match self.or_read_ahead(snapshot, found)? {
                Ok((key, value)) => {
                    if !self.is_before_end(&key)? {
                        self.position = Position::End;
                        return Ok(None);
                    }
                    self.position = Position::At(leaf, at + 1);
                    self.given = Some(key.clone());
                    return Ok(Some((key, value)));
                }
                Err(_) if !self.root.is_tree => self.position = Position::End,
                Err((0, _)) => return Err(damaged(leaf.id(), Damage::Empty)),
                Err((_, Some(next))) if self.visited.insert(next) => {
                    self.position = Position::At(Leaf::Bucket(next), 0);
                }
                // Else a chain that leads back would have no end.
                Err((_, Some(_))) => return Err(damaged(leaf.id(), Damage::NextBucket)),
                Err((_, None)) => self.position = Position::End,
            }
        }
    }

    /// If a bucket is lacking, asks for some of those after it as well.
    fn or_read_ahead<T>(
        &mut self,
        snapshot: &mut Snapshot,
        found: Result<T, Error>,
    ) -> Result<T, Error> {
        if let (Err(Error::NotLoaded(_)), Some(given)) = (&found, &self.given)
            && let Ok(Some(Search { parent: Some((parent, at)), .. })) =
                search(snapshot, self.root, given)
            && let Some(children) = parent.children()
        {
            let following = children.keys[at..].iter().zip(&children.ids[at + 1..]);
            let within = following.take_while(|(key, _)| self.is_before_end(key).unwrap_or(false));
            snapshot.want(within.take(self.ahead).filter_map(|(_, child)| child.oid()));
            self.ahead = (2 * self.ahead).min(AHEAD_MAX);
        }
        found
    }

    fn start(&self, snapshot: &mut Snapshot, start: &Bound<PyValue>) -> Result<Position, Error> {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else {
            let first = Leaf::first(snapshot, self.root)?;
            return Ok(first.map_or(Position::End, |leaf| Position::At(leaf, 0)));
        };
        let Some(found) = search(snapshot, self.root, key)? else { return Ok(Position::End) };
        let at = match found.leaf.look(snapshot, self.root.layout, |bucket| bucket.find(key))?? {
            Ok(at) if matches!(start, Bound::Excluded(_)) => at + 1,
            Ok(at) | Err(at) => at,
        };
        Ok(Position::At(found.leaf, at))
    }

    fn is_before_end(&self, key: &PyValue) -> Result<bool, Error> {
        Ok(match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => order(key, end)? != Ordering::Greater,
            Bound::Excluded(end) => order(key, end)? == Ordering::Less,
        })
    }
}
