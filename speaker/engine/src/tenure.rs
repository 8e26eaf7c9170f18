//! What this node says of itself, and since when it may own what others could.
//!
//! Only with `--l2-failback=delayed` is there anything to wait for: who has come lately says so, and all rank it behind the
//! others. It says it itself, so that all agree: nobody judges by when it has seen whom.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metallb_announce::Failback;

use crate::{Interface, Mac, Member};

/// What does not change while the speaker runs.
#[derive(Clone, Copy, Debug)]
pub struct TenureConfig {
    /// `--l2-failback`.
    pub failback: Failback,
    /// `--l2-failback-delay`.
    pub delay: Duration,
    /// When the speaker started, in milliseconds since 1970.
    pub boot: u64,
}

/// An interface on which this node can announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    mac: Mac,
    /// Since it could not be used before; until then it counts less.
    lately_until: Option<Instant>,
}

/// Keeps what this node says of itself. It reads no clock: time is an argument.
#[derive(Debug)]
pub struct Tenure {
    config: TenureConfig,
    /// It is not known yet what others there are.
    starting: bool,
    /// It owns nothing anyway, and will be a newcomer when it may again.
    barred: bool,
    newcomer_until: Option<Instant>,
    links: Option<BTreeMap<String, Link>>,
    now: Instant,
}

impl Tenure {
    /// Begins with a node that knows of no interface and of nobody else.
    #[must_use]
    pub fn new(config: TenureConfig, now: Instant) -> Self {
        Self {
            config,
            starting: true,
            barred: false,
            newcomer_until: None,
            links: None,
            now,
        }
    }

    /// These are now the interfaces on which this node can announce. One that was not among them before has come back.
    pub fn set_links(&mut self, now: Instant, links: BTreeMap<String, Mac>) {
        self.now = now;
        let back = self.links.is_some().then_some(now + self.config.delay);
        let known = self.links.take().unwrap_or_default();
        let link = |(name, mac): (String, Mac)| {
            let lately_until = known.get(&name).map_or(back, |known| known.lately_until);
            (name, Link { mac, lately_until })
        };
        self.links = Some(links.into_iter().map(link).collect());
    }

