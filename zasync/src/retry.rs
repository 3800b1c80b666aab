//! When a job that has failed is executed again.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rzeo_objects::{PyValue, View};

use crate::error::{LayoutError, Refusal};
use crate::fields::number;

/// What happens to a job whose attempt has failed or was interrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// The job is executed at most once, even if its worker dies: `retry` is `'never'`.
    Never,
    /// The job is executed again after a failure, with growing delays: `retry` is a dict of these names.
    /// An interruption does not count as an attempt.
    Attempts {
        /// Maximum number of attempts, at least 1.
        max: u32,
        /// Seconds before the second attempt.
        base: f64,
        /// By how much each delay is longer than the one before, at least 1.
        factor: f64,
        /// Maximum seconds before an attempt.
        cap: f64,
        /// Maximum part of a delay, from 0 to 1, that is left off at random, so that jobs that
        /// failed together do not fail together again.
        jitter: f64,
    },
}

impl Retry {
    /// For functions whose effects are in the transaction of their result: five attempts.
    pub const IN_TRANSACTION: Self =
        Self::Attempts { max: 5, base: 5.0, factor: 3.0, cap: 3600.0, jitter: 0.1 };

    /// For functions with other effects, which may not be repeated without harm: one attempt.
    pub const EXTERNAL: Self =
        Self::Attempts { max: 1, base: 5.0, factor: 3.0, cap: 3600.0, jitter: 0.1 };

    /// How long to wait after a failed attempt, the first of which is 1; `None` if it was the last.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        let Self::Attempts { max, base, factor, cap, jitter } = *self else { return None };
        if attempt >= max {
            return None;
        }
        let mut seconds = base;
        for _ in 1..attempt {
            if seconds >= cap || seconds == 0.0 || factor <= 1.0 {
                break;
            }
            seconds *= factor;
        }
        let part = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
        let seconds = seconds.min(cap) * (1.0 - jitter * part);
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// The form that records have.
    pub(crate) fn to_value(self) -> PyValue {
        match self {
            Self::Never => "never".into(),
            Self::Attempts { max, base, factor, cap, jitter } => PyValue::dict(Vec::from([
                ("max".into(), i64::from(max).into()),
                ("base".into(), base.into()),
                ("factor".into(), factor.into()),
                ("cap".into(), cap.into()),
                ("jitter".into(), jitter.into()),
            ])),
        }
    }

    /// Reads the form of records. What a dict leaves out is as in [`Retry::IN_TRANSACTION`].
    pub(crate) fn read(value: &PyValue, path: String) -> Result<Self, LayoutError> {
        let items = match value.view() {
            View::Text("never") => return Ok(Self::Never),
            View::Dict(items) => items,
            _ => return Err(LayoutError::malformed(path, value, "'never' or a dict")),
        };
        let mut retry = Self::IN_TRANSACTION;
        let Self::Attempts { max, base, factor, cap, jitter } = &mut retry else {
            unreachable!("the default has attempts")
        };
        for (key, value) in items.iter() {
            let malformed =
                |expected| LayoutError::malformed(format!("{path}/{key:?}"), value, expected);
            let field = match key.as_text() {
                Some("max") => {
                    let count = value.as_int().and_then(|int| u32::try_from(int).ok());
                    *max = count.ok_or_else(|| malformed("a count"))?;
                    continue;
                }
                Some("base") => &mut *base,
                Some("factor") => &mut *factor,
                Some("cap") => &mut *cap,
                Some("jitter") => &mut *jitter,
                _ => continue,
            };
            *field = number(value).ok_or_else(|| malformed("a finite number"))?;
        }
        match retry.wrong() {
            Some((_, expected)) => Err(LayoutError::malformed(path, value, expected)),
            None => Ok(retry),
        }
    }

