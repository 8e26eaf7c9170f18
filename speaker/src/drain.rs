//! Draining a node of BGP traffic: routers are asked to prefer other nodes (GRACEFUL_SHUTDOWN, RFC 8326), and after a wait
//! the routes are withdrawn.
//!
//! ```text
//!             wanted                     wait is over
//!  Announce ─────────► Shun (65535:0) ───────────────► Withdraw
//!      ▲                    │ not wanted any more          │
//!      └────────────────────┴──────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use metallb_dataplane::bgp::Posture;

use crate::departure::Standing;

/// What drains a node besides the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Triggers {
    /// It is cordoned.
    pub cordon: bool,
    /// It is tainted for a shutdown or its removal, or not ready.
    pub taint: bool,
}

/// When and how a node is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOptions {
    /// What drains it besides its label.
    pub triggers: Triggers,
    /// How long routers have to prefer other nodes.
    pub wait: Duration,
}

impl DrainOptions {
    fn wants(&self, standing: Standing) -> bool {
        standing.marked
            || (self.triggers.cordon && standing.cordoned)
            || (self.triggers.taint && standing.shutting_down)
    }
}

/// The drain of this node.
#[derive(Debug)]
pub(crate) struct Drain {
    options: DrainOptions,
    stage: Stage,
}

/// How far the drain has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of the Node yet; routes are announced.
    Unknown,
    /// The node is not drained.
    Announcing,
    /// Routers are asked to prefer other nodes, until the routes are withdrawn at this time.
    Warning(Instant),
    /// The routes are withdrawn.
    Withdrawn,
}

impl Stage {
    fn posture(self) -> Posture {
        match self {
            Self::Unknown | Self::Announcing => Posture::Announce,
            Self::Warning(_) => Posture::Shun,
            Self::Withdrawn => Posture::Withdraw,
        }
    }
}

impl Drain {
    /// Makes the drain of a node of which nothing is known yet.
    pub(crate) fn new(options: DrainOptions) -> Self {
        Self {
            options,
            stage: Stage::Unknown,
        }
    }

    /// Takes in the state of the Node; returns the posture of routes if it changes.
    ///
    /// A node that is to be drained when the speaker starts was drained before, so its routes are withdrawn at once.
    pub(crate) fn hear(&mut self, now: Instant, standing: Standing) -> Option<Posture> {
        let stage = match (self.options.wants(standing), self.stage) {
            (false, _) => Stage::Announcing,
            (true, Stage::Unknown) => Stage::Withdrawn,
            (true, Stage::Announcing) if self.options.wait.is_zero() => Stage::Withdrawn,
            (true, Stage::Announcing) => Stage::Warning(now + self.options.wait),
            (true, stage @ (Stage::Warning(_) | Stage::Withdrawn)) => stage,
        };
        self.enter(stage)
    }

    /// Returns when [`Drain::tick`] is due, if at all.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Warning(until) => Some(until),
            Stage::Unknown | Stage::Announcing | Stage::Withdrawn => None,
        }
    }

    /// Ends the wait if it is over; returns the posture of routes if it changes.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Posture> {
        let over = self.next_deadline().is_some_and(|until| until <= now);
        over.then(|| self.enter(Stage::Withdrawn)).flatten()
    }

    fn enter(&mut self, stage: Stage) -> Option<Posture> {
        let before = std::mem::replace(&mut self.stage, stage).posture();
        let now = stage.posture();
        (before != now).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);
    const MARKED: Standing = Standing {
        marked: true,
        ..Standing::SERVING
    };

    fn drain(triggers: Triggers, wait: Duration) -> Drain {
        Drain::new(DrainOptions { triggers, wait })
    }

    // BGP-72
    #[test]
    fn routers_are_warned_before_the_routes_go_and_told_when_it_is_off() {
        let (mut drain, start) = (drain(Triggers::default(), WAIT), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(drain.hear(at(0), Standing::SERVING), None);
        assert_eq!(drain.hear(at(1), MARKED), Some(Posture::Shun));
        assert_eq!(drain.hear(at(20), MARKED), None, "nor does the wait begin anew");
        assert_eq!((drain.next_deadline(), drain.tick(at(30))), (Some(at(31)), None));
        assert_eq!(drain.tick(at(31)), Some(Posture::Withdraw));
        assert_eq!((drain.next_deadline(), drain.tick(at(99))), (None, None));
        assert_eq!(drain.hear(at(100), Standing::SERVING), Some(Posture::Announce));
        // Called off before anything was withdrawn.
        assert_eq!(drain.hear(at(110), MARKED), Some(Posture::Shun));
        assert_eq!(drain.hear(at(120), Standing::SERVING), Some(Posture::Announce));
        assert_eq!((drain.next_deadline(), drain.tick(at(999))), (None, None));
    }

    #[test]
    fn drained_node_stays_so_over_a_restart_of_the_speaker() {
        let mut drain = drain(Triggers::default(), WAIT);
        assert_eq!(drain.hear(Instant::now(), MARKED), Some(Posture::Withdraw));
    }

    #[test]
    fn without_a_wait_nobody_is_warned() {
        let mut drain = drain(Triggers::default(), Duration::ZERO);
        drain.hear(Instant::now(), Standing::SERVING);
        assert_eq!(drain.hear(Instant::now(), MARKED), Some(Posture::Withdraw));
    }

    // BGP-9
    #[test]
    fn cordon_and_taint_drain_only_where_they_are_meant_to() {
        let cordoned = Standing {
            cordoned: true,
            ..Standing::SERVING
        };
        let shutting_down = Standing {
            shutting_down: true,
            ..Standing::SERVING
        };
        for (triggers, expected) in [
            (Triggers::default(), [false, false]),
            (
                Triggers {
                    cordon: true,
                    taint: false,
                },
                [true, false],
            ),
            (
                Triggers {
                    cordon: false,
                    taint: true,
                },
                [false, true],
            ),
        ] {
            let options = DrainOptions { triggers, wait: WAIT };
            assert_eq!(
                [cordoned, shutting_down].map(|standing| options.wants(standing)),
                expected
            );
        }
    }
}
