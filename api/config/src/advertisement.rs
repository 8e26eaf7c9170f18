//! Advertisements of both protocols, and which pools they apply to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use metallb_api::{AddressPoolSpec, LegacyBgpAdvertisement, Protocol};

use crate::age::{Age, Conflict, settle};
use crate::community::{Aliases, CommunityError};
use crate::error::{Findings, ObjectRef};
use crate::model::{BgpAdvertisement, Community, Interfaces, L2Advertisement, Pool, PoolKind};
use crate::parse::Context;
use crate::pool::{Candidate, duplicates, widest_prefix};
use crate::selector::{self, Selector};

/// Prefix lengths that announce single addresses.
const SINGLE_V4: u8 = 32;
const SINGLE_V6: u8 = 128;

/// Which IPAddressPools an advertisement names.
#[derive(Debug, Default)]
struct PoolChoice {
    names: BTreeSet<String>,
    selectors: Vec<Selector>,
}

impl PoolChoice {
    fn parse(
        object: &ObjectRef,
        names: &[String],
        selectors: &[LabelSelector],
        pools: &[Candidate],
        findings: &mut Findings,
    ) -> Self {
        refuse_duplicates(object, "ipAddressPools", names, findings);
        for (place, name) in names.iter().enumerate() {
            if !pools.iter().any(|candidate| candidate.pool.name == *name) {
                let reason = format!("there is no usable IPAddressPool \"{name}\"");
                findings.warn(object, format!("spec.ipAddressPools[{place}]"), reason);
            }
        }
        Self {
            names: names.iter().cloned().collect(),
            selectors: selector::parse_list(object, "spec.ipAddressPoolSelectors", selectors, findings),
        }
    }

    /// Legacy pools are never chosen: they bring their own advertisements.
    fn takes(&self, candidate: &Candidate) -> bool {
        candidate.pool.kind == PoolKind::IpAddressPool
            && ((self.names.is_empty() && self.selectors.is_empty())
                || self.names.contains(&candidate.pool.name)
                || self
                    .selectors
                    .iter()
                    .any(|selector| selector.matches(&candidate.labels)))
    }
}

fn refuse_duplicates(object: &ObjectRef, field: &str, list: &[String], findings: &mut Findings) {
    for name in duplicates(list) {
        findings.refuse(
            object,
            format!("spec.{field}"),
            format!("duplicate definition of {field} \"{name}\""),
        );
    }
}

/// Parses all advertisements and hangs them on the pools they apply to, in the order of their names.
pub(crate) fn attach(context: &Context<'_>, aliases: &Aliases, pools: &mut [Candidate], findings: &mut Findings) {
    let layer2 = parse_layer2(context, pools, findings);
    let bgp = parse_bgp(context, aliases, pools, findings);
    for candidate in pools.iter_mut() {
        if candidate.pool.kind == PoolKind::AddressPool {
            continue;
        }
        candidate.pool.l2 = layer2
            .iter()
            .filter(|(choice, _)| choice.takes(candidate))
            .map(|(_, l2)| l2.clone())
            .collect();
        let chosen: Vec<&Announcement> = bgp.iter().filter(|entry| entry.choice.takes(candidate)).collect();
        candidate.pool.bgp = fitting(&candidate.object, &candidate.pool, chosen, context, findings);
    }
    let resources = context.resources;
    for object in resources.ours(&resources.address_pools) {
        let name = object.name_any();
        let legacy =
            |candidate: &&mut Candidate| candidate.pool.kind == PoolKind::AddressPool && candidate.pool.name == name;
        if let Some(candidate) = pools.iter_mut().find(legacy) {
            attach_legacy(context, aliases, &object.spec, candidate, findings);
        }
    }
}

fn parse_layer2(
    context: &Context<'_>,
    pools: &[Candidate],
    findings: &mut Findings,
) -> Vec<(PoolChoice, L2Advertisement)> {
    let resources = context.resources;
    let mut parsed = Vec::new();
    for object in resources.ours(&resources.l2_advertisements) {
        let reference = ObjectRef::new("L2Advertisement", &object.name_any());
        let mark = findings.refused.len();
        let spec = &object.spec;
        let choice = PoolChoice::parse(
            &reference,
            &spec.ip_address_pools,
            &spec.ip_address_pool_selectors,
            pools,
            findings,
        );
        let nodes = selector::parse_list(&reference, "spec.nodeSelectors", &spec.node_selectors, findings);
        let services = selector::parse_list(&reference, "spec.serviceSelectors", &spec.service_selectors, findings);
        let preferred = preferences(&reference, &spec.preferred_node_selectors, context, findings);
        if findings.since(mark) {
            continue;
        }
        let advertisement = L2Advertisement {
            name: Some(reference.name),
            nodes: context.nodes.matching_or_all(&nodes).collect(),
            interfaces: interfaces(&spec.interfaces),
            services,
            preferred,
        };
        parsed.push((choice, advertisement));
    }
    parsed.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    parsed
}

