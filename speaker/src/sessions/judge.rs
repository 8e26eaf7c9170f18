//! When the object of a session is written.
//!
//! A session that flaps costs at most six writes a minute. Prefix counts change with every Service, at every peer and on
//! every node; they are written along with other changes, and on their own once in five minutes.

use std::time::Duration;

use metallb_api::BGPSessionStateStatus;
use tokio::time::Instant;

/// Delay of a write after a change, so that changes that belong together make one write.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// Least time between two writes of one object.
const GAP: Duration = Duration::from_secs(10);
/// Least time between two writes of one object if only prefix counts differ.
const COUNTS_GAP: Duration = Duration::from_secs(300);

/// What to do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It says what it should.
    Settled,
    /// It is written after this time.
    Wait(Duration),
    /// It is written now.
    Write,
}

/// Compares what an object says with what it should say; `last` is when it was written last.
pub(super) fn judge(
    says: Option<&BGPSessionStateStatus>,
    wanted: &BGPSessionStateStatus,
    last: Option<Instant>,
    now: Instant,
) -> Verdict {
    let gap = match says {
        Some(says) if same(says, wanted) => return Verdict::Settled,
        Some(says) if same(&countless(says), &countless(wanted)) => COUNTS_GAP,
        _ => GAP,
    };
    let since = last.map(|last| now.saturating_duration_since(last));
    match since.and_then(|since| gap.checked_sub(since)) {
        Some(left) if !left.is_zero() => Verdict::Wait(left),
        _ => Verdict::Write,
    }
}

/// The definition of frr-k8s, where that is installed instead of ours, drops what it does not know.
fn same(says: &BGPSessionStateStatus, wanted: &BGPSessionStateStatus) -> bool {
    says == wanted || (*says == says.upstreams() && !says.node.is_empty() && *says == wanted.upstreams())
}

fn countless(status: &BGPSessionStateStatus) -> BGPSessionStateStatus {
    BGPSessionStateStatus {
        prefixes: None,
        prefixes_wanted: None,
        ..status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Picture;
    use super::super::picture::tests::{down, up};
    use super::*;

    fn status(picture: &Picture) -> BGPSessionStateStatus {
        picture.status("node-a", "tor")
    }

    #[test]
    fn what_is_said_already_is_never_written() {
        let now = Instant::now();
        assert_eq!(
            judge(Some(&status(&up(1))), &status(&up(1)), None, now),
            Verdict::Settled
        );
        assert_eq!(judge(None, &status(&up(1)), None, now), Verdict::Write);
    }

    #[test]
    fn a_definition_that_drops_our_fields_is_no_reason_to_write_again() {
        let now = Instant::now();
        let kept = status(&up(1)).upstreams();
        assert_eq!(judge(Some(&kept), &status(&up(1)), None, now), Verdict::Settled);
        let gone = status(&down(2, "closed", true));
        assert_eq!(judge(Some(&kept), &gone, None, now), Verdict::Write);
        let nothing = BGPSessionStateStatus::default();
        assert_eq!(judge(Some(&nothing), &gone, None, now), Verdict::Write);
    }

    #[test]
    fn numbers_of_prefixes_wait_longer_than_the_state_and_travel_with_it() {
        let now = Instant::now();
        let more = Picture { advertised: 4, ..up(1) };
        let says = status(&up(1));
        let ago = |seconds| Some(now - Duration::from_secs(seconds));
        let wait = |seconds| Verdict::Wait(Duration::from_secs(seconds));
        assert_eq!(judge(Some(&says), &status(&more), ago(20), now), wait(280));
        assert_eq!(judge(Some(&says), &status(&more), ago(300), now), Verdict::Write);
        let lost = status(&down(2, "closed", true));
        assert_eq!(judge(Some(&says), &lost, ago(20), now), Verdict::Write);
        assert_eq!(judge(Some(&says), &lost, ago(4), now), wait(6));
    }

    // A session that goes up and down ten times a second, for an hour.
    #[test]
    fn a_flapping_session_costs_six_writes_a_minute() {
        let start = Instant::now();
        let (mut says, mut last, mut writes, mut due) = (None, None, 0, start);
        for step in 0..36_000_u64 {
            let now = start + Duration::from_millis(100 * step);
            let wanted = match step % 2 {
                0 => status(&up(step)),
                _ => status(&down(step, "closed", true)),
            };
            if now < due {
                continue;
            }
            match judge(says.as_ref(), &wanted, last, now) {
                Verdict::Write => (says, last, writes) = (Some(wanted), Some(now), writes + 1),
                Verdict::Wait(left) => due = now + left,
                Verdict::Settled => {}
            }
        }
        assert!((350..=360).contains(&writes), "{writes}");
    }
}
