//! Whether the parts of the speaker that others rely on go on, seen from a thread that does not depend on them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// A part that shows no sign of life for so long is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// Signs of life of one part of the speaker. Once there is one, they are expected twice a second, until it is dropped.
#[derive(Debug)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// Gives a sign of life.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A part that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    part: &'static str,
    beats: Arc<AtomicU64>,
    seen: u64,
    since: Option<Instant>,
}

impl Watched {
    pub(super) fn new(part: &'static str) -> (Heartbeat, Self) {
        let beats = Arc::<AtomicU64>::default();
        let watched = Self {
            part,
            beats: Arc::clone(&beats),
            seen: 0,
            since: None,
        };
        (Heartbeat(beats), watched)
    }

    /// Says whether its owner is gone: that is noticed elsewhere.
    fn is_over(&self) -> bool {
        Arc::strong_count(&self.beats) == 1
    }
}

/// All that are watched.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    watched: Vec<Watched>,
    looked: Option<Instant>,
}

impl Heartbeats {
    pub(super) fn add(&mut self, watched: Watched) {
        self.watched.push(watched);
    }

    /// Looks at all of them; which are stuck. To be called every [`LOOK`].
    pub(super) fn look(&mut self, now: Instant) -> Vec<&'static str> {
        let paused = self.looked.replace(now).is_some_and(|before| now > before + 2 * LOOK);
        self.watched.retain(|watched| !watched.is_over());
        for watched in &mut self.watched {
            let beats = watched.beats.load(Ordering::Relaxed);
            if beats != watched.seen {
                watched.seen = beats;
                watched.since = Some(now);
            } else if paused {
                // So was whoever should have beaten.
                watched.since = watched.since.map(|_| now);
            }
        }
        let stuck = |watched: &&Watched| watched.since.is_some_and(|since| since + STUCK <= now);
        self.watched.iter().filter(stuck).map(|watched| watched.part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeats() -> (Heartbeats, Heartbeat, Instant) {
        let (heartbeat, watched) = Watched::new("part");
        let mut heartbeats = Heartbeats::default();
        heartbeats.add(watched);
        (heartbeats, heartbeat, Instant::now())
    }

    /// Looks as often as is due, for `time`; which are stuck then.
    fn look_for(heartbeats: &mut Heartbeats, now: &mut Instant, time: Duration) -> Vec<&'static str> {
        let end = *now + time;
        loop {
            let stuck = heartbeats.look(*now);
            if *now >= end {
                return stuck;
            }
            *now += LOOK;
        }
    }

    #[test]
    fn who_falls_silent_is_stuck_until_it_beats_again() {
        let (mut heartbeats, heartbeat, mut now) = heartbeats();
        assert!(
            look_for(&mut heartbeats, &mut now, 10 * STUCK).is_empty(),
            "it has not begun"
        );
        heartbeat.beat();
        assert!(look_for(&mut heartbeats, &mut now, STUCK - LOOK).is_empty());
        assert_eq!(look_for(&mut heartbeats, &mut now, LOOK), ["part"]);
        heartbeat.beat();
        assert!(look_for(&mut heartbeats, &mut now, LOOK).is_empty());
    }

    #[test]
    fn a_pause_of_the_whole_process_makes_nobody_stuck() {
        let (mut heartbeats, heartbeat, mut now) = heartbeats();
        heartbeat.beat();
        assert!(look_for(&mut heartbeats, &mut now, LOOK).is_empty());
        now += 10 * STUCK;
        assert!(look_for(&mut heartbeats, &mut now, STUCK - LOOK).is_empty());
        assert_eq!(look_for(&mut heartbeats, &mut now, LOOK), ["part"]);
    }

    #[test]
    fn what_has_ended_is_not_stuck() {
        let (mut heartbeats, heartbeat, mut now) = heartbeats();
        heartbeat.beat();
        assert!(look_for(&mut heartbeats, &mut now, LOOK).is_empty());
        drop(heartbeat);
        assert!(look_for(&mut heartbeats, &mut now, 2 * STUCK).is_empty());
    }
}