fn interfaces(names: &[String]) -> Interfaces {
    if names.is_empty() {
        Interfaces::All
    } else {
        Interfaces::Only(names.iter().cloned().collect())
    }
}

/// Adds up the weights that each node gets.
fn preferences(
    object: &ObjectRef,
    list: &[metallb_api::NodePreference],
    context: &Context<'_>,
    findings: &mut Findings,
) -> BTreeMap<String, i64> {
    let mut weights = BTreeMap::new();
    for (place, entry) in list.iter().enumerate() {
        let field = format!("spec.preferredNodeSelectors[{place}]");
        if !(1..=100).contains(&entry.weight) {
            findings.refuse(
                object,
                format!("{field}.weight"),
                format!("weight {} is not from 1 to 100", entry.weight),
            );
            continue;
        }
        // The rules against duplicates do not hold here.
        match Selector::parse_lenient(&entry.preference) {
            Ok(selector) => {
                for node in context.nodes.matching(std::slice::from_ref(&selector)) {
                    *weights.entry(node).or_insert(0) += entry.weight;
                }
            }
            Err(error) => {
                findings.refuse(
                    object,
                    format!("{field}.preference"),
                    format!("invalid label selector: {error}"),
                );
            }
        }
    }
    weights
}

/// A BGPAdvertisement that is right by itself.
#[derive(Debug)]
struct Announcement {
    object: ObjectRef,
    /// Prefix of its fields: `spec` or `spec.bgpAdvertisements[0]`.
    path: String,
    age: Age,
    choice: PoolChoice,
    advertisement: BgpAdvertisement,
}

fn parse_bgp(
    context: &Context<'_>,
    aliases: &Aliases,
    pools: &[Candidate],
    findings: &mut Findings,
) -> Vec<Announcement> {
    const KIND: &str = "BGPAdvertisement";
    let resources = context.resources;
    let mut parsed = Vec::new();
    for object in resources.ours(&resources.bgp_advertisements) {
        let reference = ObjectRef::new(KIND, &object.name_any());
        let spec = &object.spec;
        let mut found = Findings::default();
        let choice = PoolChoice::parse(
            &reference,
            &spec.ip_address_pools,
            &spec.ip_address_pool_selectors,
            pools,
            &mut found,
        );
        let selectors = selector::parse_list(&reference, "spec.nodeSelectors", &spec.node_selectors, &mut found);
        let services = selector::parse_list(&reference, "spec.serviceSelectors", &spec.service_selectors, &mut found);
        refuse_duplicates(&reference, "peers", &spec.peers, &mut found);
        warn_of_unknown_peers(&reference, &spec.peers, context, &mut found);
        let attributes = Attributes {
            aggregation_v4: spec.aggregation_length,
            aggregation_v6: spec.aggregation_length_v6,
            local_pref: spec.local_pref,
            communities: &spec.communities,
        };
        let base = attributes.parse(&reference, "spec", aliases, context.options.strict(), &mut found);
        if !services.is_empty() && (base.aggregation_v4, base.aggregation_v6) != (SINGLE_V4, SINGLE_V6) {
            found.refuse(
                &reference,
                "spec.serviceSelectors",
                "serviceSelectors and aggregationLength are mutually exclusive",
            );
        }
        let nodes: BTreeSet<String> = context.nodes.matching_or_all(&selectors).collect();
        // Another node's advertisement is not looked at, unless its node selectors are what is wrong.
        let elsewhere = context.options.node().is_some_and(|node| !nodes.contains(node));
        let misplaced = found
            .refused
            .iter()
            .any(|refused| refused.field.starts_with("spec.nodeSelectors"));
        if elsewhere && !misplaced {
            continue;
        }
        if found.refused.is_empty() {
            let peers = spec.peers.iter().cloned().collect();
            parsed.push(Announcement {
                advertisement: BgpAdvertisement {
                    name: Some(reference.name.clone()),
                    nodes,
                    peers,
                    services,
                    ..base
                },
                age: Age::of(&object.metadata, KIND),
                object: reference,
                path: "spec".to_owned(),
                choice,
            });
        }
        findings.append(found);
    }
    parsed.sort_by(|a, b| a.object.cmp(&b.object));
    parsed
}

