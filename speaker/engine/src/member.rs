//! What members say of themselves, and what all of them say alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use metallb_announce::{Failback, Standing};
use tracing::{info, warn};

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{g:02x}")
    }
}

/// An interface on which a member can announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its hardware address.
    pub mac: Mac,
    /// It could not be used until lately.
    pub lately: bool,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// When it started, in milliseconds since 1970 by its own clock.
    pub boot: u64,
    /// By name, the interfaces on which it can announce.
    pub interfaces: BTreeMap<String, Interface>,
    /// It has more interfaces than those.
    pub more: bool,
    /// It has come, or come back, lately.
    pub newcomer: bool,
    /// It does not know yet whether it is a newcomer.
    pub starting: bool,
    /// Its setting.
    pub failback: Failback,
}

impl Member {
    /// What counts for its place, if all members have this setting.
    fn standing(&self, failback: Failback) -> Standing {
        let delayed = failback == Failback::Delayed;
        let interfaces = self.interfaces.iter();
        Standing {
            interfaces: interfaces
                .map(|(name, interface)| (name.clone(), interface.lately && delayed))
                .collect(),
            more: self.more,
            newcomer: (self.newcomer || self.starting) && delayed,
        }
    }
}

/// What all members say; there is none while one says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) standings: BTreeMap<Arc<str>, Standing>,
    pub(crate) failback: Failback,
}

/// What the members say of themselves, each on its own and all together.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    said: BTreeMap<Arc<str>, Option<Member>>,
    pub(crate) agreement: Option<Agreement>,
    /// Hardware addresses of other members, also of such as are none any more: they may still announce.
    macs: BTreeMap<Mac, Arc<str>>,
    /// Whether the members have different settings.
    differ: bool,
}

impl Statements {
    /// Takes in what is said now; tells whether hardware addresses have changed.
    pub(crate) fn set(
        &mut self,
        own: &str,
        said: BTreeMap<String, Option<Member>>,
        is_node: impl Fn(&str) -> bool,
    ) -> bool {
        self.said = said.into_iter().map(|(name, said)| (name.into(), said)).collect();
        let before = self.macs.clone();
        self.macs
            .retain(|_, node| is_node(node) || self.said.contains_key(&**node));
        for (name, member) in &self.said {
            let interfaces = member.iter().flat_map(|member| member.interfaces.values());
            for interface in interfaces {
                if **name == *own {
                    self.macs.remove(&interface.mac);
                } else {
                    self.macs.insert(interface.mac, Arc::clone(name));
                }
            }
        }
        self.macs != before
    }

    /// Whose it is.
    pub(crate) fn owner_of(&self, mac: Mac) -> Option<&Arc<str>> {
        self.macs.get(&mac)
    }

    /// Says whether it may be that of `node`: it is, or nobody says so and that node does not say all.
    pub(crate) fn may_be_of(&self, mac: Mac, node: &str) -> bool {
        match self.owner_of(mac) {
            Some(owner) => **owner == *node,
            None => match self.said.get(node) {
                Some(Some(member)) => member.more,
                Some(None) | None => true,
            },
        }
    }

    pub(crate) fn macs(&self) -> BTreeSet<Mac> {
        self.macs.keys().copied().collect()
    }

    /// Finds out what the members agree on; returns the nodes that have another standing than before.
    pub(crate) fn agree(&mut self, members: Option<&BTreeSet<Arc<str>>>) -> BTreeSet<Arc<str>> {
        let said: Option<BTreeMap<&Arc<str>, &Member>> = members.and_then(|members| {
            let said = |name| Some((name, self.said.get(name)?.as_ref()?));
            members.iter().map(said).collect()
        });
        let mut settings: Vec<Failback> = said.iter().flatten().map(|(_, member)| member.failback).collect();
        settings.dedup();
        let differ = settings.len() > 1;
        let failback = match settings[..] {
            [failback] => failback,
            _ => Failback::Immediate,
        };
        let agreement = said.map(|said| Agreement {
            standings: said
                .into_iter()
                .map(|(name, member)| (Arc::clone(name), member.standing(failback)))
                .collect(),
            failback,
        });
        self.tell(differ, agreement.is_some());
        let before = std::mem::replace(&mut self.agreement, agreement);
        self.moved(before.as_ref())
    }

    fn moved(&self, before: Option<&Agreement>) -> BTreeSet<Arc<str>> {
        let (old, new) = (
            before.map(|a| &a.standings),
            self.agreement.as_ref().map(|a| &a.standings),
        );
        let names = old.into_iter().chain(new).flat_map(BTreeMap::keys);
        let of = |all: Option<&BTreeMap<Arc<str>, Standing>>, name| all.and_then(|all| all.get(name)).cloned();
        names.filter(|name| of(old, *name) != of(new, *name)).cloned().collect()
    }

    fn tell(&mut self, differ: bool, complete: bool) {
        if differ && !self.differ {
            let of = |setting: Failback| -> Vec<&str> {
                let said = self.said.iter();
                let same = said.filter(|(_, said)| said.as_ref().is_some_and(|said| said.failback == setting));
                same.map(|(name, _)| &**name).collect()
            };
            warn!(
                event = "failbackDiffers",
                immediate = ?of(Failback::Immediate),
                delayed = ?of(Failback::Delayed),
                never = ?of(Failback::Never),
                "speakers have different --l2-failback: an address goes back to its first node at once"
            );
        }
        self.differ = differ;
        if complete != self.agreement.is_some() {
            let ranking = if complete { "extended" } else { "upstream" };
            info!(
                event = "ranking",
                order = ranking,
                "the order of nodes in layer 2 has changed"
            );
        }
    }
}
