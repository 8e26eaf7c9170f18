//! Address pools of both kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use metallb_api::{AddressPool, IPAddressPool};

use crate::age::{Age, Conflict, settle};
use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::legacy;
use crate::model::{Namespaces, Pool, PoolKind, ServiceAllocation};
use crate::nearby::Nearby;
use crate::overlap::{Claim, overlaps};
use crate::range::{AddressError, AddressRange, parse_ip};
use crate::rule::Rule;
use crate::selector;

/// A pool on its way into the configuration.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) object: ObjectRef,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) pool: Pool,
    age: Age,
    /// The place of each of the pool's entries in `spec.addresses`.
    places: Vec<usize>,
    faulty: bool,
}

/// Parses all pools; what is returned has unique names and disjoint ranges.
pub(crate) fn parse<'a>(context: &Context<'a>, findings: &mut Findings) -> Vec<Candidate<'a>> {
    let nearby = Nearby::of(context.objects);
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    let current = context.objects.ours(|all| &all.pools);
    let current = current.filter(|object| nearby.has(*object, &object.spec.addresses));
    candidates.extend(current.map(|object| ip_address_pool(object, context, findings)));
    let legacy = context.objects.ours(|all| &all.address_pools);
    let legacy = legacy.filter(|object| nearby.has(*object, &object.spec.addresses));
    candidates.extend(legacy.map(|object| address_pool(object, context, findings)));
    let mut out: Vec<bool> = candidates.iter().map(|candidate| candidate.faulty).collect();
    exclude(&candidates, &mut out, context.options.strict(), findings);
    if context.options.strict() {
        warn_of_nodes(&candidates, context, findings);
    }
    let mut kept: Vec<Candidate<'a>> = candidates
        .into_iter()
        .zip(out)
        .filter(|(_, out)| !out)
        .map(|(candidate, _)| candidate)
        .collect();
    kept.sort_by(|a, b| a.pool.name.cmp(&b.pool.name));
    kept
}

fn ip_address_pool<'a>(object: &'a IPAddressPool, context: &Context<'a>, findings: &mut Findings) -> Candidate<'a> {
    const KIND: &str = "IPAddressPool";
    let name = object.name_any();
    let reference = ObjectRef::new(KIND, &name);
    let mark = findings.refused.len();
    let spec = &object.spec;
    let (entries, places) = addresses(&reference, &spec.addresses, findings);
    let allocation = spec
        .service_allocation
        .as_ref()
        .map(|from| allocation(&reference, from, context, findings));
    Candidate {
        age: context.objects.age(object, KIND),
        labels: object.labels(),
        pool: Pool {
            name,
            kind: PoolKind::IpAddressPool,
            entries,
            auto_assign: spec.auto_assign,
            avoid_buggy_ips: spec.avoid_buggy_ips,
            allocation,
            l2: Vec::new(),
            bgp: Vec::new(),
        },
        object: reference,
        places,
        faulty: findings.since(mark),
    }
}

fn address_pool<'a>(object: &'a AddressPool, context: &Context<'a>, findings: &mut Findings) -> Candidate<'a> {
    const KIND: &str = "AddressPool";
    let name = object.name_any();
    let reference = ObjectRef::new(KIND, &name);
    let mark = findings.refused.len();
    let spec = &object.spec;
    let (entries, places) = addresses(&reference, &spec.addresses, findings);
    legacy::check(&reference, spec, findings);
    Candidate {
        age: context.objects.age(object, KIND),
        labels: object.labels(),
        pool: Pool {
            name,
            kind: PoolKind::AddressPool,
            entries,
            auto_assign: spec.auto_assign,
            avoid_buggy_ips: spec.avoid_buggy_ips,
            allocation: None,
            l2: Vec::new(),
            bgp: Vec::new(),
        },
        object: reference,
        places,
        faulty: findings.since(mark),
    }
}

/// The rule of each kind for one and the same thing.
fn either(object: &ObjectRef, rule: Rule, legacy: Rule) -> Rule {
    if object.kind == PoolKind::AddressPool.as_str() {
        legacy
    } else {
        rule
    }
}

impl AddressError {
    fn rule(&self) -> Rule {
        match self {
            Self::Order { .. } => Rule::P3,
            Self::MixedFamilies(_) => Rule::W16,
            Self::Mapped(_) => Rule::W17,
            _ => Rule::P2,
        }
    }
}