fn warn_of_unknown_peers(object: &ObjectRef, names: &[String], context: &Context<'_>, findings: &mut Findings) {
    let resources = context.resources;
    for (place, name) in names.iter().enumerate() {
        if !resources.ours(&resources.peers).any(|peer| peer.name_any() == *name) {
            findings.warn(
                object,
                format!("spec.peers[{place}]"),
                format!("there is no BGPPeer \"{name}\""),
            );
        }
    }
}

/// What both kinds of BGP advertisement share.
struct Attributes<'a> {
    aggregation_v4: Option<i64>,
    aggregation_v6: Option<i64>,
    local_pref: Option<i64>,
    communities: &'a [String],
}

impl<'a> Attributes<'a> {
    fn of_legacy(entry: &'a LegacyBgpAdvertisement) -> Self {
        Self {
            aggregation_v4: entry.aggregation_length,
            aggregation_v6: entry.aggregation_length_v6,
            local_pref: entry.local_pref,
            communities: &entry.communities,
        }
    }

    fn parse(
        &self,
        object: &ObjectRef,
        path: &str,
        aliases: &Aliases,
        strict: bool,
        findings: &mut Findings,
    ) -> BgpAdvertisement {
        let mut length = |field: &str, value: Option<i64>, min: i64, max: u8, family: &str| {
            let value = value.unwrap_or_else(|| max.into());
            let reason = format!("invalid aggregation length {value} for {family}: must be from {min} to {max}");
            if !(min..=i64::from(max)).contains(&value) {
                findings.refuse(object, format!("{path}.{field}"), reason);
            }
            u8::try_from(value).unwrap_or(max)
        };
        let aggregation_v4 = length("aggregationLength", self.aggregation_v4, 1, SINGLE_V4, "IPv4");
        let aggregation_v6 = length("aggregationLengthV6", self.aggregation_v6, 0, SINGLE_V6, "IPv6");
        let local_pref = u32::try_from(self.local_pref.unwrap_or(0)).unwrap_or_else(|_| {
            findings.refuse(
                object,
                format!("{path}.localPref"),
                "localPref must be from 0 to 4294967295",
            );
            0
        });
        for text in duplicates(self.communities) {
            let reason = format!("duplicate definition of community \"{text}\"");
            findings.refuse(object, format!("{path}.communities"), reason);
        }
        let communities = self.communities(object, path, aliases, strict, findings);
        BgpAdvertisement {
            aggregation_v4,
            aggregation_v6,
            local_pref,
            communities,
            ..BgpAdvertisement::default()
        }
    }

    fn communities(
        &self,
        object: &ObjectRef,
        path: &str,
        aliases: &Aliases,
        strict: bool,
        findings: &mut Findings,
    ) -> BTreeSet<Community> {
        let mut communities = BTreeSet::new();
        for (place, text) in self.communities.iter().enumerate() {
            match aliases.resolve(text) {
                Ok(community) => {
                    communities.insert(community);
                }
                // The Community may be created after the advertisement.
                Err(CommunityError::Format(_)) if strict && !text.contains(':') => {}
                Err(error) => {
                    let reason = format!("{error}\ninvalid community \"{text}\" in BGP advertisement");
                    findings.refuse_verbatim(object, format!("{path}.communities[{place}]"), reason);
                }
            }
        }
        communities
    }
}

