//! Verdicts over deletions: one that is refused, and warnings of what they leave behind.
//!
//! Upstream: says nothing when a delete strands addresses, aliases or sessions (W-11).

use kube::ResourceExt;
use metallb_api::{BFDProfile, BGPPeer, Community};
use metallb_config::{Parsed, Pool, PoolKind, Resources, Rule, parse};

use super::holders;
use super::kinds::Configured;
use super::{Existing, Kind, Problem, Request, Rules, Verdict};

/// How many of those that a delete concerns are named.
const NAMED: usize = 5;

pub(super) fn judge(
    kind: Kind,
    request: &Request,
    existing: Existing<'_>,
    rules: &Rules,
) -> serde_json::Result<Verdict> {
    let name = request.name().unwrap_or_default();
    let namespace = request.old["metadata"]["namespace"]
        .as_str()
        .or(request.namespace.as_deref());
    if namespace.is_some_and(|namespace| namespace != rules.namespace) {
        return Ok(Verdict::default());
    }
    let current = existing.resources;
    Ok(match kind {
        Kind::BfdProfile => bfd_profile(&BFDProfile::decode(&request.old)?, current),
        Kind::IpAddressPool | Kind::AddressPool => Verdict::warned(Rule::D1, holders::of_deleted(request, existing)),
        Kind::Community => aliases(&Community::decode(&request.old)?, current),
        Kind::BgpPeer => peer(name, existing),
        Kind::L2Advertisement | Kind::BgpAdvertisement => last_of_pools(kind, name, current, rules),
        Kind::MetalLb => Verdict::default(),
    })
}

/// A profile in use stays (F-2).
fn bfd_profile(profile: &BFDProfile, current: &Resources) -> Verdict {
    let name = profile.name_any();
    let uses = |peer: &&BGPPeer| {
        peer.spec.bfd_profile.as_deref() == Some(name.as_str())
            && (profile.namespace().is_none() || peer.namespace() == profile.namespace())
    };
    let users = current
        .peers
        .iter()
        .filter(uses)
        .map(|peer| format!("BGPPeer {}", peer.name_any()));
    let users: Vec<String> = users.collect();
    if users.is_empty() {
        return Verdict::default();
    }
    let reason = format!("failed to delete BFDProfile {name}, used by {}", users.join(", "));
    Verdict::refused(Problem::new(Rule::F2, "", reason))
}

/// Advertisements that use an alias of the Community (D-2).
fn aliases(community: &Community, current: &Resources) -> Verdict {
    let own: Vec<&str> = community
        .spec
        .communities
        .iter()
        .map(|alias| alias.name.as_str())
        .collect();
    let mut users = Vec::new();
    let mut used = |user: String, communities: &[String]| {
        let alias = communities.iter().find(|text| own.contains(&text.as_str()));
        users.extend(alias.map(|alias| format!("{user} uses the alias \"{alias}\"")));
    };
    for advertisement in &current.bgp_advertisements {
        used(
            format!("BGPAdvertisement {}", advertisement.name_any()),
            &advertisement.spec.communities,
        );
    }
    for pool in &current.address_pools {
        for entry in &pool.spec.bgp_advertisements {
            used(format!("AddressPool {}", pool.name_any()), &entry.communities);
        }
    }
    Verdict::warned(Rule::D2, users.into_iter())
}

/// Advertisements to this peer, and Services that are announced to it (D-3).
fn peer(peer: &str, existing: Existing<'_>) -> Verdict {
    let advertisements = existing.resources.bgp_advertisements.iter();
    let naming = advertisements.filter(|advertisement| advertisement.spec.peers.iter().any(|name| name == peer));
    let naming = naming.map(|advertisement| format!("BGPAdvertisement {} names it", advertisement.name_any()));
    let statuses = existing.announced.iter().filter_map(|object| object.status.as_ref());
    let announced = statuses.filter(|status| status.peers.iter().any(|name| name == peer));
    let announced = announced.map(|status| {
        let (namespace, name) = (&status.service_namespace, &status.service_name);
        format!("Node {} announces Service {namespace}/{name} to it", status.node)
    });
    Verdict::warned(Rule::D3, naming.chain(announced))
}

/// Pools that nothing else advertises (D-4).
fn last_of_pools(kind: Kind, name: &str, current: &Resources, rules: &Rules) -> Verdict {
    let Parsed { config, .. } = parse(current, &rules.options());
    let mine = |own: &Option<String>| own.as_deref() == Some(name);
    let last = |pool: &&Pool| {
        let l2 = pool
            .l2
            .iter()
            .filter(|l2| kind == Kind::L2Advertisement && mine(&l2.name))
            .count();
        let bgp = pool
            .bgp
            .iter()
            .filter(|bgp| kind == Kind::BgpAdvertisement && mine(&bgp.name))
            .count();
        pool.kind == PoolKind::IpAddressPool && l2 + bgp > 0 && l2 + bgp == pool.l2.len() + pool.bgp.len()
    };
    let pools: Vec<String> = config
        .pools
        .values()
        .filter(last)
        .map(|pool| format!("nothing else advertises IPAddressPool {}", pool.name))
        .collect();
    Verdict::warned(Rule::D4, pools.into_iter())
}

impl Verdict {
    /// Allowed, but told of what it concerns.
    pub(super) fn warned(rule: Rule, concerned: impl Iterator<Item = String>) -> Self {
        let concerned: Vec<String> = concerned.collect();
        if concerned.is_empty() {
            return Self::default();
        }
        let named = concerned[..concerned.len().min(NAMED)].join(", ");
        let more = concerned.len().saturating_sub(NAMED);
        let rest = if more > 0 {
            format!(", and {more} more")
        } else {
            String::new()
        };
        Self {
            warnings: vec![Problem::new(rule, "", format!("{named}{rest}"))],
            ..Self::default()
        }
    }
}