/// Parses `spec.addresses`; the second list says where each range stood.
fn addresses(object: &ObjectRef, texts: &[String], findings: &mut Findings) -> (Vec<AddressRange>, Vec<usize>) {
    if texts.is_empty() {
        let reason = format!("parsing address pool {}: pool has no prefixes defined", object.name);
        findings.refuse_verbatim(either(object, Rule::P1, Rule::Ap4), object, "spec.addresses", reason);
    }
    let mut parsed = (Vec::new(), Vec::new());
    for (place, text) in texts.iter().enumerate() {
        match AddressRange::parse(text) {
            Ok(range) => {
                warn_of_odd_range(object, place, range, findings);
                warn_of_host_bits(object, place, text, range, findings);
                parsed.0.push(range);
                parsed.1.push(place);
            }
            Err(error) => {
                let field = format!("spec.addresses[{place}]");
                findings.refuse(either(object, error.rule(), Rule::Ap4), object, field, error);
            }
        }
    }
    parsed
}

/// Ranges that no Service can sensibly use.
static ODD: LazyLock<Vec<(AddressRange, &str)>> = LazyLock::new(|| {
    const ODD: [(&str, &str); 8] = [
        ("0.0.0.0/8", "\"this network\""),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/3", "multicast or reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    ];
    let parsed = |(text, what)| Some((AddressRange::parse(text).ok()?, what));
    ODD.into_iter().filter_map(parsed).collect()
});

/// Such ranges are accepted, as upstream does, but not silently (W-18).
fn warn_of_odd_range(object: &ObjectRef, place: usize, range: AddressRange, findings: &mut Findings) {
    for (odd, what) in ODD.iter().filter(|(odd, _)| odd.overlaps(&range)) {
        let reason = format!("{range} holds {what} addresses ({odd})");
        findings.warn(Rule::W18, object, format!("spec.addresses[{place}]"), reason);
    }
}

/// Upstream: clears the host bits without a word (W-18).
fn warn_of_host_bits(object: &ObjectRef, place: usize, text: &str, range: AddressRange, findings: &mut Findings) {
    let written = text.split_once('/').and_then(|(address, _)| parse_ip(address));
    if written.is_some_and(|address| address != range.first()) {
        let reason = format!("{text} means the whole of {range}");
        findings.warn(Rule::W18, object, format!("spec.addresses[{place}]"), reason);
    }
}

fn allocation(
    object: &ObjectRef,
    from: &metallb_api::ServiceAllocation,
    context: &Context<'_>,
    findings: &mut Findings,
) -> ServiceAllocation {
    const FIELD: &str = "spec.serviceAllocation";
    for name in duplicates(&from.namespaces) {
        findings.refuse(
            Rule::P6,
            object,
            format!("{FIELD}.namespaces"),
            format!("duplicate definition of namespace \"{name}\""),
        );
    }
    context.check_names(object, &format!("{FIELD}.namespaces"), &from.namespaces, findings);
    let by_label = selector::parse_list(
        object,
        &format!("{FIELD}.namespaceSelectors"),
        &from.namespace_selectors,
        findings,
    );
    let services = selector::parse_list(
        object,
        &format!("{FIELD}.serviceSelectors"),
        &from.service_selectors,
        findings,
    );
    // Upstream: selectors that select no namespace mean any namespace (W-32).
    let namespaces = if from.namespaces.is_empty() && from.namespace_selectors.is_empty() {
        Namespaces::Any
    } else {
        let mut names: BTreeSet<String> = from.namespaces.iter().cloned().collect();
        names.extend(context.namespaces.matching(&by_label));
        Namespaces::Only(names)
    };
    ServiceAllocation {
        priority: from.priority,
        namespaces,
        services,
    }
}

/// What two pools quarrel about.
enum Dispute {
    Name,
    /// Indices into `entries` of each.
    Ranges(usize, usize),
}