/// Keeps the advertisements that fit the pool and each other; of two that conflict, the older.
fn fitting(
    pool_object: &ObjectRef,
    pool: &Pool,
    chosen: Vec<&Announcement>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Vec<BgpAdvertisement> {
    let mut out: Vec<bool> = chosen
        .iter()
        .map(|entry| !check_aggregation(entry, pool_object, pool, findings))
        .collect();
    let ages: Vec<Age> = chosen.iter().map(|entry| entry.age.clone()).collect();
    let mut conflicts = Vec::new();
    for (a, first) in chosen.iter().enumerate() {
        for (b, second) in chosen.iter().enumerate().skip(a + 1) {
            if local_prefs_conflict(&first.advertisement, &second.advertisement, pool) {
                conflicts.push(Conflict { a, b, about: () });
            }
        }
    }
    for verdict in settle(&ages, &mut out, conflicts, context.options.strict()) {
        let (loser, winner) = (chosen[verdict.loser], chosen[verdict.winner]);
        let reason = format!(
            "invalid localPref {}: localPref {} is already set by {}{} for the same kind of update of pool \"{}\"",
            loser.advertisement.local_pref,
            winner.advertisement.local_pref,
            winner.object,
            winner.path.trim_start_matches("spec"),
            pool.name,
        );
        let mut involves = vec![winner.object.clone(), pool_object.clone()];
        involves.retain(|other| *other != loser.object);
        involves.dedup();
        findings.refuse_with(&loser.object, format!("{}.localPref", loser.path), reason, involves);
    }
    chosen
        .into_iter()
        .zip(out)
        .filter(|(_, out)| !out)
        .map(|(entry, _)| entry.advertisement.clone())
        .collect()
}

/// An aggregate must not reach out of any entry of the pool. The advertisement is then left off this pool only.
fn check_aggregation(entry: &Announcement, pool_object: &ObjectRef, pool: &Pool, findings: &mut Findings) -> bool {
    let mark = findings.refused.len();
    for range in &pool.entries {
        let (length, field) = if range.is_ipv4() {
            (entry.advertisement.aggregation_v4, "aggregationLength")
        } else {
            (entry.advertisement.aggregation_v6, "aggregationLengthV6")
        };
        let widest = widest_prefix(range);
        if length < widest {
            let reason = format!(
                "invalid aggregation length {length}: prefix {widest} in this pool is more specific than the aggregation length for addresses {range}"
            );
            let involves = (entry.object != *pool_object).then(|| pool_object.clone());
            findings.refuse_with(&entry.object, format!("{}.{field}", entry.path), reason, involves);
        }
    }
    !findings.since(mark)
}

/// Tells whether two advertisements say different things about the same route.
///
/// With service selectors that depends on the Service, so the speaker asks [`BgpAdvertisement::conflicts_with`] again.
fn local_prefs_conflict(a: &BgpAdvertisement, b: &BgpAdvertisement, pool: &Pool) -> bool {
    a.services.is_empty() && b.services.is_empty() && a.conflicts_with(b, pool.has_v4(), pool.has_v6())
}

impl BgpAdvertisement {
    /// Tells whether both give different LOCAL_PREFs to the same route on some node, for some peer.
    ///
    /// `v4` and `v6` are the families of the pool.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self, v4: bool, v6: bool) -> bool {
        let same_length =
            (v4 && self.aggregation_v4 == other.aggregation_v4) || (v6 && self.aggregation_v6 == other.aggregation_v6);
        let peers_meet = self.peers.is_empty() || other.peers.is_empty() || !self.peers.is_disjoint(&other.peers);
        self.local_pref != other.local_pref && same_length && peers_meet && !self.nodes.is_disjoint(&other.nodes)
    }
}

/// What can be said about the advertisements of a legacy pool before it is accepted (AP-5, AP-9).
pub(crate) fn check_legacy(object: &ObjectRef, spec: &AddressPoolSpec, findings: &mut Findings) {
    let list = &spec.bgp_advertisements;
    if spec.protocol != Protocol::Bgp && !list.is_empty() {
        findings.refuse(
            object,
            "spec.bgpAdvertisements",
            "bgpAdvertisements are only valid with protocol bgp",
        );
    }
    for (place, entry) in list.iter().enumerate() {
        if list[..place].contains(entry) {
            findings.refuse(
                object,
                format!("spec.bgpAdvertisements[{place}]"),
                "duplicate definition of advertisement",
            );
        }
    }
}

/// The announcements that a legacy pool implies.
fn attach_legacy(
    context: &Context<'_>,
    aliases: &Aliases,
    spec: &AddressPoolSpec,
    candidate: &mut Candidate,
    findings: &mut Findings,
) {
    let nodes: BTreeSet<String> = context.nodes.matching_or_all(&[]).collect();
    if spec.protocol == Protocol::Layer2 {
        candidate.pool.l2 = vec![L2Advertisement {
            nodes,
            ..L2Advertisement::default()
        }];
        return;
    }
    let default = [LegacyBgpAdvertisement::default()];
    let list = if spec.bgp_advertisements.is_empty() {
        &default[..]
    } else {
        &spec.bgp_advertisements
    };
    let mut parsed = Vec::new();
    for (place, entry) in list.iter().enumerate() {
        let mark = findings.refused.len();
        let path = format!("spec.bgpAdvertisements[{place}]");
        let attributes = Attributes::of_legacy(entry);
        let base = attributes.parse(&candidate.object, &path, aliases, context.options.strict(), findings);
        if !findings.since(mark) {
            parsed.push(Announcement {
                object: candidate.object.clone(),
                path,
                // Among the entries of one pool the first wins.
                age: Age::of_place(place),
                choice: PoolChoice::default(),
                advertisement: BgpAdvertisement {
                    nodes: nodes.clone(),
                    ..base
                },
            });
        }
    }
    candidate.pool.bgp = fitting(
        &candidate.object,
        &candidate.pool,
        parsed.iter().collect(),
        context,
        findings,
    );
}
