//! How often, how long, how many: memberlist's settings and the formulas that use them.

use std::time::Duration;

/// Members up to which push/pulls are as frequent as configured.
const PUSH_PULL_THRESHOLD: usize = 32;

/// The settings of a membership, by memberlist's names. All members should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two probes of other members.
    pub probe_interval: Duration,
    /// Until a probed member's answer, after which others are asked to probe it, too.
    pub probe_timeout: Duration,
    /// How many others.
    pub indirect_checks: usize,
    /// How long a member is suspect before it is dead, in probe intervals and by the size of the membership.
    pub suspicion_mult: u32,
    /// How much longer at most, while few others suspect it as well.
    pub suspicion_max_timeout_mult: u32,
    /// Highest factor of this node's own slowness.
    pub awareness_max_multiplier: u32,
    /// Between two rounds of gossip.
    pub gossip_interval: Duration,
    /// Members told by a round.
    pub gossip_nodes: usize,
    /// How long the dead are told too, and remembered.
    pub gossip_to_the_dead_time: Duration,
    /// How often a message is told, by the size of the membership.
    pub retransmit_mult: usize,
    /// Between two exchanges of the whole state with another member.
    pub push_pull_interval: Duration,
    /// Limit of an exchange over TCP.
    pub tcp_timeout: Duration,
    /// Whether a member that does not answer datagrams is asked over TCP.
    pub tcp_pings: bool,
    /// Largest datagram.
    pub udp_buffer_size: usize,
}

impl Timing {
    /// For nodes that are near each other; the default.
    #[must_use]
    pub fn lan() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            awareness_max_multiplier: 8,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead_time: Duration::from_secs(30),
            retransmit_mult: 4,
            push_pull_interval: Duration::from_secs(30),
            tcp_timeout: Duration::from_secs(10),
            tcp_pings: true,
            udp_buffer_size: 1400,
        }
    }

    /// For nodes that are far from each other.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 6,
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            gossip_to_the_dead_time: Duration::from_secs(60),
            push_pull_interval: Duration::from_secs(60),
            tcp_timeout: Duration::from_secs(30),
            ..Self::lan()
        }
    }

    /// For members on one machine.
    #[must_use]
    pub fn local() -> Self {
        Self {
            probe_timeout: Duration::from_millis(200),
            indirect_checks: 1,
            suspicion_mult: 3,
            gossip_interval: Duration::from_millis(100),
            gossip_to_the_dead_time: Duration::from_secs(15),
            retransmit_mult: 2,
            push_pull_interval: Duration::from_secs(15),
            tcp_timeout: Duration::from_secs(1),
            ..Self::lan()
        }
    }

    /// How long a member stays suspect at least, among `members`; in whole milliseconds of the scale.
    pub(crate) fn suspicion_min(&self, members: usize) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a logarithm of a small count, at least 1"
        )]
        let scale = ((members.max(1) as f64).log10().max(1.0) * 1000.0) as u32;
        self.probe_interval
            .saturating_mul(self.suspicion_mult.saturating_mul(scale))
            / 1000
    }

    /// How often a message is told among `members`: by the decimal digits of their number.
    pub(crate) fn retransmit_limit(&self, members: usize) -> usize {
        // The ceiling of log10(n + 1) is the number of digits of n.
        let digits = members.checked_ilog10().map_or(0, |log| log as usize + 1);
        self.retransmit_mult.saturating_mul(digits)
    }

    /// Between two push/pulls among `members`: longer by one interval for every doubling beyond 32.
    pub(crate) fn push_pull_every(&self, members: usize) -> Duration {
        let mut factor = 1;
        let mut reached = PUSH_PULL_THRESHOLD;
        while reached < members {
            reached = reached.saturating_mul(2);
            factor += 1;
        }
        self.push_pull_interval.saturating_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_grows_with_the_logarithm_of_the_members() {
        let seconds = |members| Timing::lan().suspicion_min(members).as_secs_f64();
        assert_eq!([seconds(0), seconds(2), seconds(10)], [4.0, 4.0, 4.0]);
        assert_eq!(seconds(100), 8.0);
        assert_eq!(seconds(30), 5.908);
        assert_eq!(Timing::wan().suspicion_min(3), Duration::from_secs(30));
    }

    #[test]
    fn messages_are_told_four_times_a_digit() {
        let limits = [0, 1, 9, 10, 99, 100].map(|members| Timing::lan().retransmit_limit(members));
        assert_eq!(limits, [0, 4, 4, 8, 8, 12]);
    }

    #[test]
    fn large_memberships_exchange_everything_less_often() {
        let seconds = [2, 32, 33, 64, 65, 300].map(|members| Timing::lan().push_pull_every(members).as_secs());
        assert_eq!(seconds, [30, 30, 60, 60, 90, 150]);
    }
}
