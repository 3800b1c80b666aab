//! The fingerprint of a certificate.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use thiserror::Error;

/// Bytes of a SHA-256.
const PIN_BYTES: usize = 32;

/// The SHA-256 of a certificate, which identifies exactly that one.
///
/// It is parsed from 64 hexadecimal digits, with or without colons between the bytes, and with or
/// without the label that `openssl x509 -noout -fingerprint -sha256` prints before them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; PIN_BYTES]);

/// A text that is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not the SHA-256 of a certificate, which has 64 hexadecimal digits; \
     `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it"
)]
pub struct BadPin {
    /// The text that was parsed.
    pub text: String,
}

impl Pin {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; PIN_BYTES];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        let bad = || BadPin { text: text.to_owned() };
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim();
        let digits = strip_name(digits);
        let pairs: Vec<&[u8]> = if digits.contains(':') {
            digits.split(':').map(str::as_bytes).collect()
        } else {
            digits.as_bytes().chunks(2).collect()
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                u8::try_from(digit(high)? << 4 | digit(low)?).ok()
            }
            _ => None,
        };
        let bytes: Option<Vec<u8>> = pairs.into_iter().map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(bad)
    }
}

fn strip_name(digits: &str) -> &str {
    match digits.split_at_checked(7) {
        Some((name, rest)) if name.eq_ignore_ascii_case("sha256:") => rest,
        _ => digits,
    }
}

/// In OpenSSL's format, so that it can be compared and copied.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_parsed_from_what_rzeo_and_openssl_print() {
        let pin = Pin::of(b"abc");
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in [
            digits.to_owned(),
            digits.to_uppercase(),
            format!("sha256:{digits}"),
            format!(" {pin}\n"),
            format!("sha256 Fingerprint={pin}"),
            format!("SHA256:{pin}"),
        ] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_pins() {
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in ["", "ab", &digits[2..], &format!("{digits}00"), &digits.replace('b', "+"), "ä"]
        {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
        assert!(digits.replacen("ba", "b:a", 1).parse::<Pin>().is_err());
    }
}
