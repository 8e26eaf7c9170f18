//! Routes into as few UPDATEs as their attributes and the message size allow.

use ipnet::{IpNet, Ipv4Net};

use super::Egress;
use crate::{
    Attributes,
    session::Reach,
    wire::{AsPath, Attribute, Codec, Family, MpReach, MpUnreach, NextHop, Origin, Update, encoded_prefix_len},
};

/// Header, and the two lengths of an UPDATE.
const FIXED: usize = 19 + 4;
/// Attribute header in its long form, AFI and SAFI.
const MP_UNREACH: usize = 4 + 3;
/// The longest prefix: length octet and a whole IPv6 address.
const LONGEST_PREFIX: usize = 17;

/// Withdraws prefixes of one family.
pub(super) fn withdraw(family: Family, prefixes: &[IpNet], codec: &Codec) -> Vec<Update> {
    let plain = family == Family::IPV4_UNICAST;
    let budget = codec.max_message() - FIXED - if plain { 0 } else { MP_UNREACH };
    chunks(prefixes, budget)
        .map(|chunk| {
            if plain {
                Update {
                    withdrawn: ipv4(chunk),
                    ..Update::default()
                }
            } else {
                let unreach = MpUnreach {
                    family,
                    withdrawn: chunk.to_vec(),
                };
                Update {
                    attributes: vec![Attribute::MpUnreach(unreach)],
                    ..Update::default()
                }
            }
        })
        .collect()
}

/// Announces prefixes of one family that share their attributes.
pub(super) fn announce(family: Family, attributes: &Attributes, prefixes: &[IpNet], egress: &Egress) -> Vec<Update> {
    let Reach::Via(next_hop) = egress.next_hops.of(family) else {
        return Vec::new();
    };
    let budget = egress
        .codec
        .max_message()
        .saturating_sub(overhead(family, attributes, egress));
    chunks(prefixes, budget)
        .map(|chunk| update(family, next_hop, attributes, chunk, egress))
        .collect()
}

/// Tells whether one prefix with these attributes fits a message at all.
pub(super) fn fits(family: Family, attributes: &Attributes, egress: &Egress) -> bool {
    // Most sets are tiny; do not encode each of them for every prefix.
    let communities = attributes.communities.len() * 4 + attributes.large_communities.len() * 12;
    communities < 2048 || overhead(family, attributes, egress) + LONGEST_PREFIX <= egress.codec.max_message()
}

/// Returns how long the message is without any prefix.
fn overhead(family: Family, attributes: &Attributes, egress: &Egress) -> usize {
    let Reach::Via(next_hop) = egress.next_hops.of(family) else {
        return FIXED;
    };
    let empty = update(family, next_hop, attributes, &[], egress);
    let mut encoded = Vec::new();
    empty
        .attributes
        .iter()
        .for_each(|attribute| attribute.encode(&mut encoded, &egress.codec));
    FIXED + encoded.len()
}

/// Makes one UPDATE; attributes in upstream's order, MP_REACH_NLRI ahead of them (RFC 7606 §5.1).
fn update(family: Family, next_hop: NextHop, attributes: &Attributes, prefixes: &[IpNet], egress: &Egress) -> Update {
    let classic = match next_hop {
        NextHop::V4(address) if family == Family::IPV4_UNICAST => Some(address),
        _ => None,
    };
    let mut list = Vec::new();
    if classic.is_none() {
        list.push(Attribute::MpReach(MpReach {
            family,
            next_hop,
            announced: prefixes.to_vec(),
        }));
    }
    let path = AsPath::sequence(if egress.internal { vec![] } else { vec![egress.asn] });
    let as4_path = (!egress.codec.as4 && path.needs_four_octets()).then(|| path.clone());
    list.push(Attribute::Origin(Origin::Igp));
    list.push(Attribute::AsPath(path));
    list.extend(classic.map(Attribute::NextHop));
    if egress.internal {
        list.push(Attribute::LocalPref(attributes.local_pref));
    }
    if !attributes.communities.is_empty() {
        list.push(Attribute::Communities(attributes.communities.iter().copied().collect()));
    }
    list.extend(as4_path.map(Attribute::As4Path));
    if !attributes.large_communities.is_empty() {
        list.push(Attribute::LargeCommunities(
            attributes.large_communities.iter().copied().collect(),
        ));
    }
    let announced = if classic.is_some() { ipv4(prefixes) } else { Vec::new() };
    Update {
        withdrawn: Vec::new(),
        attributes: list,
        announced,
    }
}

fn ipv4(prefixes: &[IpNet]) -> Vec<Ipv4Net> {
    let ipv4 = |prefix: &IpNet| match prefix {
        IpNet::V4(prefix) => Some(*prefix),
        IpNet::V6(_) => None,
    };
    prefixes.iter().filter_map(ipv4).collect()
}

/// Cuts a list of prefixes into runs of at most `budget` encoded octets.
fn chunks(mut prefixes: &[IpNet], budget: usize) -> impl Iterator<Item = &[IpNet]> {
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = prefixes.iter().take_while(|prefix| {
            used += encoded_prefix_len(prefix);
            used <= budget
        });
        let (chunk, rest) = prefixes.split_at(fitting.count());
        prefixes = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}
