//! Advertisements of both protocols, and which pools they apply to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use metallb_api::{AddressPoolSpec, LegacyBgpAdvertisement, Protocol};

use crate::age::Age;
use crate::announcement::{self, Announcement, Attributes};
use crate::community::Aliases;
use crate::error::{Findings, ObjectRef};
use crate::fitting::fitting;
use crate::model::{BgpAdvertisement, Interfaces, L2Advertisement, PoolKind};
use crate::parse::Context;
use crate::pool::{Candidate, duplicates};
use crate::rule::Rule;
use crate::selector::{self, Selector};

/// Which IPAddressPools an advertisement names.
#[derive(Debug, Default)]
pub(crate) struct PoolChoice {
    names: BTreeSet<String>,
    selectors: Vec<Selector>,
}

impl PoolChoice {
    pub(crate) fn parse(
        object: &ObjectRef,
        names: &[String],
        selectors: &[LabelSelector],
        (context, pools): (&Context<'_>, &[Candidate<'_>]),
        findings: &mut Findings,
    ) -> Self {
        let rule = if object.kind == "L2Advertisement" {
            Rule::L1
        } else {
            Rule::A6
        };
        refuse_duplicates(rule, object, "ipAddressPools", names, findings);
        context.check_names(object, "spec.ipAddressPools", names, findings);
        for (place, name) in names.iter().enumerate() {
            if find(pools, name, PoolKind::IpAddressPool).is_none() {
                let reason = format!("there is no usable IPAddressPool \"{name}\"");
                findings.warn(Rule::W12, object, format!("spec.ipAddressPools[{place}]"), reason);
            }
        }
        let choice = Self {
            names: names.iter().cloned().collect(),
            selectors: selector::parse_list(object, "spec.ipAddressPoolSelectors", selectors, findings),
        };
        if names.is_empty() && !pools.iter().any(|pool| choice.takes(pool)) {
            let reason = "no IPAddressPool is selected, so nothing is advertised";
            findings.warn(Rule::W12, object, "spec.ipAddressPoolSelectors", reason);
        }
        choice
    }

    /// Legacy pools are never chosen: they bring their own advertisements.
    pub(crate) fn takes(&self, candidate: &Candidate<'_>) -> bool {
        candidate.pool.kind == PoolKind::IpAddressPool
            && ((self.names.is_empty() && self.selectors.is_empty())
                || self.names.contains(&candidate.pool.name)
                || self.selectors.iter().any(|selector| selector.matches(candidate.labels)))
    }
}

pub(crate) fn refuse_duplicates(rule: Rule, object: &ObjectRef, field: &str, list: &[String], findings: &mut Findings) {
    for name in duplicates(list) {
        findings.refuse(
            rule,
            object,
            format!("spec.{field}"),
            format!("duplicate definition of {field} \"{name}\""),
        );
    }
}

/// Parses all advertisements and hangs them on the pools they apply to, in the order of their names.
pub(crate) fn attach(context: &Context<'_>, aliases: &Aliases, pools: &mut [Candidate<'_>], findings: &mut Findings) {
    let layer2 = parse_layer2(context, pools, findings);
    let bgp = announcement::parse(context, aliases, pools, findings);
    for candidate in pools.iter_mut() {
        if candidate.pool.kind == PoolKind::AddressPool {
            continue;
        }
        if context.wants_config() {
            candidate.pool.l2 = layer2
                .iter()
                .filter(|(choice, _)| choice.takes(candidate))
                .map(|(_, l2)| l2.clone())
                .collect();
        }
        let chosen: Vec<&Announcement> = bgp.iter().filter(|entry| entry.choice.takes(candidate)).collect();
        candidate.pool.bgp = fitting(&candidate.object, &candidate.pool, chosen, context, findings);
    }
    for object in context.objects.ours(|all| &all.address_pools) {
        if let Some(place) = find(pools, &object.name_any(), PoolKind::AddressPool) {
            let candidate = &mut pools[place];
            attach_legacy(context, aliases, &object.spec, candidate, findings);
        }
    }
}

/// Finds a pool in the list, which is sorted by name.
fn find(pools: &[Candidate<'_>], name: &str, kind: PoolKind) -> Option<usize> {
    let place = pools
        .binary_search_by(|candidate| candidate.pool.name.as_str().cmp(name))
        .ok()?;
    (pools[place].pool.kind == kind).then_some(place)
}

fn parse_layer2(
    context: &Context<'_>,
    pools: &[Candidate<'_>],
    findings: &mut Findings,
) -> Vec<(PoolChoice, L2Advertisement)> {
    let mut parsed = Vec::new();
    for object in context.objects.ours(|all| &all.l2_advertisements) {
        let reference = ObjectRef::new("L2Advertisement", &object.name_any());
        let mark = findings.refused.len();
        let spec = &object.spec;
        let choice = PoolChoice::parse(
            &reference,
            &spec.ip_address_pools,
            &spec.ip_address_pool_selectors,
            (context, pools),
            findings,
        );
        let nodes = selector::parse_list(&reference, "spec.nodeSelectors", &spec.node_selectors, findings);
        let services = selector::parse_list(&reference, "spec.serviceSelectors", &spec.service_selectors, findings);
        findings.refuse_control_characters_in(&reference, "spec.interfaces", &spec.interfaces);
        let mut preferred = preferences(&reference, &spec.preferred_node_selectors, context, findings);
        context.warn_of_no_node(&reference, &nodes, "nobody announces", findings);
        if findings.since(mark) {
            continue;
        }
        let nodes: BTreeSet<String> = context.nodes.matching_or_all(&nodes).collect();
        // A node that only another advertisement of the pool chooses gets no weight from this one.
        preferred.retain(|node, _| nodes.contains(node));
        let advertisement = L2Advertisement {
            name: Some(reference.name),
            nodes,
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
                Rule::L3,
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
                    Rule::L2,
                    object,
                    format!("{field}.preference"),
                    format!("invalid label selector: {error}"),
                );
            }
        }
    }
    weights
}

/// What can be said about the advertisements of a legacy pool before it is accepted (AP-5, AP-9).
pub(crate) fn check_legacy(object: &ObjectRef, spec: &AddressPoolSpec, findings: &mut Findings) {
    let list = &spec.bgp_advertisements;
    if spec.protocol != Protocol::Bgp && !list.is_empty() {
        findings.refuse(
            Rule::Ap5,
            object,
            "spec.bgpAdvertisements",
            "bgpAdvertisements are only valid with protocol bgp",
        );
    }
    for (place, entry) in list.iter().enumerate() {
        if list[..place].contains(entry) {
            findings.refuse(
                Rule::Ap9,
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
    candidate: &mut Candidate<'_>,
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
        let base = attributes.parse(&candidate.object, &path, aliases, context.options, findings);
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
