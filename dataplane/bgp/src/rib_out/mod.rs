//! Adj-RIB-Out: what a peer should know, what it has been told, and the messages in between (RFC 4271 §3.2, §9.2).

mod pack;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use ipnet::IpNet;

use crate::{
    Attributes, NextHops, Route,
    session::Reach,
    wire::{Codec, Family, Message},
};

/// Is everything about a session that the bytes of a route depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Is the negotiated codec.
    pub codec: Codec,
    /// Is the AS to put in front of the path on external sessions.
    pub asn: u32,
    /// Tells whether the peer is in our AS.
    pub internal: bool,
    /// Says where the peer should send packets, by family.
    pub next_hops: NextHops,
}

/// Is what [`RibOut::flush`] found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// Are the UPDATE messages to send, withdrawals first.
    pub messages: Vec<Bytes>,
    /// Lists desired prefixes that newly turned out impossible to send: no next hop, or attributes beyond one message.
    pub unsendable: Vec<IpNet>,
}

/// Holds the routes desired and the routes advertised on one session.
///
/// Changes collapse: however often the desired set changes between two flushes, the peer hears the difference once.
#[derive(Debug, Default)]
pub struct RibOut {
    desired: BTreeMap<IpNet, Arc<Attributes>>,
    advertised: BTreeMap<IpNet, Arc<Attributes>>,
    unsendable: BTreeSet<IpNet>,
    dirty: bool,
}

impl RibOut {
    /// Replaces the whole desired set; routes to one prefix are merged.
    pub fn set_desired<'a>(&mut self, routes: impl IntoIterator<Item = &'a Route>) {
        let mut merged: BTreeMap<IpNet, Attributes> = BTreeMap::new();
        for route in routes {
            merged
                .entry(route.prefix.trunc())
                .and_modify(|attributes| attributes.merge(route))
                .or_insert_with(|| route.attributes());
        }
        self.desired = intern(merged);
        self.dirty = true;
    }

    /// Returns how many prefixes should be advertised.
    pub fn desired(&self) -> usize {
        self.desired.len()
    }

    /// Returns how many prefixes the peer knows.
    pub fn advertised(&self) -> usize {
        self.advertised.len()
    }

    /// Tells whether a flush may have something to say.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Forgets what the peer knows: the session is gone and the next one starts from nothing.
    pub fn reset(&mut self) {
        self.advertised.clear();
        self.unsendable.clear();
        self.dirty = true;
    }

    /// Has the next flush repeat every route of a family (RFC 2918 §4).
    pub fn refresh(&mut self, family: Family) {
        // Prefixes that are due to be withdrawn stay, or they would be forgotten.
        let desired = &self.desired;
        self.advertised
            .retain(|prefix, _| Family::of(prefix.addr()) != family || !desired.contains_key(prefix));
        self.dirty = true;
    }

    /// Returns the messages that bring the peer from what it knows to what it should know.
    pub fn flush(&mut self, egress: &Egress) -> Flush {
        if !std::mem::take(&mut self.dirty) {
            return Flush::default();
        }
        let Difference {
            withdrawn,
            announced,
            unsendable,
        } = self.difference(egress);
        let mut updates = Vec::new();
        for (family, prefixes) in withdrawn {
            updates.extend(pack::withdraw(family, &prefixes, &egress.codec));
            prefixes.iter().for_each(|prefix| drop(self.advertised.remove(prefix)));
        }
        for ((family, attributes), prefixes) in announced {
            updates.extend(pack::announce(family, &attributes, &prefixes, egress));
            self.advertised
                .extend(prefixes.into_iter().map(|prefix| (prefix, Arc::clone(&attributes))));
        }
        let encode = |update| egress.codec.encode(&Message::Update(update));
        let flush = Flush {
            // Cannot fail: the packer keeps to the message size.
            messages: updates.into_iter().map(encode).filter_map(Result::ok).collect(),
            unsendable: unsendable.difference(&self.unsendable).copied().collect(),
        };
        self.unsendable = unsendable;
        flush
    }

    /// Compares what the peer knows with what it should know and can be told.
    fn difference(&self, egress: &Egress) -> Difference {
        let mut difference = Difference::default();
        let mut withdraw = |family, prefix| difference.withdrawn.entry(family).or_default().push(prefix);
        for (prefix, attributes) in &self.desired {
            let family = Family::of(prefix.addr());
            let reach = egress.next_hops.of(family);
            if matches!(reach, Reach::Via(_)) && pack::fits(family, attributes, egress) {
                if self.advertised.get(prefix) != Some(attributes) {
                    difference
                        .announced
                        .entry((family, Arc::clone(attributes)))
                        .or_default()
                        .push(*prefix);
                }
                continue;
            }
            if reach != Reach::NotCarried {
                difference.unsendable.insert(*prefix);
            }
            if self.advertised.contains_key(prefix) {
                withdraw(family, *prefix);
            }
        }
        for prefix in self
            .advertised
            .keys()
            .filter(|prefix| !self.desired.contains_key(prefix))
        {
            withdraw(Family::of(prefix.addr()), *prefix);
        }
        difference
    }
}

/// Is what separates the routes advertised from those desired.
#[derive(Default)]
struct Difference {
    withdrawn: BTreeMap<Family, Vec<IpNet>>,
    announced: BTreeMap<(Family, Arc<Attributes>), Vec<IpNet>>,
    unsendable: BTreeSet<IpNet>,
}

/// Lets routes with equal attributes share them: ten thousand services usually have one set between them.
fn intern(routes: BTreeMap<IpNet, Attributes>) -> BTreeMap<IpNet, Arc<Attributes>> {
    let mut known: BTreeSet<Arc<Attributes>> = BTreeSet::new();
    let mut shared = |attributes: Attributes| match known.get(&attributes) {
        Some(attributes) => Arc::clone(attributes),
        None => {
            let attributes = Arc::new(attributes);
            known.insert(Arc::clone(&attributes));
            attributes
        }
    };
    routes
        .into_iter()
        .map(|(prefix, attributes)| (prefix, shared(attributes)))
        .collect()
}