/// Marks the pools that lose against an older one of the same name or with a common address.
fn exclude(candidates: &[Candidate<'_>], out: &mut [bool], strict: bool, findings: &mut Findings) {
    let mut disputes = same_names(candidates);
    for conflict in overlaps(&claims(candidates)) {
        let (left, right) = conflict.about;
        if conflict.a == conflict.b {
            out[conflict.a] = true;
            report_overlap(
                (&candidates[conflict.a], right.max(left)),
                (&candidates[conflict.a], right.min(left)),
                findings,
            );
        } else {
            disputes.push(Conflict {
                a: conflict.a,
                b: conflict.b,
                about: Dispute::Ranges(left, right),
            });
        }
    }
    let ages: Vec<&Age> = candidates.iter().map(|candidate| &candidate.age).collect();
    for verdict in settle(&ages, out, disputes, strict) {
        let (loser, winner) = (&candidates[verdict.loser], &candidates[verdict.winner]);
        match verdict.about {
            Dispute::Name => findings.refuse_with(
                Rule::Ap2,
                &loser.object,
                "metadata.name",
                format!("duplicate pool: the name is already defined by {}", winner.object),
                [winner.object.clone()],
            ),
            Dispute::Ranges(a, b) => {
                let (lost, won) = if verdict.swapped { (a, b) } else { (b, a) };
                report_overlap((loser, lost), (winner, won), findings);
            }
        }
    }
}

fn same_names(candidates: &[Candidate<'_>]) -> Vec<Conflict<Dispute>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| &candidates[index].pool.name);
    let same = |a: &usize, b: &usize| candidates[*a].pool.name == candidates[*b].pool.name;
    let pairs = order.chunk_by(same).filter(|group| group.len() > 1).flat_map(|group| {
        group
            .iter()
            .enumerate()
            .flat_map(|(i, &a)| group[i + 1..].iter().map(move |&b| (a, b)))
    });
    pairs
        .map(|(a, b)| Conflict {
            a,
            b,
            about: Dispute::Name,
        })
        .collect()
}

fn claims(candidates: &[Candidate<'_>]) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(candidates.iter().map(|candidate| candidate.pool.entries.len()).sum());
    for (owner, candidate) in candidates.iter().enumerate() {
        let entries = candidate.pool.entries.iter().enumerate();
        claims.extend(entries.map(|(entry, &range)| Claim { owner, entry, range }));
    }
    claims
}

fn report_overlap(loser: (&Candidate<'_>, usize), winner: (&Candidate<'_>, usize), findings: &mut Findings) {
    let (lost, won) = (loser.0.pool.entries[loser.1], winner.0.pool.entries[winner.1]);
    let same = std::ptr::eq(loser.0, winner.0);
    let reason = format!(
        "CIDR \"{lost}\" in pool \"{}\" overlaps with already defined CIDR \"{won}\"{}",
        loser.0.pool.name,
        if same {
            " of the same pool".to_owned()
        } else {
            format!(" of {}", winner.0.object)
        },
    );
    let field = format!("spec.addresses[{}]", loser.0.places[loser.1]);
    let rule = either(&loser.0.object, Rule::P4, Rule::Ap3);
    findings.refuse_with(
        rule,
        &loser.0.object,
        field,
        reason,
        (!same).then(|| winner.0.object.clone()),
    );
}

/// An address of a Node or of its Pods is no address for a Service: whoever asks for it would meet two owners (W-18).
///
/// Upstream: had the rule for one release, and took it back.
fn warn_of_nodes(candidates: &[Candidate<'_>], context: &Context<'_>, findings: &mut Findings) {
    if context.resources.nodes.is_empty() {
        return;
    }
    let mut claims = claims(candidates);
    claims.sort_by_key(|claim| (claim.range.key(), &candidates[claim.owner].object));
    for node in &context.resources.nodes {
        for (taken, by) in taken_by(node) {
            let place = claims.partition_point(|claim| claim.range.key() <= taken.end_key());
            let near = claims[..place].iter().rev();
            for claim in near.take_while(|claim| claim.range.overlaps(&taken)) {
                let candidate = &candidates[claim.owner];
                let field = format!("spec.addresses[{}]", candidate.places[claim.entry]);
                let reason = format!("{} holds {by} Node {}", claim.range, node.name_any());
                findings.warn(Rule::W18, &candidate.object, field, reason);
            }
        }
    }
}

/// The addresses that a Node uses itself, and what for.
fn taken_by(node: &Node) -> impl Iterator<Item = (AddressRange, String)> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let addresses = addresses.filter(|address| ["InternalIP", "ExternalIP"].contains(&address.type_.as_str()));
    let own = addresses.filter_map(|address| {
        let ip = parse_ip(&address.address)?;
        Some((AddressRange::new(ip, ip)?, format!("{ip}, an address of")))
    });
    let pods = node.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten());
    let pods = pods.filter_map(|text| {
        let range = AddressRange::parse(text).ok()?;
        Some((range, format!("addresses of the Pods ({range}) of")))
    });
    own.chain(pods)
}

/// The texts that stand in the list more than once.
pub(crate) fn duplicates(list: &[String]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    list.iter()
        .map(String::as_str)
        .filter(|text| !seen.insert(*text))
        .collect()
}