    /// The other members are known for the first time. Where nobody has been for long, as when the whole cluster starts, this
    /// node comes as early as the others.
    pub fn settle<'a>(&mut self, now: Instant, others: impl IntoIterator<Item = Option<&'a Member>>) {
        self.now = now;
        if !std::mem::take(&mut self.starting) {
            return;
        }
        let delay = u64::try_from(self.config.delay.as_millis()).unwrap_or(u64::MAX);
        let (mut earlier, mut all_ours) = (false, true);
        for other in others {
            let Some(other) = other else {
                all_ours = false;
                continue;
            };
            let long_since = other.boot.saturating_add(delay) < self.config.boot;
            earlier |= !other.starting && (other.newcomer || long_since);
        }
        if earlier && all_ours {
            self.newcomer_until = Some(now + self.config.delay);
        }
    }

    /// Whether this node may own nothing now: it is suspected or excluded.
    pub fn set_barred(&mut self, now: Instant, barred: bool) {
        self.now = now;
        if std::mem::replace(&mut self.barred, barred) && !barred {
            self.newcomer_until = Some(now + self.config.delay);
        }
    }

    /// The deadline has come.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// When this node says something else if nothing happens, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let links = self.links.iter().flat_map(BTreeMap::values);
        let ends = links.map(|link| link.lately_until).chain([self.newcomer_until]);
        let delayed = self.config.failback == Failback::Delayed;
        ends.flatten().filter(|end| delayed && *end > self.now).min()
    }

    /// What this node says of itself.
    #[must_use]
    pub fn member(&self) -> Member {
        let delayed = self.config.failback == Failback::Delayed;
        let waits = |until: Option<Instant>| delayed && until.is_some_and(|until| until > self.now);
        let interface = |(name, link): (&String, &Link)| {
            let interface = Interface {
                mac: link.mac,
                lately: waits(link.lately_until),
            };
            (name.clone(), interface)
        };
        Member {
            boot: self.config.boot,
            interfaces: self.links.iter().flatten().map(interface).collect(),
            more: false,
            newcomer: waits(self.newcomer_until) || (delayed && self.barred),
            starting: delayed && self.starting,
            failback: self.config.failback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(60);
    /// Of this node.
    const BOOT: u64 = 1_000_000;

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn tenure(failback: Failback, now: Instant) -> Tenure {
        let config = TenureConfig {
            failback,
            delay: DELAY,
            boot: BOOT,
        };
        let mut tenure = Tenure::new(config, now);
        tenure.set_links(now, links(&["eth0"]));
        tenure
    }

    fn links(names: &[&str]) -> BTreeMap<String, Mac> {
        names.iter().map(|name| ((*name).to_owned(), Mac::default())).collect()
    }

    fn other(seconds_before: u64) -> Member {
        Member {
            boot: BOOT - 1000 * seconds_before,
            ..Member::default()
        }
    }

    /// Whether a node is a newcomer that meets these.
    fn meets(others: &[Option<Member>]) -> bool {
        let now = start();
        let mut tenure = tenure(Failback::Delayed, now);
        assert!(tenure.member().starting);
        tenure.settle(now, others.iter().map(Option::as_ref));
        assert!(!tenure.member().starting);
        tenure.member().newcomer
    }

    // L2-93
    #[test]
    fn who_comes_to_others_is_a_newcomer_for_the_delay() {
        let now = start();
        let mut tenure = tenure(Failback::Delayed, now);
        tenure.settle(now, [Some(&other(100))]);
        assert!(tenure.member().newcomer);
        assert!(
            !tenure.member().interfaces["eth0"].lately,
            "it was there from the start"
        );
        assert_eq!(tenure.next_deadline(), Some(now + DELAY));
        tenure.tick(now + DELAY);
        assert!(!tenure.member().newcomer);
        assert_eq!(tenure.next_deadline(), None);
    }

    #[test]
    fn who_starts_with_the_whole_cluster_is_none() {
        let starting = Member {
            starting: true,
            ..other(5)
        };
        let newcomer = Member {
            newcomer: true,
            ..other(5)
        };
        assert!(!meets(&[]));
        assert!(!meets(&[Some(other(20)), Some(starting)]));
        assert!(meets(&[Some(other(20)), Some(newcomer)]), "a rolling restart");
        assert!(!meets(&[Some(other(100)), None]), "upstream's order counts anyway");
    }

    #[test]
    fn an_interface_that_comes_back_waits_for_itself() {
        let now = start();
        let mut tenure = tenure(Failback::Delayed, now);
        tenure.settle(now, []);
        tenure.set_links(now, links(&[]));
        let back = now + Duration::from_secs(5);
        tenure.set_links(back, links(&["eth0", "eth1"]));
        tenure.set_links(back + DELAY / 2, links(&["eth0", "eth1", "eth2"]));
        let lately = |tenure: &Tenure| -> Vec<bool> {
            tenure
                .member()
                .interfaces
                .values()
                .map(|interface| interface.lately)
                .collect()
        };
        assert_eq!(lately(&tenure), [true, true, true]);
        assert!(!tenure.member().newcomer);
        assert_eq!(tenure.next_deadline(), Some(back + DELAY));
        tenure.tick(back + DELAY);
        assert_eq!(lately(&tenure), [false, false, true]);
    }

    #[test]
    fn who_was_barred_is_a_newcomer_meanwhile_and_from_its_return() {
        let now = start();
        let mut tenure = tenure(Failback::Delayed, now);
        tenure.settle(now, []);
        tenure.set_barred(now, true);
        tenure.tick(now + 2 * DELAY);
        assert!(tenure.member().newcomer, "so that no one ever sees it without");
        tenure.set_barred(now + 2 * DELAY, false);
        assert!(tenure.member().newcomer);
        tenure.tick(now + 3 * DELAY);
        assert!(!tenure.member().newcomer);
    }

    #[test]
    fn with_another_setting_nobody_waits_for_anything() {
        for failback in [Failback::Immediate, Failback::Never] {
            let now = start();
            let mut tenure = tenure(failback, now);
            tenure.set_barred(now, true);
            tenure.set_links(now, links(&["eth0", "eth1"]));
            let member = tenure.member();
            assert!(!member.starting && !member.newcomer && !member.interfaces["eth1"].lately);
            assert_eq!((member.failback, tenure.next_deadline()), (failback, None));
        }
    }
}
