//! Events on BGPPeers about their sessions: one for each change of state, none for retries.
//!
//! While a session or its BFD is down the event is repeated twice an hour, because the API server deletes events after an
//! hour: `kubectl describe` of the BGPPeer shows it for as long as it is true.

use std::collections::BTreeMap;
use std::time::Duration;

use metallb_api::names::event_reason as reason;
use metallb_dataplane::bfd::State;
use metallb_dataplane::bgp::Trouble;
use tokio::time::Instant;

use super::picture::{self, Path, Picture, rfc3339};

/// Most events of one peer in a burst.
const BURST: u32 = 8;
/// Time after which the burst grows by one again.
const REFILL: Duration = Duration::from_secs(60);
/// Most different errors of retries that are remembered.
const REASONS: usize = 16;
/// Time after which an event is repeated whose reason lasts.
const AGAIN: Duration = Duration::from_secs(30 * 60);

/// An event on a BGPPeer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// The BGPPeer.
    pub(super) peer: String,
    /// Whether it is of type Warning.
    pub(super) warning: bool,
    /// One of [`reason`].
    pub(super) reason: &'static str,
    /// The note of the event.
    pub(super) note: String,
}

/// Decides which events to emit.
#[derive(Debug)]
pub(super) struct Teller {
    node: String,
    peers: BTreeMap<String, Told>,
}

/// The events of one peer so far.
#[derive(Debug)]
struct Told {
    picture: Option<Picture>,
    /// The last warning about the session, while it is true.
    session: Option<Lasting>,
    /// The last warning about BFD, while it is true.
    bfd: Option<Lasting>,
    /// The errors of retries since the session was up.
    reasons: Vec<String>,
    budget: Budget,
}

/// A warning that is repeated while it is true.
#[derive(Debug)]
struct Lasting {
    told: Instant,
    news: News,
}

/// Limits the events of one peer.
#[derive(Debug)]
struct Budget {
    left: u32,
    refilled: Instant,
    /// Events dropped since the last one that was emitted.
    withheld: u32,
}

impl Teller {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            peers: BTreeMap::new(),
        }
    }

    /// Compares the sessions with what was seen before, and returns the events to emit. A removed peer needs none.
    pub(super) fn observe(&mut self, now: Instant, pictures: &BTreeMap<String, Picture>) -> Vec<News> {
        self.peers.retain(|peer, _| pictures.contains_key(peer));
        let mut all = Vec::new();
        for (peer, picture) in pictures {
            let told = self.peers.entry(peer.clone()).or_insert_with(|| Told::new(now));
            let about = About {
                node: &self.node,
                peer,
                picture,
            };
            all.extend(told.observe(now, &about));
        }
        all
    }
}

impl Told {
    fn new(now: Instant) -> Self {
        Self {
            picture: None,
            session: None,
            bfd: None,
            reasons: Vec::new(),
            budget: Budget {
                left: BURST,
                refilled: now,
                withheld: 0,
            },
        }
    }

    fn observe(&mut self, now: Instant, about: &About<'_>) -> Vec<News> {
        let before = self.picture.replace(about.picture.clone());
        let mut all = self.observe_session(now, about, before.as_ref());
        all.extend(self.observe_bfd(now, about, before.as_ref()));
        all
    }

    fn observe_session(&mut self, now: Instant, about: &About<'_>, before: Option<&Picture>) -> Vec<News> {
        let (mut all, down) = (Vec::new(), !about.picture.up);
        for news in about.session(before) {
            if down && news.warning && self.is_known(about.picture) {
                // No event now; the next repetition carries it.
                let told = self.session.as_ref().map_or(now, |lasting| lasting.told);
                self.session = Some(Lasting { told, news });
                continue;
            }
            self.session = (down && news.warning).then(|| Lasting::new(now, &news));
            all.extend(self.budget.admit(now, news));
        }
        all.extend(tell_again(&mut self.session, down, now));
        all
    }

