//! `BTrees.Length`: a number that many transactions change at once.
//!
//! The state is the number itself, and the result adds both changes: committed + new - old, as
//! Python computes it, with integers of any size. Booleans are integers; if one number is a float,
//! the result is a float.

use alloc::vec::Vec;

use super::states::States;
use super::write::MergedValue;
use crate::pickle::arena::{Arena, Node, NodeId};

#[derive(Clone, Debug, PartialEq)]
enum Number {
    /// Little-endian two's complement of any length.
    Int(Vec<u8>),
    Float(f64),
}

pub(super) fn merge(arena: &Arena, states: States<NodeId>) -> Option<MergedValue> {
    let numbers = states.try_map(|state| number(arena, state))?;
    let sum = numbers.committed.plus(numbers.new)?;
    Some(match sum.plus(numbers.old.negated())? {
        Number::Int(bytes) => MergedValue::Int(bytes.into()),
        Number::Float(float) => MergedValue::Float(float),
    })
}

fn number(arena: &Arena, state: NodeId) -> Option<Number> {
    match arena.node(state) {
        Node::Bool(truth) => Some(Number::Int([u8::from(truth)].into())),
        Node::Int(int) => Some(Number::Int(int.to_le_bytes().into())),
        Node::BigInt(span) => Some(Number::Int(arena.bytes(span).into())),
        Node::Float(float) => Some(Number::Float(float)),
        _ => None,
    }
}

impl Number {
    fn plus(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(sum(&a, &b)),
            (a, b) => Self::Float(a.to_float()? + b.to_float()?),
        })
    }

    /// Zero keeps its sign as a float: `x - 0.0` and `x + -0.0` are the same.
    fn negated(self) -> Self {
        match self {
            Self::Int(bytes) => {
                let inverted: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
                Self::Int(sum(&inverted, &[1]))
            }
            Self::Float(float) => Self::Float(-float),
        }
    }

    /// `None` for integers beyond 64 bits, which are not supported together with floats.
    #[expect(clippy::cast_precision_loss, reason = "Python rounds to nearest as well")]
    fn to_float(&self) -> Option<f64> {
        match self {
            Self::Int(bytes) => {
                let fill = fill(bytes);
                if bytes.iter().skip(8).any(|byte| *byte != fill) {
                    return None;
                }
                let mut wide = [fill; 8];
                let len = bytes.len().min(8);
                wide[..len].copy_from_slice(&bytes[..len]);
                let int = i64::from_le_bytes(wide);
                let kept_its_sign = (int < 0) == (fill != 0);
                kept_its_sign.then_some(int as f64)
            }
            Self::Float(float) => Some(*float),
        }
    }
}

/// One byte longer than the longer of the two, so that nothing is lost.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let digit = |number: &[u8], at: usize| number.get(at).copied().unwrap_or(fill(number));
    let mut carry = false;
    let mut sum = Vec::with_capacity(a.len().max(b.len()) + 1);
    for at in 0..=a.len().max(b.len()) {
        let (partial, first) = digit(a, at).overflowing_add(digit(b, at));
        let (byte, second) = partial.overflowing_add(u8::from(carry));
        carry = first || second;
        sum.push(byte);
    }
    sum
}

/// The byte that continues a number to the left.
fn fill(number: &[u8]) -> u8 {
    match number.last() {
        Some(0x80..) => 0xff,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    fn int(int: i64) -> Number {
        Number::Int(int.to_le_bytes().into())
    }

    fn merged(old: Number, committed: Number, new: Number) -> Option<Number> {
        committed.plus(new)?.plus(old.negated())
    }

    proptest! {
        #[test]
        fn integers_never_overflow(old: i64, committed: i64, new: i64) {
            let exact = i128::from(committed) + i128::from(new) - i128::from(old);
            let Some(Number::Int(bytes)) = merged(int(old), int(committed), int(new)) else {
                panic!("integers give an integer");
            };
            let exact = Bytes::copy_from_slice(&exact.to_le_bytes());
            prop_assert_eq!(Value::from_le_bytes(bytes.into()), Value::from_le_bytes(exact));
        }

        #[test]
        fn integers_and_floats_mix(number: i64) {
            #[expect(clippy::cast_precision_loss, reason = "that is what is tested")]
            let float = number as f64;
            prop_assert_eq!(int(number).to_float(), Some(float));
            let sum = merged(Number::Float(0.5), int(number), int(0));
            prop_assert_eq!(sum, Some(Number::Float(float - 0.5)));
        }
    }

    #[test]
    fn integers_too_wide_for_a_float_stay_in_conflict() {
        let wide = Number::Int([0, 0, 0, 0, 0, 0, 0, 0x80, 0].into());
        assert_eq!(wide.clone().plus(Number::Float(1.0)), None);
        assert!(matches!(wide.clone().plus(wide), Some(Number::Int(_))));
    }
}
