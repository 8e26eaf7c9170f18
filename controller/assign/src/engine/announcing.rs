//! Services that no node may announce, and since when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use metallb_announce::ServiceView;
use metallb_announce::reach::{Barred, Reach};
use metallb_api::names::announcement_reason as reason;
use metallb_ipam::{Action as Decision, EventKind, Key, Level, PoolName};

use crate::view::{self, Wanted};

/// What the log calls it that no node may announce a Service.
pub const NOT_ANNOUNCEABLE: &str = "notAnnounceable";

/// So long it must have been so before it is said: nodes and advertisements come and go.
const SETTLED: Duration = Duration::from_secs(5);

/// How the Services of each pool may be announced. Of a pool that is missing that is not known.
pub type Reaches = BTreeMap<String, Reach>;

/// What is to be said of one Service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its condition.
    pub(super) condition: Wanted,
    /// What is news, for user and log.
    pub(super) news: Option<[Decision; 2]>,
    /// To be looked at again after that time.
    pub(super) later: Option<Duration>,
}

impl Finding {
    const fn only(condition: Wanted) -> Self {
        Self {
            condition,
            news: None,
            later: None,
        }
    }

    /// Nothing to be said yet, if ever.
    const fn later(later: Option<Duration>) -> Self {
        Self {
            condition: Wanted::Unchanged,
            news: None,
            later,
        }
    }
}

/// Judges Services that have addresses.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    reaches: Option<Arc<Reaches>>,
    /// The pool of every Service that was judged.
    pools: HashMap<Key, PoolName>,
    /// Services that no node may announce and that do not say so: since when.
    suspects: HashMap<Key, Duration>,
    /// What was said of Services that may carry no condition, which is the memory of all others.
    told: HashMap<Key, Barred>,
}

impl Announcing {
    /// Takes in how pools may be announced, and returns the Services that this concerns.
    pub(super) fn set(&mut self, reaches: Option<Arc<Reaches>>) -> BTreeSet<Key> {
        let before = std::mem::replace(&mut self.reaches, reaches);
        let (before, after) = (before.unwrap_or_default(), self.reaches.clone().unwrap_or_default());
        let changed: BTreeSet<&str> = after
            .iter()
            .filter(|(pool, reach)| before.get(*pool) != Some(reach))
            .map(|(pool, _)| pool.as_str())
            .collect();
        if changed.is_empty() {
            return BTreeSet::new();
        }
        let concerned = self.pools.iter().filter(|(_, pool)| changed.contains(&***pool));
        concerned.map(|(key, _)| key.clone()).collect()
    }

    /// Judges a Service by the pool of its addresses; without addresses there is nothing to announce.
    ///
    /// `elapsed` is the age of this term.
    pub(super) fn judge(
        &mut self,
        elapsed: Duration,
        key: &Key,
        service: &Service,
        pool: Option<&PoolName>,
        conditions: bool,
    ) -> Finding {
        let Some(pool) = pool else {
            self.forget(key);
            return Finding::only(Wanted::Absent);
        };
        self.pools.insert(key.clone(), Arc::clone(pool));
        let reach = self.reaches.as_ref().and_then(|all| all.get(&**pool));
        let verdict = reach.map(|reach| reach.judge(&ServiceView::from(service)));
        let finding = match verdict {
            None => Finding::later(None),
            Some(Ok(())) => self.open(elapsed, key, service),
            Some(Err(barred)) => self.barred(elapsed, key, service, barred, pool),
        };
        match conditions {
            true => finding,
            false => self.without_condition(key, finding, verdict.and_then(Result::err)),
        }
    }

    /// Forgets a Service that is gone, or is not for us.
    pub(super) fn forget(&mut self, key: &Key) {
        self.pools.remove(key);
        self.suspects.remove(key);
        self.told.remove(key);
    }

    /// What was said once is taken back at once, but not at the beginning of a term, when watches may be behind.
    fn open(&mut self, elapsed: Duration, key: &Key, service: &Service) -> Finding {
        self.suspects.remove(key);
        self.told.remove(key);
        let early = left(Duration::ZERO, elapsed);
        match (view::announceable(service), early) {
            (Some(_), Some(left)) => Finding::later(Some(left)),
            _ => Finding::only(Wanted::Absent),
        }
    }

    fn barred(&mut self, elapsed: Duration, key: &Key, service: &Service, barred: Barred, pool: &PoolName) -> Finding {
        let message = barred.sentence(pool);
        let condition = Wanted::Says {
            status: "False",
            reason: reason_of(barred),
            message: message.clone(),
        };
        let said = view::announceable(service);
        if condition.is_met(said) {
            self.suspects.remove(key);
            return Finding::only(condition);
        }
        if said.is_none() {
            let known = self.suspects.get(key).copied();
            let since = *self.suspects.entry(key.clone()).or_insert(elapsed);
            if let Some(left) = left(since, elapsed) {
                // Whoever waits already is looked at when the time has come.
                return Finding::later(known.is_none().then_some(left));
            }
        }
        Finding {
            condition,
            news: Some(news(reason_of(barred), message)),
            later: None,
        }
    }

    fn without_condition(&mut self, key: &Key, finding: Finding, barred: Option<Barred>) -> Finding {
        let Finding { news, later, .. } = finding;
        let known = barred.is_some() && self.told.get(key).copied() == barred;
        let news = news.filter(|_| !known);
        if let (Some(_), Some(barred)) = (&news, barred) {
            self.told.insert(key.clone(), barred);
        }
        Finding {
            condition: Wanted::Absent,
            news,
            later,
        }
    }
}

/// The time that is left of [`SETTLED`].
fn left(since: Duration, elapsed: Duration) -> Option<Duration> {
    let left = (since + SETTLED).checked_sub(elapsed);
    left.filter(|left| !left.is_zero())
}

fn reason_of(barred: Barred) -> &'static str {
    match barred {
        Barred::NoAdvertisement => reason::NO_ADVERTISEMENT,
        Barred::ServiceNotSelected => reason::SERVICE_NOT_SELECTED,
        Barred::SharedIpWithServiceSelector => reason::SHARED_IP_WITH_SERVICE_SELECTOR,
        Barred::NoMatchingNode => reason::NO_MATCHING_NODE,
        Barred::NoPeer => reason::NO_PEER,
        Barred::NodesUnavailable => reason::NODES_UNAVAILABLE,
        Barred::NodesExcluded => reason::NODES_EXCLUDED,
    }
}

/// What user and log are told of a Service that no node may announce.
fn news(reason: &'static str, message: String) -> [Decision; 2] {
    let detail = format!("{reason}: {message}");
    let event = Decision::Event {
        kind: EventKind::Warning,
        reason,
        message,
    };
    let log = Decision::Log {
        level: Level::Warn,
        event: NOT_ANNOUNCEABLE,
        detail,
    };
    [event, log]
}
