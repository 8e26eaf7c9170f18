//! Durations in the syntax of Go's `time.ParseDuration`.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as written in the object, for example `90s`, `1m30s` or `1.5h`.
///
/// The text is kept as it is, so that a wrong one is an error of that one field and never of the decoding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(String);

/// Why a text is not a usable duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not in Go's syntax.
    Syntax(String),
    /// Below zero, which no field of ours can mean.
    Negative(String),
    /// More than Go's 64-bit nanoseconds hold, about 292 years.
    TooLong(String),
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => write!(f, "invalid duration {text:?}"),
            Self::Negative(text) => write!(f, "negative duration {text:?}"),
            Self::TooLong(text) => write!(f, "duration {text:?} is too long"),
        }
    }
}

impl std::error::Error for DurationError {}

impl GoDuration {
    /// Wraps a text without looking at it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives the text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the text for a flag that takes whole seconds, up to `limit`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn whole_seconds(&self, limit: u64) -> Result<u64, String> {
        let duration = self.parse().map_err(|error| error.to_string())?;
        if duration.subsec_nanos() != 0 {
            return Err(format!("{:?} is no whole number of seconds", self.0));
        }
        match duration.as_secs() {
            seconds if seconds > limit => Err(format!("{:?} is longer than {limit} seconds", self.0)),
            seconds => Ok(seconds),
        }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// Says whether the text is malformed, negative or out of range.
    pub fn parse(&self) -> Result<Duration, DurationError> {
        let syntax = || DurationError::Syntax(self.0.clone());
        let (negative, body) = match self.0.as_bytes().first() {
            Some(b'-') => (true, &self.0[1..]),
            Some(b'+') => (false, &self.0[1..]),
            _ => (false, self.0.as_str()),
        };
        let nanos = if body == "0" {
            0
        } else {
            sum_of_terms(body).ok_or_else(syntax)?
        };
        match u64::try_from(nanos) {
            Ok(nanos) if i64::try_from(nanos).is_err() => Err(DurationError::TooLong(self.0.clone())),
            Err(_) => Err(DurationError::TooLong(self.0.clone())),
            Ok(nanos) if negative && nanos > 0 => Err(DurationError::Negative(self.0.clone())),
            Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        }
    }
}

/// Adds up terms such as `1h`, `1.5m` and `20ms`; `None` when the text is no such sequence.
fn sum_of_terms(mut text: &str) -> Option<u128> {
    let mut total = 0u128;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let number = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let rest = &text[number..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total = total.saturating_add(term(&text[..number], unit_nanos(&rest[..unit])?)?);
        text = &rest[unit..];
    }
    Some(total)
}

/// Multiplies a decimal number with a unit.
fn term(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut nanos = digits(whole)?.saturating_mul(unit);
    // Digits past the nanosecond change nothing; 15 are more than enough even for hours.
    let fraction = &fraction[..fraction.len().min(15)];
    nanos = nanos.saturating_add(digits(fraction)? * unit / 10u128.pow(fraction.len() as u32));
    Some(nanos)
}

fn digits(text: &str) -> Option<u128> {
    if text.is_empty() {
        return Some(0);
    }
    // All digits by construction, so the only error is overflow.
    Some(text.parse().unwrap_or(u128::MAX))
}

fn unit_nanos(unit: &str) -> Option<u128> {
    match unit {
        "ns" => Some(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

impl From<Duration> for GoDuration {
    /// Writes whole units the way Go does: `1h0m0s`, `1m30s`, `1.5s`, `20ms`, `0s`.
    fn from(duration: Duration) -> Self {
        let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
        Self(match (seconds, nanos) {
            (0, 0) => "0s".to_owned(),
            (0, n) if n < 1_000 => format!("{n}ns"),
            (0, n) if n < 1_000_000 => format!("{}\u{b5}s", decimal(u64::from(n), 1_000)),
            (0, n) => format!("{}ms", decimal(u64::from(n), 1_000_000)),
            (s, n) => {
                let rest = decimal((s % 60) * 1_000_000_000 + u64::from(n), 1_000_000_000);
                match (s / 3600, s / 60 % 60) {
                    (0, 0) => format!("{rest}s"),
                    (0, m) => format!("{m}m{rest}s"),
                    (h, m) => format!("{h}h{m}m{rest}s"),
                }
            }
        })
    }
}

/// Writes `value / unit` without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{fraction:0width$}").trim_end_matches('0').to_owned()
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_is_read() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1500ms", 1_500),
            ("1.5h", 5_400_000),
            ("0", 0),
        ] {
            assert_eq!(
                GoDuration::new(text).parse(),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(GoDuration::new(".5s").parse(), Ok(Duration::from_millis(500)));
        assert_eq!(GoDuration::new("+1s").parse(), Ok(Duration::from_secs(1)));
        assert_eq!(GoDuration::new("-0s").parse(), Ok(Duration::ZERO));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "90",
            "1d",
            "1 s",
            "s",
            ".s",
            "1..5s",
            "1.2.3s",
            "--1s",
            "1s ",
            "\u{1f40c}",
        ] {
            assert_eq!(
                GoDuration::new(text).parse(),
                Err(DurationError::Syntax(text.into())),
                "{text}"
            );
        }
        assert_eq!(
            GoDuration::new("-1s").parse(),
            Err(DurationError::Negative("-1s".into()))
        );
        let long = "9999999999999999999999999999999999999999999h";
        assert_eq!(GoDuration::new(long).parse(), Err(DurationError::TooLong(long.into())));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (millis, text) in [
            (90_000, "1m30s"),
            (0, "0s"),
            (1_500, "1.5s"),
            (20, "20ms"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(GoDuration::from(Duration::from_millis(millis)).as_str(), text);
        }
        assert_eq!(GoDuration::from(Duration::from_nanos(1_100)).as_str(), "1.1\u{b5}s");
    }
}
