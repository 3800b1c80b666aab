//! Decodes text: UTF-8 that may hold lone surrogates, and the lines that opcodes of protocol 0
//! have.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Maximum digits of a decimal number, as in Python's `int()` by default.
const DIGITS_MAX: usize = 4300;

/// Python writes a lone surrogate as the three bytes that UTF-8 would have for it if it were a
/// character. Rust's text cannot hold one, so each is read as U+FFFD; anything else that is not
/// UTF-8 is `None`.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Some(Cow::Borrowed(text));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match core::str::from_utf8(rest) {
            Ok(valid) => valid,
            Err(error) => core::str::from_utf8(&rest[..error.valid_up_to()]).ok()?,
        };
        text.push_str(valid);
        rest = &rest[valid.len()..];
        match rest {
            [] => {}
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, tail @ ..] => {
                text.push(char::REPLACEMENT_CHARACTER);
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(Cow::Owned(text))
}

/// The operand of INT and LONG: decimal digits, to a little-endian two's complement number.
pub(super) fn decimal(line: &[u8]) -> Option<Vec<u8>> {
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut limbs: Vec<u32> = Vec::new();
    for nine in digits.chunks(9) {
        let (mut carry, scale) = nine
            .iter()
            .fold((0u64, 1u64), |(sum, scale), d| (sum * 10 + u64::from(d - b'0'), scale * 10));
        for limb in &mut limbs {
            let wide = u64::from(*limb) * scale + carry;
            *limb = low(wide);
            carry = wide >> 32;
        }
        limbs.push(low(carry));
    }
    // One more limb for the sign.
    limbs.push(0);
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
        }
    }
    Some(limbs.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// The lower half of a 64-bit number.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is taken separately")]
const fn low(wide: u64) -> u32 {
    wide as u32
}

/// The operand of STRING: a Python string literal in quotes, with backslash escapes.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (first, last) = (line.first()?, line.last()?);
    if line.len() < 2 || first != last || !matches!(first, b'\'' | b'"') {
        return None;
    }
    let mut rest = &line[1..line.len() - 1];
    let mut text = Vec::with_capacity(rest.len());
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            text.push(*byte);
            continue;
        }
        let (escape, tail) = rest.split_first()?;
        rest = tail;
        match escape {
            b'\n' => {}
            b'\\' | b'\'' | b'"' => text.push(*escape),
            b'a' => text.push(7),
            b'b' => text.push(8),
            b't' => text.push(b'\t'),
            b'n' => text.push(b'\n'),
            b'v' => text.push(11),
            b'f' => text.push(12),
            b'r' => text.push(b'\r'),
            b'x' => text.push(u8::try_from(digits(&mut rest, 16, 2)?).ok()?),
            b'0'..=b'7' => text.push(octal(*escape, &mut rest)),
            _ => text.extend([b'\\', *escape]),
        }
    }
    Some(text)
}

/// The operand of UNICODE: Latin-1 with `\uXXXX` and `\UXXXXXXXX`, to UTF-8 (with surrogates as
/// Python writes them).
pub(super) fn raw_unicode(line: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let code = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => {
                rest = &tail[1..];
                digits(&mut rest, 16, 4)?
            }
            (b'\\', Some(b'U')) => {
                rest = &tail[1..];
                digits(&mut rest, 16, 8)?
            }
            _ => u32::from(*byte),
        };
        push_code_point(&mut text, code)?;
    }
    Some(text)
}

fn push_code_point(text: &mut Vec<u8>, code: u32) -> Option<()> {
    if let Some(char) = char::from_u32(code) {
        text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(());
    }
    // A surrogate: 0xd800..=0xdfff, of which the lowest twelve bits vary.
    let [_, _, high, low] = code.to_be_bytes();
    if code > 0xffff {
        return None;
    }
    text.extend([0xed, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
    Some(())
}

/// Takes exactly `count` digits.
fn digits(rest: &mut &[u8], radix: u32, count: usize) -> Option<u32> {
    let (digits, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    digits.iter().try_fold(0, |code: u32, byte| {
        code.checked_mul(radix)?.checked_add(char::from(*byte).to_digit(radix)?)
    })
}

/// Up to three octal digits, the first of which was taken. Python keeps the low eight bits.
fn octal(first: u8, rest: &mut &[u8]) -> u8 {
    let mut code = first - b'0';
    for _ in 0..2 {
        let [digit @ b'0'..=b'7', tail @ ..] = *rest else { break };
        code = code << 3 | (digit - b'0');
        *rest = tail;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        assert_eq!(decode(b"a\xed\xa0\x80b\xed\xbf\xbf").as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert_eq!(decode("é€𐍈".as_bytes()).as_deref(), Some("é€𐍈"));
        assert_eq!(decode(b"a\xff"), None);
        assert_eq!(decode(b"\xed\xa0"), None);
    }

    #[test]
    fn decimals_become_twos_complement() {
        let padded = |bytes: &[u8], fill: u8, len| {
            let mut bytes = bytes.to_vec();
            bytes.resize(len, fill);
            Some(bytes)
        };
        assert_eq!(decimal(b"0"), padded(&[], 0, 8));
        assert_eq!(decimal(b"-1"), padded(&[], 0xff, 8));
        assert_eq!(decimal(b"18446744073709551616"), padded(&[0, 0, 0, 0, 0, 0, 0, 0, 1], 0, 16));
        for bad in [&b""[..], b"-", b"1_0", b"0x1", b"+1", &[b'1'; DIGITS_MAX + 1]] {
            assert_eq!(decimal(bad), None);
        }
    }

    #[test]
    fn quoted_strings_lose_their_escapes() {
        assert_eq!(unquote(br"'a\n\x41\101\0\q\\'").as_deref(), Some(&b"a\nAA\0\\q\\"[..]));
        assert_eq!(unquote(b"\"it's\"").as_deref(), Some(&b"it's"[..]));
        for bad in [&b"'"[..], b"'a\"", b"a", b"'\\'", br"'\x4'"] {
            assert_eq!(unquote(bad), None);
        }
    }

    #[test]
    fn raw_unicode_is_latin_1_with_two_escapes() {
        let text = raw_unicode(b"\xe9\\u20ac\\U00010348\\ud800\\n").unwrap();
        assert_eq!(decode(&text).as_deref(), Some("é€𐍈\u{fffd}\\n"));
        assert_eq!(raw_unicode(b"\\u12"), None);
        assert_eq!(raw_unicode(b"\\U00110000"), None);
    }
}
