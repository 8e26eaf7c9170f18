//! What a BGPAdvertisement, or the entry of a legacy pool, says about routes.

use std::collections::BTreeSet;

use kube::ResourceExt;
use metallb_api::LegacyBgpAdvertisement;

use crate::age::Age;
use crate::choice::{PoolChoice, refuse_duplicates};
use crate::community::{Aliases, CommunityError};
use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::model::{BgpAdvertisement, Community};
use crate::pool::{Candidate, duplicates};
use crate::resources::Options;
use crate::rule::Rule;
use crate::selector;

/// Prefix lengths that announce single addresses.
const SINGLE_V4: u8 = 32;
const SINGLE_V6: u8 = 128;

/// What upstream lets FRR announce with one route, whose attribute then fits 255 octets. Natively a message is the limit.
const MAX_COMMUNITIES: usize = 63;

/// A BGPAdvertisement that is right by itself.
#[derive(Debug)]
pub(crate) struct Announcement {
    pub(crate) object: ObjectRef,
    /// Prefix of its fields: `spec` or `spec.bgpAdvertisements[0]`.
    pub(crate) path: String,
    pub(crate) age: Age,
    pub(crate) choice: PoolChoice,
    pub(crate) advertisement: BgpAdvertisement,
}

pub(crate) fn parse(
    context: &Context<'_>,
    aliases: &Aliases,
    pools: &[Candidate<'_>],
    findings: &mut Findings,
) -> Vec<Announcement> {
    const KIND: &str = "BGPAdvertisement";
    let mut parsed = Vec::new();
    for object in context.objects.ours(|all| &all.bgp_advertisements) {
        let reference = ObjectRef::new(KIND, &object.name_any());
        let spec = &object.spec;
        let mut found = Findings::default();
        let choice = PoolChoice::parse(
            &reference,
            &spec.ip_address_pools,
            &spec.ip_address_pool_selectors,
            (context, pools),
            &mut found,
        );
        let selectors = selector::parse_list(&reference, "spec.nodeSelectors", &spec.node_selectors, &mut found);
        let services = selector::parse_list(&reference, "spec.serviceSelectors", &spec.service_selectors, &mut found);
        refuse_duplicates(Rule::A6, &reference, "peers", &spec.peers, &mut found);
        context.check_names(&reference, "spec.peers", &spec.peers, &mut found);
        warn_of_unknown_peers(&reference, &spec.peers, context, &mut found);
        let attributes = Attributes {
            aggregation_v4: spec.aggregation_length,
            aggregation_v6: spec.aggregation_length_v6,
            local_pref: spec.local_pref,
            communities: &spec.communities,
        };
        let base = attributes.parse(&reference, "spec", aliases, context.options, &mut found);
        if !services.is_empty() && (base.aggregation_v4, base.aggregation_v6) != (SINGLE_V4, SINGLE_V6) {
            found.refuse(
                Rule::A3,
                &reference,
                "spec.serviceSelectors",
                "serviceSelectors and aggregationLength are mutually exclusive",
            );
        }
        context.warn_of_no_node(&reference, &selectors, "nobody announces", &mut found);
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
                age: context.objects.age(object, KIND),
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
    for (place, name) in names.iter().enumerate() {
        if !context
            .objects
            .ours(|all| &all.peers)
            .any(|peer| peer.name_any() == *name)
        {
            findings.warn(
                Rule::W12,
                object,
                format!("spec.peers[{place}]"),
                format!("there is no BGPPeer \"{name}\""),
            );
        }
    }
}

/// What both kinds of BGP advertisement share.
pub(crate) struct Attributes<'a> {
    aggregation_v4: Option<i64>,
    aggregation_v6: Option<i64>,
    local_pref: Option<i64>,
    communities: &'a [String],
}

impl<'a> Attributes<'a> {
    pub(crate) fn of_legacy(entry: &'a LegacyBgpAdvertisement) -> Self {
        Self {
            aggregation_v4: entry.aggregation_length,
            aggregation_v6: entry.aggregation_length_v6,
            local_pref: entry.local_pref,
            communities: &entry.communities,
        }
    }

    pub(crate) fn parse(
        &self,
        object: &ObjectRef,
        path: &str,
        aliases: &Aliases,
        options: &Options,
        findings: &mut Findings,
    ) -> BgpAdvertisement {
        let either = |rule, legacy| if path == "spec" { rule } else { legacy };
        let mut length = |field: &str, value: Option<i64>, min: i64, max: u8, family: &str| {
            let value = value.unwrap_or_else(|| max.into());
            let reason = format!("invalid aggregation length {value} for {family}: must be from {min} to {max}");
            if !(min..=i64::from(max)).contains(&value) {
                let own = if value < min { Rule::A1 } else { Rule::A2 };
                findings.refuse(either(own, Rule::Ap6), object, format!("{path}.{field}"), reason);
            }
            u8::try_from(value).unwrap_or(max)
        };
        let aggregation_v4 = length("aggregationLength", self.aggregation_v4, 1, SINGLE_V4, "IPv4");
        let aggregation_v6 = length("aggregationLengthV6", self.aggregation_v6, 0, SINGLE_V6, "IPv6");
        let local_pref = u32::try_from(self.local_pref.unwrap_or(0)).unwrap_or_else(|_| {
            findings.refuse(
                Rule::W14,
                object,
                format!("{path}.localPref"),
                "localPref must be from 0 to 4294967295",
            );
            0
        });
        for text in duplicates(self.communities) {
            let reason = format!("duplicate definition of community \"{text}\"");
            findings.refuse(
                either(Rule::A6, Rule::Ap8),
                object,
                format!("{path}.communities"),
                reason,
            );
        }
        let communities = self.communities(object, path, aliases, options, findings);
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
        options: &Options,
        findings: &mut Findings,
    ) -> BTreeSet<Community> {
        let mut communities = BTreeSet::new();
        for (place, text) in self.communities.iter().enumerate() {
            match aliases.resolve(text) {
                Ok(community) => {
                    communities.insert(community);
                }
                // The Community may be created after the advertisement.
                Err(CommunityError::Format(_)) if options.strict() && !text.contains(':') => {
                    let reason = format!("there is no Community with an alias \"{text}\"");
                    findings.warn(Rule::A8, object, format!("{path}.communities[{place}]"), reason);
                }
                Err(error) => {
                    let reason = format!("{error}\ninvalid community \"{text}\" in BGP advertisement");
                    let own = if text.contains(':') { Rule::A7 } else { Rule::A8 };
                    let rule = if path == "spec" { own } else { Rule::Ap10 };
                    findings.refuse_verbatim(rule, object, format!("{path}.communities[{place}]"), reason);
                }
            }
        }
        if options.backend.is_frr() && communities.len() > MAX_COMMUNITIES {
            let reason = format!("{} communities: FRR takes at most {MAX_COMMUNITIES}", communities.len());
            findings.refuse(Rule::A12, object, format!("{path}.communities"), reason);
        }
        communities
    }
}
