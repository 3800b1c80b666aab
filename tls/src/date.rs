//! Times of certificates as messages show them.

use x509_parser::time::ASN1Time;

/// The time that is this number of seconds after the start of 1970.
pub(crate) fn date(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(seconds);
    time.map_or_else(|_| format!("second {seconds} since 1970"), |time| time.to_string())
}
