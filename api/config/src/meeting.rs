//! Peers that exclude each other on the nodes where they meet.

use std::collections::BTreeMap;

use crate::age::{Age, Conflict, settle};
use crate::error::{Findings, ObjectRef};
use crate::model::{Endpoint, Peer};
use crate::resources::{MyAsnScope, Options, View};
use crate::rule::Rule;
use crate::selector::Selector;

/// A peer that is right by itself.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) object: ObjectRef,
    pub(crate) age: Age,
    /// Empty when the peer is for all nodes.
    pub(crate) selectors: Vec<Selector>,
    pub(crate) peer: Peer,
}

/// What a session is known by: where to, in which VRF and, unless FRR runs it, to which port.
type Identity<'a> = (&'a Endpoint, Option<&'a str>, Option<u16>);

/// What two peers quarrel about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispute {
    /// The same session twice.
    Address,
    /// The same session twice, but from different source addresses.
    AddressFromElsewhere,
    MyAsn,
    RouterId,
}

/// Keeps the peers that get along; of two that do not, the one that runs already, or else the older.
///
/// Of the peers of one node another one may begin to be for it whenever the labels of the Node change. Nobody was asked
/// to admit that, and a session that carries traffic does not end for it.
pub(crate) fn exclude(
    mut candidates: Vec<Candidate>,
    options: &Options,
    running: &BTreeMap<String, Peer>,
    findings: &mut Findings,
) -> Vec<Candidate> {
    candidates.sort_by(|a, b| a.object.cmp(&b.object));
    let ages: Vec<Age> = candidates
        .iter()
        .map(|candidate| candidate.age.behind_those_in_use(runs(candidate, running)))
        .collect();
    let ages: Vec<&Age> = ages.iter().collect();
    let mut out = vec![false; candidates.len()];
    let (serious, odd): (Vec<_>, Vec<_>) = disputes(&candidates, options)
        .into_iter()
        .partition(|conflict| is_fatal(conflict.about, options));
    for verdict in settle(&ages, &mut out, serious, options.strict()) {
        let (loser, winner) = (&candidates[verdict.loser], &candidates[verdict.winner]);
        let (field, reason) = verdict.about.describe(loser, winner, options);
        let words = reason.clone();
        findings.refuse_with(
            verdict.about.rule(),
            &loser.object,
            field,
            reason,
            [winner.object.clone()],
        );
        if verdict.about == Dispute::Address && options.backend.is_frr() {
            findings.in_upstreams_words(words);
        }
    }
    for verdict in settle(&ages, &mut out.clone(), odd, false) {
        let (loser, winner) = (&candidates[verdict.loser], &candidates[verdict.winner]);
        let (field, reason) = verdict.about.describe(loser, winner, options);
        findings.warn(verdict.about.rule(), &loser.object, field, reason);
    }
    candidates
        .into_iter()
        .zip(out)
        .filter(|(_, out)| !out)
        .map(|(candidate, _)| candidate)
        .collect()
}

/// Tells whether the session runs already, and not under the same name to somewhere else.
fn runs(candidate: &Candidate, running: &BTreeMap<String, Peer>) -> bool {
    let session = |peer: &Peer| {
        (
            peer.endpoint.clone(),
            peer.vrf.clone(),
            peer.port,
            peer.source,
            peer.my_asn,
        )
    };
    let last = running.get(&candidate.peer.name);
    last.is_some_and(|last| session(last) == session(&candidate.peer))
}

/// The native back-end can do what two of the rules forbid. Admission enforces them in every back-end; objects that
/// an earlier release took keep working.
fn is_fatal(dispute: Dispute, options: &Options) -> bool {
    let native_can = matches!(dispute, Dispute::MyAsn | Dispute::AddressFromElsewhere);
    options.strict() || options.backend.is_frr() || !native_can
}

fn disputes(candidates: &[Candidate], options: &Options) -> Vec<Conflict<Dispute>> {
    let mut found = same_addresses(candidates, options);
    found.extend(differing(candidates, options, Dispute::MyAsn));
    if options.backend.is_frr() {
        found.extend(differing(candidates, options, Dispute::RouterId));
    }
    found
}

/// Two sessions to one address in one VRF. FRR knows a neighbour by its address alone, we by address and port.
fn same_addresses(candidates: &[Candidate], options: &Options) -> Vec<Conflict<Dispute>> {
    let mut groups: BTreeMap<Identity<'_>, Vec<usize>> = BTreeMap::new();
    for (index, Candidate { peer, .. }) in candidates.iter().enumerate() {
        let port = (!options.backend.is_frr()).then_some(peer.port);
        groups
            .entry((&peer.endpoint, peer.vrf.as_deref(), port))
            .or_default()
            .push(index);
    }
    let mut found = Vec::new();
    for group in groups.values() {
        for (i, &a) in group.iter().enumerate() {
            for &b in group[i + 1..]
                .iter()
                .filter(|&&b| can_meet(&candidates[a], &candidates[b], options))
            {
                let same_source = candidates[a].peer.source == candidates[b].peer.source;
                let about = if same_source {
                    Dispute::Address
                } else {
                    Dispute::AddressFromElsewhere
                };
                found.push(Conflict { a, b, about });
            }
        }
    }
    found
}

