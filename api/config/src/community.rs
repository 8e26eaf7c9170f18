//! BGP communities: literals and aliases.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

use crate::model::Community;

/// Why a text is no community.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommunityError {
    /// Wrong number of parts: treated as the name of an alias.
    #[error("invalid community format: {0}")]
    Format(String),
    /// A part is no number of the right size.
    #[error("invalid community value: invalid section \"{section}\" of community \"{text}\"")]
    Section {
        /// The part.
        section: String,
        /// The whole text.
        text: String,
    },
    /// Four parts of which the first is not `large`.
    #[error("invalid community value: expected community to be of format large, but got \"{0}\"")]
    Marker(String),
}

impl Community {
    /// Understands `a:b` (16-bit decimals) and `large:a:b:c` (32-bit decimals).
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, CommunityError> {
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            [high, low] => {
                let high: u16 = section(high, text)?;
                let low: u16 = section(low, text)?;
                Ok(Self::Standard(u32::from(high) << 16 | u32::from(low)))
            }
            ["large", global, data1, data2] => Ok(Self::Large {
                global: section(global, text)?,
                data1: section(data1, text)?,
                data2: section(data2, text)?,
            }),
            [marker, _, _, _] => Err(CommunityError::Marker(marker.to_owned())),
            _ => Err(CommunityError::Format(text.to_owned())),
        }
    }

    /// The numbers by which communities are ordered; a standard one counts as `value:0:0`.
    fn rank(&self) -> (u32, u32, u32, bool) {
        match *self {
            Self::Standard(value) => (value, 0, 0, false),
            Self::Large { global, data1, data2 } => (global, data1, data2, true),
        }
    }
}

fn section<T: std::str::FromStr>(part: &str, text: &str) -> Result<T, CommunityError> {
    let error = || CommunityError::Section {
        section: part.to_owned(),
        text: text.to_owned(),
    };
    if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error()); // Rust's parser would take a plus sign
    }
    part.parse().map_err(|_| error())
}

impl Ord for Community {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Community {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large { global, data1, data2 } => write!(f, "large:{global}:{data1}:{data2}"),
        }
    }
}
