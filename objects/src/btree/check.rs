//! Checks that the records of a tree agree with each other, as `_check` of a tree and
//! `BTrees.check.check` do in Python.
//!
//! - Keys ascend in every node, and are within what the keys of the parent allow.
//! - No bucket is empty, and no node but the root.
//! - Every node knows the first bucket below it, and every bucket the next one.

use super::error::{Damage, LEVELS_MAX};
use super::leaf::Root;
use super::nodes::{bucket, damaged, node};
use super::order::order;
use super::tree_node::Content;
use crate::error::Error;
use crate::reference::ObjectId;
use crate::snapshot::Snapshot;
use crate::value::PyValue;

/// What the parent says about a node: its keys are not below the first and below the second.
#[derive(Clone, Copy, Default)]
struct KeyRange<'a> {
    min: Option<&'a PyValue>,
    end: Option<&'a PyValue>,
}

/// Checks a tree or a bucket.
pub(super) fn check(snapshot: &mut Snapshot, root: Root) -> Result<(), Error> {
    let mut check = Check { snapshot, root };
    if root.is_tree {
        check.node(root.id, KeyRange::default(), None, 0)
    } else {
        let found = bucket(check.snapshot, root.layout, root.id)?;
        check_keys(root.id, found.keys(), KeyRange::default())
    }
}

struct Check<'a> {
    snapshot: &'a mut Snapshot,
    root: Root,
}

impl Check<'_> {
    fn node(
        &mut self,
        id: ObjectId,
        range: KeyRange<'_>,
        next: Option<ObjectId>,
        depth: u32,
    ) -> Result<(), Error> {
        let found = node(self.snapshot, self.root.layout, id)?;
        let children = match &found.content {
            Content::OneBucket(_) if depth > 0 => return Err(damaged(id, Damage::NestedBucket)),
            Content::OneBucket(bucket) if bucket.len() == 0 => {
                return Err(damaged(id, Damage::Empty));
            }
            Content::OneBucket(bucket) => return check_keys(id, bucket.keys(), range),
            Content::Children(children) if children.ids.is_empty() && depth > 0 => {
                return Err(damaged(id, Damage::Empty));
            }
            Content::Children(children) => children,
        };
        if depth == LEVELS_MAX {
            return Err(damaged(id, Damage::TooDeep));
        }
        check_keys(id, &children.keys, range)?;
        self.snapshot.want(children.ids.iter().filter_map(|id| id.oid()));
        for (at, child) in children.ids.iter().enumerate() {
            let first = self.first(*child, children.are_buckets)?;
            if at == 0 && first != children.first {
                return Err(damaged(id, Damage::FirstBucket));
            }
            let next = match children.ids.get(at + 1) {
                Some(child) => self.first(*child, children.are_buckets)?,
                None => next,
            };
            let range = KeyRange {
                min: at.checked_sub(1).map(|at| &children.keys[at]).or(range.min),
                end: children.keys.get(at).or(range.end),
            };
            if children.are_buckets {
                self.bucket(*child, range, next)?;
            } else {
                self.node(*child, range, next, depth + 1)?;
            }
        }
        Ok(())
    }

    fn bucket(
        &mut self,
        id: ObjectId,
        range: KeyRange<'_>,
        next: Option<ObjectId>,
    ) -> Result<(), Error> {
        let found = bucket(self.snapshot, self.root.layout, id)?;
        if found.len() == 0 {
            return Err(damaged(id, Damage::Empty));
        }
        if found.next != next {
            return Err(damaged(id, Damage::NextBucket));
        }
        check_keys(id, found.keys(), range)
    }

    /// The first bucket below a child.
    fn first(&mut self, child: ObjectId, is_bucket: bool) -> Result<Option<ObjectId>, Error> {
        if is_bucket {
            return Ok(Some(child));
        }
        Ok(node(self.snapshot, self.root.layout, child)?.first())
    }
}

fn check_keys(id: ObjectId, keys: &[PyValue], range: KeyRange<'_>) -> Result<(), Error> {
    for pair in keys.windows(2) {
        if order(&pair[0], &pair[1])?.is_ge() {
            return Err(damaged(id, Damage::KeyOrder));
        }
    }
    if let (Some(min), Some(first)) = (range.min, keys.first())
        && order(first, min)?.is_lt()
    {
        return Err(damaged(id, Damage::KeyRange));
    }
    if let (Some(end), Some(last)) = (range.end, keys.last())
        && order(last, end)?.is_ge()
    {
        return Err(damaged(id, Damage::KeyRange));
    }
    Ok(())
}
