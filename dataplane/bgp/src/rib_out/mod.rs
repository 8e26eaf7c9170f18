//! Adj-RIB-Out: what a peer should know, what it has been told, and the messages in between (RFC 4271 §3.2, §9.2).

mod listed;
mod pack;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use ipnet::IpNet;

pub use self::listed::Listed;
use crate::{
    Attributes, NextHops,
    session::Reach,
    wire::{Codec, Family, Message},
};

/// Everything about a session that the bytes of a route depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The negotiated codec.
    pub codec: Codec,
    /// The AS to put in front of the path on external sessions.
    pub asn: u32,
    /// Tells whether the peer is in our AS.
    pub internal: bool,
    /// The next hops, by family.
    pub next_hops: NextHops,
}

/// What [`RibOut::flush`] found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// The UPDATE messages to send, withdrawals first.
    pub messages: Vec<Bytes>,
    /// Lists prefixes whose attributes newly turned out to be too long for one message.
    pub oversized: Vec<IpNet>,
}

/// Holds the routes desired and the routes advertised on one session.
///
/// Changes collapse: however often a prefix changes between two flushes, the peer hears the difference once. A flush
/// looks at what changed, not at the table.
#[derive(Debug, Default)]
pub struct RibOut {
    entries: BTreeMap<IpNet, Entry>,
    /// Lists what the next flush must look at; `None` means everything.
    pending: Option<BTreeSet<IpNet>>,
    /// Lists what the next flush must send even if the peer knows it.
    repeat: BTreeSet<IpNet>,
    /// Lists desired prefixes that fit no message of this session.
    oversized: BTreeSet<IpNet>,
    desired: Count,
    advertised: usize,
    posture: Posture,
}

/// How routes are announced to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Posture {
    /// As they are.
    #[default]
    Announce,
    /// With GRACEFUL_SHUTDOWN, so that the peer moves traffic to other paths before they are withdrawn (RFC 8326).
    Shun,
    /// Not announced: all are withdrawn.
    Withdraw,
}

/// One prefix; never without both.
#[derive(Debug, Default)]
struct Entry {
    desired: Option<Arc<Attributes>>,
    advertised: Option<Arc<Attributes>>,
}

/// Counts prefixes by family.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    ipv4: usize,
    ipv6: usize,
}

impl Count {
    fn of(&mut self, prefix: &IpNet) -> &mut usize {
        match prefix {
            IpNet::V4(_) => &mut self.ipv4,
            IpNet::V6(_) => &mut self.ipv6,
        }
    }
}

impl RibOut {
    /// Sets what the peer should know about a prefix from now on, if anything.
    pub fn change(&mut self, prefix: IpNet, desired: Option<Arc<Attributes>>) {
        let entry = self.entries.entry(prefix).or_default();
        match (&entry.desired, &desired) {
            (None, Some(_)) => *self.desired.of(&prefix) += 1,
            (Some(_), None) => *self.desired.of(&prefix) -= 1,
            _ => {}
        }
        let changed = entry.desired != desired;
        entry.desired = desired;
        if entry.desired.is_none() && entry.advertised.is_none() {
            self.forget(&prefix);
        } else if let Some(pending) = &mut self.pending
            && changed
        {
            pending.insert(prefix);
        }
    }

    /// Shows the routes to the peer in this way from now on.
    pub fn set_posture(&mut self, posture: Posture) {
        if self.posture != posture {
            self.posture = posture;
            self.pending = None;
        }
    }

    /// Returns how the routes are shown to the peer.
    pub fn posture(&self) -> Posture {
        self.posture
    }

    /// Returns how many prefixes of a family the peer should know; whether they can be sent is another matter.
    pub fn desired(&self, family: Family) -> usize {
        match family {
            _ if self.posture == Posture::Withdraw => 0,
            Family::IPV4_UNICAST => self.desired.ipv4,
            Family::IPV6_UNICAST => self.desired.ipv6,
            _ => 0,
        }
    }

    /// Returns how many prefixes have attributes that fit no message, as far as was tried.
    pub fn oversized(&self) -> usize {
        self.oversized.len()
    }

    /// Returns how many prefixes the peer knows.
    pub fn advertised(&self) -> usize {
        self.advertised
    }

