//! Services and who announces them, as the speakers say it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use metallb_api::names::announced_reason as reason;
use metallb_ipam::Key;

use crate::view::{self, Conditions, Wanted};

/// A first announcement is said after this time: protocols and nodes that follow at once share the write.
const FIRST: Duration = Duration::from_secs(1);
/// Anything else must have been so for this long: a speaker or a node that restarts is back by then.
const SETTLED: Duration = Duration::from_secs(10);
/// Addresses for those who wait come first: while one was given or taken within this time, nothing is said for its own sake,
const BUSY: Duration = Duration::from_secs(2);
/// unless it has been so for this long.
const PATIENCE: Duration = Duration::from_secs(30);

const NOBODY: &str = "no speaker announces it: it may have no ready endpoint, or no node that may announce it has a \
                      speaker; speakers log the reason";
const BARRED: &str = "no node may announce it: the condition metallb.io/Announceable says why";

/// Who announces a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcers {
    /// The nodes that answer for it in layer 2. There are several only while it moves.
    pub layer2: BTreeSet<Arc<str>>,
    /// Whether any node announces it by BGP.
    pub bgp: bool,
}

impl Announcers {
    fn is_nobody(&self) -> bool {
        self.layer2.is_empty() && !self.bgp
    }

    /// The nodes of BGP are not counted: their number changes with endpoints and nodes, and each change would be a write.
    fn condition(&self, barred: bool) -> Wanted {
        if self.is_nobody() {
            return Wanted::Says {
                status: "False",
                reason: reason::NOT_ANNOUNCED,
                message: if barred { BARRED } else { NOBODY }.to_owned(),
            };
        }
        let nodes: Vec<String> = self.layer2.iter().map(|node| format!("{node:?}")).collect();
        let layer2 = match &nodes[..] {
            [] => None,
            [node] => Some(format!("by layer 2 from node {node}")),
            nodes => Some(format!("by layer 2 from nodes {}", nodes.join(", "))),
        };
        let ways: Vec<String> = layer2
            .into_iter()
            .chain(self.bgp.then(|| "by BGP".to_owned()))
            .collect();
        Wanted::Says {
            status: "True",
            reason: reason::ANNOUNCED,
            message: ways.join(" and "),
        }
    }
}

/// A Service that says something else than is so.
#[derive(Debug)]
struct Difference {
    /// Whether it is announced and does not say so.
    first: bool,
    since: Duration,
    /// When it is looked at again.
    next: Duration,
}

/// Decides when a Service is to say who announces it.
#[derive(Debug, Default)]
pub(super) struct Announced {
    differences: HashMap<Key, Difference>,
    /// When an address was given or taken last.
    assigned: Option<Duration>,
}

/// What one Service is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) condition: Wanted,
    /// Worth a write of its own.
    pub(super) due: bool,
    /// To be looked at again after that time.
    pub(super) later: Option<Duration>,
}

impl Saying {
    pub(super) const fn now(condition: Wanted) -> Self {
        Self {
            condition,
            due: true,
            later: None,
        }
    }

    const fn not_yet(condition: Wanted, later: Option<Duration>) -> Self {
        Self {
            condition,
            due: false,
            later,
        }
    }

    /// Together with what is said of nodes that may announce.
    pub(super) fn beside<'a>(&'a self, announceable: &'a Wanted) -> Conditions<'a> {
        Conditions {
            announceable,
            announced: &self.condition,
            announced_is_due: self.due,
        }
    }
}

impl Announced {
    /// Judges a Service; `by` is `None` while that is not known, `barred` says that no node may announce it, `elapsed` is
    /// the age of this term.
    pub(super) fn judge(
        &mut self,
        elapsed: Duration,
        key: &Key,
        service: &Service,
        by: Option<&Announcers>,
        barred: bool,
    ) -> Saying {
        let Some(by) = by else {
            self.differences.remove(key);
            return Saying::now(Wanted::Unchanged);
        };
        let condition = by.condition(barred);
        let said = view::announced(service);
        if condition.is_met(said) {
            self.differences.remove(key);
            return Saying::now(condition);
        }
        // What is sure is said with any write that is made meanwhile: somebody announces it, nobody can, or still nobody does.
        let still = by.is_nobody() && said.is_some_and(|said| said.status == "False");
        let sure = !by.is_nobody() || barred || still;
        let meanwhile = if sure { condition.clone() } else { Wanted::Unchanged };
        if still || !view::has_condition(service) {
            // The same in other words; or taken over from upstream, or new: it is not written for this alone.
            self.differences.remove(key);
            return Saying::not_yet(meanwhile, None);
        }
        let first = !by.is_nobody() && said.is_none_or(|said| said.status != "True");
        match self.wait(elapsed, key, first) {
            Ok(()) => Saying::now(condition),
            Err(later) => Saying::not_yet(meanwhile, later),
        }
    }

    /// Tells whether the time has come; otherwise when to look again, if nobody will anyway.
    fn wait(&mut self, elapsed: Duration, key: &Key, first: bool) -> Result<(), Option<Duration>> {
        let busy = self.assigned.is_some_and(|last| elapsed < last + BUSY);
        let known = self.differences.get_mut(key).filter(|known| known.first == first);
        let Some(known) = known else {
            let wait = if first { FIRST } else { SETTLED };
            let difference = Difference {
                first,
                since: elapsed,
                next: elapsed + wait,
            };
            self.differences.insert(key.clone(), difference);
            return Err(Some(wait));
        };
        if elapsed < known.next {
            return Err(None);
        }
        if busy && elapsed < known.since + PATIENCE {
            known.next = elapsed + BUSY;
            return Err(Some(BUSY));
        }
        Ok(())
    }

    /// An address is being given or taken.
    pub(super) fn assigning(&mut self, elapsed: Duration) {
        self.assigned = Some(elapsed);
    }

    /// Forgets a Service that is gone, has no address, or is not for us.
    pub(super) fn forget(&mut self, key: &Key) {
        self.differences.remove(key);
    }
}
