//! Advertisements of both protocols, and which pools they apply to.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use metallb_api::{AddressPoolSpec, LegacyBgpAdvertisement, Protocol};

use crate::age::Age;
use crate::announcement::{self, Announcement, Attributes};
use crate::choice::{PoolChoice, find};
use crate::community::Aliases;
use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::fitting::fitting;
use crate::model::{BgpAdvertisement, Interfaces, L2Advertisement, PoolKind};
use crate::pool::Candidate;
use crate::rule::Rule;
use crate::selector::{self, Selector};

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