    /// Lists what the peer knows.
    pub fn routes<'a>(&'a self) -> impl Iterator<Item = (IpNet, &'a Arc<Attributes>)> {
        let known = |(prefix, entry): (&IpNet, &'a Entry)| Some((*prefix, entry.advertised.as_ref()?));
        self.entries.iter().filter_map(known)
    }

    /// Forgets what the peer knows: the session is gone and the next one starts from nothing.
    pub fn reset(&mut self) {
        // Nothing was looked at since the last time: attempts that fail cost nothing.
        if self.pending.is_none() && self.advertised == 0 {
            return;
        }
        self.entries.retain(|_, entry| {
            entry.advertised = None;
            entry.desired.is_some()
        });
        self.pending = None;
        self.repeat.clear();
        self.oversized.clear();
        self.advertised = 0;
    }

    /// Has the next flush repeat every route of a family (RFC 2918 §4).
    pub fn refresh(&mut self, family: Family) {
        let known: Vec<IpNet> = self
            .routes()
            .map(|(prefix, _)| prefix)
            .filter(|prefix| Family::of(prefix.addr()) == family)
            .collect();
        if let Some(pending) = &mut self.pending {
            pending.extend(&known);
        }
        self.repeat.extend(known);
    }

    /// Returns the messages that bring the peer from what it knows to what it should know.
    pub fn flush(&mut self, egress: &Egress) -> Flush {
        let prefixes: Vec<IpNet> = match self.pending.replace(BTreeSet::new()) {
            None => self.entries.keys().copied().collect(),
            Some(pending) => pending.into_iter().collect(),
        };
        let mut difference = Difference::default();
        for prefix in prefixes {
            self.compare(prefix, egress, &mut difference);
        }
        let mut updates = Vec::new();
        for (family, prefixes) in &difference.withdrawn {
            updates.extend(pack::withdraw(*family, prefixes, &egress.codec));
        }
        for ((family, attributes), prefixes) in difference.announced() {
            updates.extend(pack::announce(family, &attributes, &prefixes, egress));
        }
        let encode = |update| egress.codec.encode(&Message::Update(update));
        Flush {
            // Cannot fail: the packer keeps to the message size.
            messages: updates.into_iter().map(encode).filter_map(Result::ok).collect(),
            oversized: difference.oversized,
        }
    }

    /// Compares what the peer knows of a prefix with what it should know and can be told, and takes it as told.
    fn compare(&mut self, prefix: IpNet, egress: &Egress, difference: &mut Difference) {
        let repeated = self.repeat.remove(&prefix);
        let Some(entry) = self.entries.get_mut(&prefix) else {
            return;
        };
        let family = Family::of(prefix.addr());
        let carried = matches!(egress.next_hops.of(family), Reach::Via(_));
        let wanted = entry
            .desired
            .as_ref()
            .filter(|_| carried)
            .and_then(|attributes| difference.shown(self.posture, attributes));
        let fitting = wanted
            .as_ref()
            .filter(|attributes| pack::fits(family, attributes, egress))
            .cloned();
        if wanted.is_none() || fitting.is_some() {
            self.oversized.remove(&prefix);
        } else if self.oversized.insert(prefix) {
            difference.oversized.push(prefix);
        }
        if entry.advertised == fitting && !repeated {
            return;
        }
        self.advertised -= usize::from(entry.advertised.is_some());
        self.advertised += usize::from(fitting.is_some());
        entry.advertised.clone_from(&fitting);
        match fitting {
            Some(attributes) => difference.announce(family, attributes, prefix),
            None => difference.withdrawn.entry(family).or_default().push(prefix),
        }
        if entry.desired.is_none() {
            self.forget(&prefix);
        }
    }

    fn forget(&mut self, prefix: &IpNet) {
        self.entries.remove(prefix);
        self.oversized.remove(prefix);
        self.repeat.remove(prefix);
        if let Some(pending) = &mut self.pending {
            pending.remove(prefix);
        }
    }
}

/// Attributes with the prefixes that have them.
type Group = (Arc<Attributes>, Vec<IpNet>);

/// The difference between the routes advertised and those desired.
#[derive(Default)]
struct Difference {
    withdrawn: BTreeMap<Family, Vec<IpNet>>,
    /// Groups by the address of the attributes, since comparing their contents for every prefix is expensive: equal ones
    /// nearly always share an address.
    announced: HashMap<(Family, *const Attributes), Group>,
    oversized: Vec<IpNet>,
    /// What attributes become when the peer should prefer other paths, by where they are kept.
    shunned: HashMap<*const Attributes, Arc<Attributes>>,
}

impl Difference {
    /// Returns what the peer is shown of a route.
    fn shown(&mut self, posture: Posture, attributes: &Arc<Attributes>) -> Option<Arc<Attributes>> {
        match posture {
            Posture::Announce => Some(Arc::clone(attributes)),
            Posture::Shun => {
                let shunned = self.shunned.entry(Arc::as_ptr(attributes));
                Some(Arc::clone(shunned.or_insert_with(|| Arc::new(attributes.shunned()))))
            }
            Posture::Withdraw => None,
        }
    }

    fn announce(&mut self, family: Family, attributes: Arc<Attributes>, prefix: IpNet) {
        let group = self.announced.entry((family, Arc::as_ptr(&attributes)));
        group.or_insert_with(|| (attributes, Vec::new())).1.push(prefix);
    }

    /// Returns the prefixes by family and attributes, sorted.
    fn announced(&mut self) -> BTreeMap<(Family, Arc<Attributes>), Vec<IpNet>> {
        let mut groups: BTreeMap<_, Vec<IpNet>> = BTreeMap::new();
        for ((family, _), (attributes, prefixes)) in self.announced.drain() {
            groups.entry((family, attributes)).or_default().extend(prefixes);
        }
        groups.values_mut().for_each(|prefixes| prefixes.sort_unstable());
        groups
    }
}
