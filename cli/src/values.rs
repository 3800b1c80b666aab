//! The values of options: how every command reads addresses and times.

use std::str::FromStr;
use std::time::Duration;

use rzeo_core::Oid;
use rzeo_eventlog::LogFormat;
use rzeo_net::{Address, AddressError, LOOPBACK};

use rzeo_zconfig::{InvalidValue, Kind, RealSystem, Value};

/// The port of an address that is only a host.
pub(crate) const DEFAULT_PORT: u16 = 8100;

/// An address, in the one grammar that all commands share.
pub(crate) fn address(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, DEFAULT_PORT)
}

/// The address of a listener without authentication: without a host, only this machine can connect.
pub(crate) fn loopback_address(text: &str) -> Result<Address, AddressError> {
    text.parse().map(on_loopback)
}

/// A length of time in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let seconds = seconds.ok_or_else(|| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("must be more than 0, and finite".to_owned()),
    }
}

/// A whole number. The standard library's errors do not say what is expected.
pub(crate) fn whole_number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "not a whole number in the range of this option".to_owned())
}

/// An oid: `0x` and hexadecimal digits, as rzeo prints oids.
pub(crate) fn oid(text: &str) -> Result<Oid, String> {
    hex(text).map(Oid).ok_or_else(|| format!("{text:?} is not an oid: 0x and up to 16 hex digits"))
}

/// A number of `0x` and hexadecimal digits.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

/// The format of log records.
pub(crate) fn log_format(text: &str) -> Result<LogFormat, InvalidValue> {
    let word = Kind::OneOf(LogFormat::NAMES).convert(text, &RealSystem)?;
    match word {
        Value::Text(word) => Ok(LogFormat::named(&word).expect("the words are those of shapes")),
        other => unreachable!("a word was asked for, not {other:?}"),
    }
}

/// A number as Python writes it (`1_0.5`), which can be the length of time.
pub(crate) fn positive_seconds(text: &str) -> Result<f64, String> {
    match Kind::Float.convert(text, &RealSystem) {
        Ok(Value::Float(seconds)) if seconds > 0.0 && seconds.is_finite() => Ok(seconds),
        Ok(_) => {
            Err("must be more than 0, and finite; leave the option out for no limit".to_owned())
        }
        Err(_) => Err("not a number of seconds".to_owned()),
    }
}

/// The same address, but on this machine only if it has no host.
pub(crate) fn on_loopback(address: Address) -> Address {
    match address {
        Address::Tcp { host: None, port } => Address::tcp(LOOPBACK, port),
        other => other,
    }
}
