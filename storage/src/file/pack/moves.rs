//! The new positions of old records.

use std::collections::BTreeMap;

/// Maps positions in the old file to positions in the new one.
///
/// From before the pack time it has only the records that late ones point to, one by one. The rest
/// is copied in long stretches in which all positions move by the same distance.
#[derive(Debug)]
pub(super) struct Moves {
    boundary: u64,
    early: BTreeMap<u64, u64>,
    /// Old and new start of each stretch, ascending.
    stretches: Vec<(u64, u64)>,
}

impl Moves {
    /// `boundary` is the position of the late part in the old file.
    pub(super) fn new(boundary: u64) -> Self {
        Self { boundary, early: BTreeMap::new(), stretches: Vec::new() }
    }

    /// Notes that an early record that a pointer can lead to was copied.
    pub(super) fn early(&mut self, old: u64, new: u64) {
        self.early.insert(old, new);
    }

    /// Notes that the bytes from `old` on are copied to `new`. Calls must be in ascending order.
    pub(super) fn late(&mut self, old: u64, new: u64) {
        if self.new_place(old) != Some(new) {
            self.stretches.push((old, new));
        }
    }

    /// The new position of a record, if it was copied.
    pub(super) fn new_place(&self, old: u64) -> Option<u64> {
        if old < self.boundary {
            return self.early.get(&old).copied();
        }
        let stretch = self.stretches.partition_point(|(start, _)| *start <= old).checked_sub(1)?;
        let (old_start, new_start) = self.stretches[stretch];
        Some(new_start + (old - old_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_keep_their_shape() {
        let mut moves = Moves::new(100);
        moves.early(40, 4);
        moves.late(100, 60);
        moves.late(120, 80);
        moves.late(150, 200);
        assert_eq!(moves.stretches.len(), 2);
        assert_eq!(moves.new_place(40), Some(4));
        assert_eq!(moves.new_place(41), None);
        assert_eq!(moves.new_place(149), Some(109));
        assert_eq!(moves.new_place(151), Some(201));
    }
}