/// Pairs of peers that differ in what must be the same for all of a node (and VRF, for `myASN`).
fn differing(candidates: &[Candidate], options: &Options, about: Dispute) -> Vec<Conflict<Dispute>> {
    let scope = match options.my_asn_scope {
        _ if about == Dispute::RouterId => MyAsnScope::Node,
        MyAsnScope::Off if !options.backend.is_frr() => return Vec::new(),
        MyAsnScope::Off => MyAsnScope::Node,
        other => other,
    };
    let vrf = |candidate: &Candidate| candidate.peer.vrf.clone().filter(|_| about == Dispute::MyAsn);
    let value = |candidate: &Candidate| match about {
        Dispute::RouterId => candidate.peer.router_id.map_or(0, u32::from),
        _ => candidate.peer.my_asn,
    };
    let mut groups: BTreeMap<Option<String>, BTreeMap<u32, Vec<usize>>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        groups
            .entry(vrf(candidate))
            .or_default()
            .entry(value(candidate))
            .or_default()
            .push(index);
    }
    let mut found = Vec::new();
    for values in groups.values() {
        let members: Vec<&Vec<usize>> = values.values().collect();
        for (i, left) in members.iter().enumerate() {
            for (&a, &b) in left
                .iter()
                .flat_map(|a| members[i + 1..].iter().copied().flatten().map(move |b| (a, b)))
            {
                if scope == MyAsnScope::Cluster || can_meet(&candidates[a], &candidates[b], options) {
                    found.push(Conflict { a, b, about });
                }
            }
        }
    }
    found
}

/// Tells whether both may run on one node.
///
/// They may if either is for all nodes, if their selectors are equal, or if some existing Node matches both. When
/// only the peers of one node are looked at, all of them meet there.
fn can_meet(a: &Candidate, b: &Candidate, options: &Options) -> bool {
    matches!(options.view, View::Load { node: Some(_) })
        || a.selectors.is_empty()
        || b.selectors.is_empty()
        || same_selectors(a, b)
        || !a.peer.nodes.is_disjoint(&b.peer.nodes)
}

fn same_selectors(a: &Candidate, b: &Candidate) -> bool {
    a.selectors.len() == b.selectors.len() && a.selectors.iter().all(|selector| b.selectors.contains(selector))
}

impl Dispute {
    fn rule(self) -> Rule {
        match self {
            Self::Address | Self::AddressFromElsewhere => Rule::B31,
            Self::MyAsn => Rule::B32,
            Self::RouterId => Rule::B30,
        }
    }

    /// The field and the reason held against the loser.
    fn describe(self, loser: &Candidate, winner: &Candidate, options: &Options) -> (&'static str, String) {
        let (peer, other) = (&loser.peer, &winner.peer);
        let in_vrf = peer
            .vrf
            .as_ref()
            .map_or_else(String::new, |vrf| format!(" in VRF \"{vrf}\""));
        match self {
            Self::Address | Self::AddressFromElsewhere => {
                let field = match peer.endpoint {
                    Endpoint::Address(_) | Endpoint::LinkLocal(..) => "spec.peerAddress",
                    Endpoint::Interface(_) => "spec.interface",
                };
                let identifier = peer
                    .vrf
                    .as_ref()
                    .map_or_else(|| peer.endpoint.to_string(), |vrf| format!("{}-{vrf}", peer.endpoint));
                let reason = if options.backend.is_frr() {
                    format!(
                        "peer {identifier} already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node"
                    )
                } else {
                    format!(
                        "peer {} port {}{in_vrf} already exists: BGPPeer {} has the same and can be on the same node",
                        peer.endpoint, peer.port, other.name
                    )
                };
                (field, reason)
            }
            Self::MyAsn => (
                "spec.myASN",
                format!(
                    "myASN {} differs from {} of BGPPeer {}{in_vrf}: it must be the same for all peers that can be on one node",
                    peer.my_asn, other.my_asn, other.name
                ),
            ),
            Self::RouterId => (
                "spec.routerID",
                format!(
                    "all peers that can be on one node must have the same RouterID, and BGPPeer {} has another",
                    other.name
                ),
            ),
        }
    }
}
