//! How addresses announced in layer 2 move between nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The longest delay that the speaker's flag takes, in seconds: a day.
const LONGEST: u64 = 86_400;

/// How addresses announced in layer 2 move between nodes. What is unset is as the speaker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerLayer2 {
    /// Whether others stand in for a silent node within half a second, while all speakers can; true when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_failover: Option<bool>,

    /// When an address goes back to a node that has returned and comes first in the order; immediate when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<Failback>,

    /// How long a node must have been back before addresses return to it, with failback delayed, in whole seconds such as
    /// 90s or 1m30s; 60s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback_delay: Option<GoDuration>,

    /// Whether it is asked on the segment that nobody has an address before it is announced for the first time; false
    /// when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_addresses: Option<bool>,
}

/// When an address goes back to a node that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Failback {
    /// At once.
    Immediate,
    /// When it has been back for a while.
    Delayed,
    /// Not before the node that has it fails.
    Never,
}

impl Failback {
    /// Gives the name that flags use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Delayed => "delayed",
            Self::Never => "never",
        }
    }
}

impl SpeakerLayer2 {
    /// Tells the seconds of `failbackDelay`.
    ///
    /// # Errors
    /// Says why the text is no duration that the speaker takes.
    pub fn failback_seconds(&self) -> Result<Option<u64>, String> {
        let delay = self.failback_delay.as_ref();
        delay.map(|delay| delay.whole_seconds(LONGEST)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<Option<u64>, String> {
        let layer2 = SpeakerLayer2 {
            failback_delay: Some(GoDuration::new(text)),
            ..SpeakerLayer2::default()
        };
        layer2.failback_seconds()
    }

    #[test]
    fn a_delay_is_whole_seconds() {
        assert_eq!(SpeakerLayer2::default().failback_seconds(), Ok(None));
        for (text, wanted) in [("90s", 90), ("1m30s", 90), ("0s", 0), ("24h", 86_400)] {
            assert_eq!(seconds(text), Ok(Some(wanted)), "{text}");
        }
        for text in ["500ms", "-1s", "90", "", "86401s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
