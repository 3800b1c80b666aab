//! The order of keys that are Python objects: Python's `<` and `==`, where they are known.
//!
//! `None` comes first, by BTrees' own rule, but only as a whole key. Numbers are ordered among each
//! other, as are text (by code points), byte strings, and tuples of these. Python raises a
//! `TypeError` for a comparison of different types, and what classes of an application do is not
//! known; both are errors here. So is NaN, which has no place in a tree.

use core::cmp::Ordering;

use rzeo_core::number::Number;

use super::error::{BTreeError, shown};
use crate::value::{PyValue, View};

/// Maximum depth of tuples within a key.
const DEPTH_MAX: u32 = 32;

/// The order of two keys.
pub(super) fn order(a: &PyValue, b: &PyValue) -> Result<Ordering, BTreeError> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Ok(a.cmp(&b));
    }
    match (a.is_none(), b.is_none()) {
        (false, false) => order_within(a, b, DEPTH_MAX)
            .ok_or_else(|| BTreeError::Unordered { key: shown(a), other: shown(b) }),
        (a_is_none, b_is_none) => Ok(b_is_none.cmp(&a_is_none)),
    }
}

/// `None` where the order is not known.
fn order_within(a: &PyValue, b: &PyValue, depth: u32) -> Option<Ordering> {
    match (a.view(), b.view()) {
        (View::Text(a), View::Text(b)) => Some(a.cmp(b)),
        (View::Bytes(a), View::Bytes(b)) => Some(a.cmp(b)),
        (View::Tuple(a), View::Tuple(b)) => {
            let depth = depth.checked_sub(1)?;
            for (a, b) in a.iter().zip(&*b) {
                match (a.is_none(), b.is_none()) {
                    (true, true) => continue,
                    (false, false) => {}
                    _ => return None,
                }
                match order_within(a, b, depth)? {
                    Ordering::Equal => {}
                    order => return Some(order),
                }
            }
            Some(a.len().cmp(&b.len()))
        }
        (a, b) => number(&a)?.order(number(&b)?).flatten(),
    }
}

fn number<'a>(view: &View<'a>) -> Option<Number<'a>> {
    match view {
        View::Bool(truth) => Some(Number::Int((*truth).into())),
        View::Int(int) => Some(Number::Int(*int)),
        View::BigInt(bytes) => Some(Number::Big(bytes)),
        View::Float(float) => Some(Number::Float(*float)),
        _ => None,
    }
}

/// Whether a value can be ordered with others of its type.
pub(super) fn is_orderable(key: &PyValue) -> bool {
    key.is_none() || is_orderable_within(key, DEPTH_MAX)
}

fn is_orderable_within(value: &PyValue, depth: u32) -> bool {
    match value.view() {
        View::Bool(_) | View::Int(_) | View::BigInt(_) | View::Text(_) | View::Bytes(_) => true,
        View::Float(float) => !float.is_nan(),
        View::Tuple(items) => depth.checked_sub(1).is_some_and(|depth| {
            items.iter().all(|item| item.is_none() || is_orderable_within(item, depth))
        }),
        _ => false,
    }
}

/// The position of a key among keys that ascend; if it is not there, the position where it belongs.
pub(super) fn find(keys: &[PyValue], key: &PyValue) -> Result<Result<usize, usize>, BTreeError> {
    let (mut low, mut high) = (0, keys.len());
    while low < high {
        let middle = low.midpoint(high);
        match order(&keys[middle], key)? {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(Ok(middle)),
            Ordering::Greater => high = middle,
        }
    }
    Ok(Err(low))
}
