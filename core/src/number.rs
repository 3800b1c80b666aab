//! Numbers of Python, compared by value, also those of different types.

use core::cmp::Ordering;

/// A number.
#[derive(Clone, Copy, Debug)]
pub enum Number<'a> {
    /// An integer of up to 64 bits.
    Int(i64),
    /// An integer of more than 64 bits: little-endian two's complement of minimal length.
    Big(&'a [u8]),
    /// A `float`.
    Float(f64),
}

impl Number<'_> {
    /// The order of two numbers. The outer `None` for what is not computed here (large integers with
    /// floats), the inner one for NaN.
    #[must_use]
    pub fn order(self, other: Self) -> Option<Option<Ordering>> {
        Some(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => int_with_float(a, b),
            (Self::Float(a), Self::Int(b)) => int_with_float(b, a).map(Ordering::reverse),
            (Self::Big(a), Self::Big(b)) => Some(order_of_big(a, b)),
            (Self::Big(a), Self::Int(_)) => Some(sign_of_big(a)),
            (Self::Int(_), Self::Big(b)) => Some(sign_of_big(b).reverse()),
            (Self::Big(_), Self::Float(_)) | (Self::Float(_), Self::Big(_)) => return None,
        })
    }
}

/// Exact, unlike a comparison after conversion.
#[expect(clippy::cast_possible_truncation, reason = "the fraction is compared separately")]
#[expect(clippy::cast_precision_loss, reason = "an integer that came from a double is exact")]
fn int_with_float(int: i64, float: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    } else if float >= TWO_TO_63 {
        return Some(Ordering::Less);
    } else if float < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    let whole = float as i64;
    let fraction = float - whole as f64;
    int.cmp(&whole).then(0.0.partial_cmp(&fraction)?).into()
}

/// The order of a number beyond 64 bits and one within.
fn sign_of_big(bytes: &[u8]) -> Ordering {
    if is_negative(bytes) { Ordering::Less } else { Ordering::Greater }
}

fn order_of_big(a: &[u8], b: &[u8]) -> Ordering {
    match (is_negative(a), is_negative(b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        // Of negative numbers the longer one is smaller; of equal length, two's complement sorts.
        (negative, _) => {
            let by_length = a.len().cmp(&b.len());
            let by_length = if negative { by_length.reverse() } else { by_length };
            by_length.then_with(|| a.iter().rev().cmp(b.iter().rev()))
        }
    }
}

fn is_negative(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|top| top & 0x80 != 0)
}