    /// Fails if a number is outside of its limits.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self.wrong() {
            Some((found, expected)) => {
                Err(Refusal::Option { option: "retry", found: format!("{found}"), expected })
            }
            None => Ok(()),
        }
    }

    fn wrong(&self) -> Option<(f64, &'static str)> {
        let Self::Attempts { max, base, factor, cap, jitter } = *self else { return None };
        let seconds = 0.0..f64::INFINITY;
        let checks = [
            (f64::from(max), max >= 1, "at least 1 attempt"),
            (base, seconds.contains(&base), "a base of 0 seconds or more"),
            (factor, (1.0..f64::INFINITY).contains(&factor), "a factor of 1 or more"),
            (cap, seconds.contains(&cap), "a cap of 0 seconds or more"),
            (jitter, (0.0..=1.0).contains(&jitter), "a jitter from 0 to 1"),
        ];
        checks
            .into_iter()
            .find(|(_, is_right, _)| !is_right)
            .map(|(found, _, wrong)| (found, wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY: Retry =
        Retry::Attempts { max: 9, base: 5.0, factor: 3.0, cap: 100.0, jitter: 0.0 };

    #[test]
    fn delays_grow_to_the_cap_until_the_last_attempt() {
        let delays = [1, 2, 3, 4, 8, 9].map(|attempt| STEADY.delay(attempt, 0));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            delays,
            [seconds(5), seconds(15), seconds(45), seconds(100), seconds(100), None]
        );
        assert_eq!(Retry::Never.delay(1, 0), None);
        assert_eq!(Retry::EXTERNAL.delay(1, 0), None);
    }

    #[test]
    fn delays_are_shortened_at_random() {
        let Retry::Attempts { max, base, factor, cap, .. } = STEADY else { unreachable!() };
        let retry = Retry::Attempts { max, base, factor, cap, jitter: 0.5 };
        assert_eq!(retry.delay(1, 0), Some(Duration::from_secs(5)));
        assert_eq!(retry.delay(1, u64::MAX), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn any_number_of_attempts_ends() {
        let retry =
            Retry::Attempts { max: u32::MAX, base: 1.0, factor: 1.0, cap: f64::MAX, jitter: 0.0 };
        assert_eq!(retry.delay(u32::MAX - 1, 0), Some(Duration::from_secs(1)));
        let retry =
            Retry::Attempts { max: u32::MAX, base: 0.0, factor: 2.0, cap: 1.0, jitter: 0.0 };
        assert_eq!(retry.delay(9, 0), Some(Duration::ZERO));
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        for retry in [Retry::Never, Retry::IN_TRANSACTION, STEADY] {
            assert_eq!(Retry::read(&retry.to_value(), String::new()), Ok(retry));
        }
        let partial = PyValue::dict(Vec::from([("max".into(), 2.into())]));
        let Ok(Retry::Attempts { max, base, .. }) = Retry::read(&partial, String::new()) else {
            panic!("it is a policy")
        };
        assert_eq!((max, base), (2, 5.0));
    }

    #[test]
    fn what_is_outside_of_its_limits_is_named() {
        let dict = |key: &str, value: PyValue| PyValue::dict(Vec::from([(key.into(), value)]));
        for (value, message) in [
            (PyValue::from("sometimes"), "retry is \"sometimes\", not 'never' or a dict"),
            (dict("max", 0.into()), "retry is {\"max\": 0}, not at least 1 attempt"),
            (dict("max", (-1).into()), "retry/\"max\" is -1, not a count"),
            (dict("base", "x".into()), "retry/\"base\" is \"x\", not a finite number"),
            (
                dict("base", (-1.0).into()),
                "retry is {\"base\": -1.0}, not a base of 0 seconds or more",
            ),
            (dict("factor", 0.5.into()), "retry is {\"factor\": 0.5}, not a factor of 1 or more"),
            (dict("cap", (-2).into()), "retry is {\"cap\": -2}, not a cap of 0 seconds or more"),
            (dict("jitter", 2.into()), "retry is {\"jitter\": 2}, not a jitter from 0 to 1"),
        ] {
            let error = Retry::read(&value, "retry".into()).expect_err(message);
            assert_eq!(format!("{error}"), message);
        }
    }
}