    fn observe_bfd(&mut self, now: Instant, about: &About<'_>, before: Option<&Picture>) -> Vec<News> {
        let failed = about.picture.bfd.as_ref().is_some_and(|path| path.failed);
        let mut all = Vec::new();
        for news in about.bfd(before) {
            self.bfd = (failed && news.warning).then(|| Lasting::new(now, &news));
            all.extend(self.budget.admit(now, news));
        }
        all.extend(tell_again(&mut self.bfd, failed, now));
        all
    }

    /// Whether a retry since the session was up has ended with this error: while a router starts, errors alternate.
    fn is_known(&mut self, picture: &Picture) -> bool {
        let Some(trouble) = &picture.trouble else { return false };
        if trouble.lost {
            self.reasons.clear();
        } else if self.reasons.contains(&trouble.text) {
            return true;
        }
        if self.reasons.len() == REASONS {
            self.reasons.remove(0);
        }
        self.reasons.push(trouble.text.clone());
        false
    }
}

impl Lasting {
    fn new(told: Instant, news: &News) -> Self {
        let news = news.clone();
        Self { told, news }
    }
}

/// Forgets a warning that is no longer true, and returns one that is due for repetition.
fn tell_again(lasting: &mut Option<Lasting>, holds: bool, now: Instant) -> Option<News> {
    lasting.take_if(|_| !holds);
    let due = lasting
        .as_mut()
        .filter(|lasting| now.saturating_duration_since(lasting.told) >= AGAIN)?;
    due.told = now;
    Some(due.news.clone())
}

impl Budget {
    /// Returns the event if the limit allows it, with the number of those dropped before.
    fn admit(&mut self, now: Instant, mut news: News) -> Option<News> {
        while self.left < BURST && now.saturating_duration_since(self.refilled) >= REFILL {
            (self.left, self.refilled) = (self.left + 1, self.refilled + REFILL);
        }
        if self.left == BURST {
            self.refilled = now;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.withheld += 1;
            return None;
        };
        self.left = left;
        if self.withheld > 0 {
            news.note += &format!("; {} earlier changes were too many to be told", self.withheld);
            self.withheld = 0;
        }
        Some(news)
    }
}

/// The session that a change is about.
struct About<'a> {
    node: &'a str,
    peer: &'a str,
    picture: &'a Picture,
}

