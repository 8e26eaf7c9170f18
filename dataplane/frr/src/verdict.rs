//! Outcomes of configurations, as the reloader reports them to the speaker.

use std::fmt;
use std::str::FromStr;

use crate::digest;

/// Whether FRR has applied a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied.
    Success,
    /// Refused.
    Failure,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Failure => "failure",
        })
    }
}

/// Neither `success` nor `failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be success or failure")]
pub struct NoOutcome;

impl FromStr for Outcome {
    type Err = NoOutcome;

    fn from_str(text: &str) -> Result<Self, NoOutcome> {
        match text {
            "success" => Ok(Self::Success),
            "failure" => Ok(Self::Failure),
            _ => Err(NoOutcome),
        }
    }
}

/// The outcome for one text, written as 16 hexadecimal digits of its [`digest`], a blank and the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    digest: u64,
    outcome: Outcome,
}

impl Verdict {
    /// The outcome for this text.
    pub fn new(text: &str, outcome: Outcome) -> Self {
        Self {
            digest: digest(text),
            outcome,
        }
    }

    /// The outcome, if it is that of `text`.
    pub fn about(&self, text: &str) -> Option<Outcome> {
        (self.digest == digest(text)).then_some(self.outcome)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {}", self.digest, self.outcome)
    }
}

impl FromStr for Verdict {
    type Err = NoOutcome;

    fn from_str(text: &str) -> Result<Self, NoOutcome> {
        let (digest, outcome) = text.trim().split_once(' ').ok_or(NoOutcome)?;
        Ok(Self {
            digest: u64::from_str_radix(digest, 16).map_err(|_| NoOutcome)?,
            outcome: outcome.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_as_it_was_written_and_is_about_one_text() {
        for outcome in [Outcome::Success, Outcome::Failure] {
            let verdict = Verdict::new("text", outcome);
            assert_eq!(verdict.to_string().parse(), Ok(verdict));
            assert_eq!((verdict.about("text"), verdict.about("other")), (Some(outcome), None));
        }
        for text in ["", "success", "x success", "0123456789abcdef done"] {
            assert_eq!(text.parse::<Verdict>(), Err(NoOutcome), "{text}");
        }
    }
}
