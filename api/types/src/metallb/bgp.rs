//! How speakers restart and leave BGP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The longest restart time in seconds: it has twelve bits (RFC 4724 §3).
const LONGEST_RESTART: u64 = 4095;
/// The longest wait that the speaker's flag takes, in seconds: a day.
const LONGEST_WAIT: u64 = 86_400;

/// How speakers restart and leave BGP. What is unset is as the speaker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerBgp {
    /// How long routers keep the routes of a speaker that restarts, for BGPPeers with enableGracefulRestart, in whole
    /// seconds such as 90s or 2m, up to 4095s; 120s when unset. In native mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_time: Option<GoDuration>,

    /// What drains a node of BGP traffic besides its label metallb.io/drain; nothing when unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain: Vec<DrainTrigger>,

    /// How long a node that is drained asks routers to prefer other nodes before it withdraws its routes, in whole seconds
    /// such as 90s or 2m, up to 24h; 30s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_wait: Option<GoDuration>,
}

/// What drains a node of BGP traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrainTrigger {
    /// The node is cordoned.
    Cordon,
    /// The node is not ready, or has a taint of a shutdown or removal.
    Taint,
}

impl DrainTrigger {
    /// Gives the name that flags use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Taint => "taint",
        }
    }
}

impl SpeakerBgp {
    /// Tells the seconds of `restartTime`.
    ///
    /// # Errors
    /// Says why the text is no duration that the speaker takes.
    pub fn restart_seconds(&self) -> Result<Option<u64>, String> {
        let time = self.restart_time.as_ref();
        time.map(|time| time.whole_seconds(LONGEST_RESTART)).transpose()
    }

    /// Tells the seconds of `drainWait`.
    ///
    /// # Errors
    /// Says why the text is no duration that the speaker takes.
    pub fn drain_wait_seconds(&self) -> Result<Option<u64>, String> {
        let wait = self.drain_wait.as_ref();
        wait.map(|wait| wait.whole_seconds(LONGEST_WAIT)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_have_the_limits_of_their_flags() {
        let seconds = |restart: &str, wait: &str| {
            let bgp = SpeakerBgp {
                restart_time: Some(GoDuration::new(restart)),
                drain_wait: Some(GoDuration::new(wait)),
                ..SpeakerBgp::default()
            };
            (bgp.restart_seconds(), bgp.drain_wait_seconds())
        };
        assert_eq!(seconds("4095s", "24h"), (Ok(Some(4095)), Ok(Some(86_400))));
        let too_long = |text| Err(format!("{text} seconds"));
        assert_eq!(
            seconds("4096s", "86401s"),
            (
                too_long("\"4096s\" is longer than 4095"),
                too_long("\"86401s\" is longer than 86400")
            )
        );
        let unset = SpeakerBgp::default();
        assert_eq!(
            (unset.restart_seconds(), unset.drain_wait_seconds()),
            (Ok(None), Ok(None))
        );
    }
}