impl About<'_> {
    /// The events for changes of the session since `before`.
    fn session(&self, before: Option<&Picture>) -> Vec<News> {
        let now = self.picture;
        let begun = |picture: &Picture| {
            picture
                .trouble
                .as_ref()
                .map(|trouble| (trouble.since, trouble.text.clone()))
        };
        let trouble = now.trouble.as_ref();
        let trouble = trouble.filter(|_| before.and_then(begun) != begun(now));
        let came_up = now.up && before.is_none_or(|before| !before.up || before.since != now.since);
        let bad = trouble.map(|trouble| self.trouble(trouble));
        bad.into_iter().chain(came_up.then(|| self.established())).collect()
    }

    fn established(&self) -> News {
        let names = |families: &[_]| {
            families
                .iter()
                .copied()
                .map(picture::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let carries = match names(&self.picture.families) {
            none if none.is_empty() => "no routes".to_owned(),
            families => format!("routes of {families}"),
        };
        let mut what = format!("BGP session established, it carries {carries}");
        if !self.picture.lacking.is_empty() {
            what += &format!(", but not of {} as it should", names(&self.picture.lacking));
        }
        self.news(false, reason::SESSION_UP, &what)
    }

    fn trouble(&self, trouble: &Trouble) -> News {
        // A session that was up is lost, not refused, even if a NOTIFICATION ended it.
        let refused = trouble.code.is_some() && !trouble.lost;
        let (reason, what) = if refused {
            (reason::SESSION_REFUSED, "BGP session refused since")
        } else {
            (reason::SESSION_DOWN, "BGP session down since")
        };
        self.news(
            true,
            reason,
            &format!("{what} {}: {}", rfc3339(trouble.since), trouble.text),
        )
    }

    /// The events for changes of BFD since `before`; none for a session that was never up, or was switched off.
    fn bfd(&self, before: Option<&Picture>) -> Vec<News> {
        let Some(path) = &self.picture.bfd else {
            return Vec::new();
        };
        let before = before.and_then(|before| before.bfd.as_ref());
        let changed = |claim: fn(&Path) -> bool| {
            claim(path) && before.is_none_or(|before| !claim(before) || before.since != path.since)
        };
        if changed(|path| path.state == State::Up) {
            return vec![self.news(false, reason::BFD_UP, "BFD up")];
        }
        // Init on the way up again is still down.
        if path.failed && before.is_none_or(|before| !before.failed) {
            let what = format!("BFD down since {}: {}", rfc3339(path.since), path.why);
            return vec![self.news(true, reason::BFD_DOWN, &what)];
        }
        Vec::new()
    }

    fn news(&self, warning: bool, reason: &'static str, what: &str) -> News {
        let vrf = self.picture.vrf.as_ref().map(|vrf| format!(" in VRF {vrf}"));
        let address = &self.picture.address;
        News {
            peer: self.peer.to_owned(),
            warning,
            reason,
            note: format!("node {}, peer {address}{}: {what}", self.node, vrf.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use metallb_dataplane::bgp::{Direction, Family};

    use super::super::picture::tests::{at, down, path, trouble, up};
    use super::*;

    fn only(picture: Picture) -> BTreeMap<String, Picture> {
        [("tor".to_owned(), picture)].into()
    }

    fn reasons(news: &[News]) -> Vec<&str> {
        news.iter().map(|news| news.reason).collect()
    }

    fn refused(since: u64, count: u64) -> Picture {
        let trouble = Trouble {
            direction: Some(Direction::Received),
            code: Some((2, 2)),
            at: at(since + count),
            count,
            ..trouble("peer sent NOTIFICATION 2/2 (bad peer AS)", since, false)
        };
        Picture {
            trouble: Some(trouble),
            ..down(1, "", false)
        }
    }

    // BGP-109
    #[test]
    fn each_change_is_told_once_and_no_retry() {
        let (mut teller, now) = (Teller::new("node-a"), Instant::now());
        let untried = Picture {
            trouble: None,
            ..down(1, "", false)
        };
        assert!(teller.observe(now, &only(untried)).is_empty());
        let told = teller.observe(now, &only(refused(60, 1)));
        assert_eq!(reasons(&told), ["SessionRefused"]);
        assert_eq!(
            told[0].note,
            "node node-a, peer 192.0.2.1: BGP session refused since 1970-01-01T00:01:00Z: peer sent NOTIFICATION 2/2 (bad peer AS)"
        );
        for count in 2..50 {
            assert!(teller.observe(now, &only(refused(60, count))).is_empty());
        }
        let told = teller.observe(now, &only(up(200)));
        assert_eq!((reasons(&told), told[0].warning), (vec!["SessionUp"], false));
        let told = teller.observe(now, &only(down(300, "connection closed", true)));
        assert_eq!((reasons(&told), told[0].warning), (vec!["SessionDown"], true));
    }

    // BGP-109
    #[test]
    fn retries_that_end_in_turns_are_told_once_each_and_the_last_is_what_lasts() {
        let (mut teller, mut now) = (Teller::new("node-a"), Instant::now());
        teller.observe(now, &only(up(1)));
        let told = |picture, teller: &mut Teller, now| reasons(&teller.observe(now, &only(picture))).len();
        assert_eq!(told(down(10, "connection closed", true), &mut teller, now), 1);
        for since in (20..60).step_by(2) {
            let first = usize::from(since == 20);
            assert_eq!(told(down(since, "no route", false), &mut teller, now), first);
            assert_eq!(told(down(since + 1, "timed out", false), &mut teller, now), first);
        }
        now += AGAIN;
        let again = teller.observe(now, &only(down(59, "timed out", false)));
        assert!(again.len() == 1 && again[0].note.ends_with("timed out"), "{again:?}");
        assert_eq!(told(up(70), &mut teller, now), 1);
        assert_eq!(told(down(80, "connection closed", true), &mut teller, now), 1);
        assert_eq!(
            told(down(81, "no route", false), &mut teller, now),
            1,
            "after a session it is news"
        );
    }

    #[test]
    fn a_session_that_was_lost_and_is_back_already_is_told_both() {
        let (mut teller, now) = (Teller::new("node-a"), Instant::now());
        teller.observe(now, &only(up(1)));
        let back = Picture {
            trouble: Some(trouble("stopped: 6/10 (BFD down)", 5, true)),
            ..up(6)
        };
        assert_eq!(reasons(&teller.observe(now, &only(back))), ["SessionDown", "SessionUp"]);
    }

    #[test]
    fn what_a_session_does_not_carry_is_said() {
        let (mut teller, now) = (Teller::new("node-a"), Instant::now());
        let lacking = Picture {
            lacking: vec![Family::IPV6_UNICAST],
            vrf: Some("red".into()),
            ..up(1)
        };
        let told = teller.observe(now, &only(lacking));
        assert_eq!(
            told[0].note,
            "node node-a, peer 192.0.2.1 in VRF red: BGP session established, it carries routes of ipv4, but not of ipv6 as it should"
        );
    }

    // BGP-88
    #[test]
    fn bfd_is_told_as_down_until_it_is_up() {
        let (mut teller, mut now) = (Teller::new("node-a"), Instant::now());
        let with = |path| Picture {
            bfd: Some(path),
            ..up(1)
        };
        let never = Path {
            was_up: false,
            failed: false,
            ..path(State::Down, 1)
        };
        assert_eq!(reasons(&teller.observe(now, &only(with(never)))), ["SessionUp"]);
        assert_eq!(
            reasons(&teller.observe(now, &only(with(path(State::Up, 2))))),
            ["BFDUp"]
        );
        let told = teller.observe(now, &only(with(path(State::Down, 60))));
        assert_eq!(
            told[0].note,
            "node node-a, peer 192.0.2.1: BFD down since 1970-01-01T00:01:00Z: control detection time expired"
        );
        assert!(teller.observe(now, &only(with(path(State::Init, 70)))).is_empty());
        now += AGAIN;
        let again = teller.observe(now, &only(with(path(State::Init, 70))));
        assert_eq!(again, told, "events are forgotten after an hour");
        assert!(teller.observe(now, &only(with(path(State::Init, 70)))).is_empty());
        assert_eq!(
            reasons(&teller.observe(now, &only(with(path(State::Up, 80))))),
            ["BFDUp"]
        );
        now += AGAIN;
        assert!(teller.observe(now, &only(with(path(State::Up, 80)))).is_empty());
    }

    #[test]
    fn flaps_are_told_once_a_minute_in_the_end_and_counted() {
        let (mut teller, start) = (Teller::new("node-a"), Instant::now());
        let (mut told, mut last) = (0, String::new());
        for second in 0..3600 {
            let picture = match second % 2 {
                0 => up(second),
                _ => down(second, "connection closed", true),
            };
            let now = start + Duration::from_secs(second);
            for news in teller.observe(now, &only(picture)) {
                (told, last) = (told + 1, news.note);
            }
        }
        // Another each minute, and the reminders.
        assert!((60..=70).contains(&told), "{told}");
        assert!(last.ends_with("59 earlier changes were too many to be told"), "{last}");
    }

    #[test]
    fn a_peer_that_is_gone_is_forgotten() {
        let (mut teller, now) = (Teller::new("node-a"), Instant::now());
        teller.observe(now, &only(down(1, "connection closed", true)));
        assert!(teller.observe(now + AGAIN, &BTreeMap::new()).is_empty());
        assert!(teller.peers.is_empty());
    }
}
