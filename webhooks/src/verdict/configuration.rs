//! Verdicts over the kinds that make up the configuration.

use kube::ResourceExt;
use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_config::{ObjectRef, Options, Parsed, Refused, Resources, View, parse};

use super::kinds::Configured;
use super::{Kind, Operation, Problem, Request, Rules, Verdict};

pub(super) fn judge(kind: Kind, request: &Request, current: &Resources, rules: &Rules) -> serde_json::Result<Verdict> {
    match kind {
        Kind::IpAddressPool => judge_as::<IPAddressPool>(request, current, rules),
        Kind::AddressPool => judge_as::<AddressPool>(request, current, rules),
        Kind::L2Advertisement => judge_as::<L2Advertisement>(request, current, rules),
        Kind::BgpAdvertisement => judge_as::<BGPAdvertisement>(request, current, rules),
        Kind::BgpPeer => judge_as::<BGPPeer>(request, current, rules),
        Kind::Community => judge_as::<Community>(request, current, rules),
        Kind::BfdProfile if request.operation == Operation::Delete => delete_bfd_profile(request, current),
        Kind::BfdProfile => judge_as::<BFDProfile>(request, current, rules),
        Kind::MetalLb => Ok(Verdict::default()),
    }
}

fn judge_as<K: Configured>(request: &Request, current: &Resources, rules: &Rules) -> serde_json::Result<Verdict> {
    let object = match request.operation {
        Operation::Create => {
            let object = K::decode(&request.object)?;
            let namespace = object
                .namespace()
                .or_else(|| request.namespace.clone())
                .unwrap_or_default();
            if namespace != rules.namespace {
                let reason = format!("resource must be created in {} namespace", rules.namespace);
                return Ok(Verdict::refused(Problem::new("metadata.namespace", reason)));
            }
            object
        }
        Operation::Update => {
            let object = K::decode(&request.object)?;
            // An old object that is not legible counts as different.
            let same = K::decode(&request.old).is_ok_and(|old| object.same_as(&old));
            if same || object.meta().deletion_timestamp.is_some() {
                return Ok(Verdict::default());
            }
            object
        }
        Operation::Delete | Operation::Other => return Ok(Verdict::default()),
    };
    Ok(judge_among(object, current, rules))
}

/// Parses with the object put in the place of its older self.
///
/// The object counts as the newest of all: what it collides with was there first, so the blame is always its own.
fn judge_among<K: Configured>(mut object: K, current: &Resources, rules: &Rules) -> Verdict {
    let options = Options {
        backend: rules.backend,
        my_asn_scope: rules.my_asn_scope,
        view: View::Admission,
    };
    let me = ObjectRef::new(K::KIND, &object.name_any());
    let namespace = object.namespace();
    let is_me = |other: &K| other.name_any() == me.name && (namespace.is_none() || other.namespace() == namespace);
    let mut before = current.clone();
    before.namespace.clone_from(&rules.namespace);
    for old in K::list(&mut before).iter_mut().filter(|old| is_me(old)) {
        old.meta_mut().creation_timestamp = None;
    }
    let mut after = before.clone();
    object.meta_mut().creation_timestamp = None;
    let list = K::list(&mut after);
    list.retain(|other| !is_me(other));
    list.push(object);
    let Parsed { refused, warnings, .. } = parse(&after, &options);
    let mine = refused.into_iter().filter(|refused| refused.concerns(&me)).collect();
    let errors = news(mine, &before, &options)
        .iter()
        .map(|refused| problem(refused, &me))
        .collect();
    let warnings = warnings
        .iter()
        .filter(|warning| warning.object == me)
        .map(|warning| format!("{}: {}", warning.field, warning.reason))
        .collect();
    Verdict {
        errors,
        warnings,
        undecodable: false,
    }
}

/// Leaves out the collisions that were there before: they are not the fault of this change.
fn news(mut refused: Vec<Refused>, before: &Resources, options: &Options) -> Vec<Refused> {
    if refused.iter().any(|refused| !refused.involves.is_empty()) {
        let known = parse(before, options).refused;
        refused.retain(|refused| refused.involves.is_empty() || !known.contains(refused));
    }
    refused
}

/// The object of the request goes without saying.
fn problem(refused: &Refused, me: &ObjectRef) -> Problem {
    if refused.object == *me {
        let others: Vec<String> = refused
            .involves
            .iter()
            .filter(|other| !refused.reason.contains(&other.name))
            .map(ToString::to_string)
            .collect();
        let context = if others.is_empty() {
            String::new()
        } else {
            format!(" ({})", others.join(", "))
        };
        Problem::new(&refused.field, format!("{}{context}", refused.reason))
    } else {
        Problem::new(format!("{} {}", refused.object, refused.field), &refused.reason)
    }
}

/// A profile in use stays (F-2).
fn delete_bfd_profile(request: &Request, current: &Resources) -> serde_json::Result<Verdict> {
    let profile = BFDProfile::decode(&request.old)?;
    let name = profile.name_any();
    let uses = |peer: &&BGPPeer| {
        peer.spec.bfd_profile.as_deref() == Some(name.as_str())
            && (profile.namespace().is_none() || peer.namespace() == profile.namespace())
    };
    let users: Vec<String> = current
        .peers
        .iter()
        .filter(uses)
        .map(|peer| format!("BGPPeer {}", peer.name_any()))
        .collect();
    if users.is_empty() {
        return Ok(Verdict::default());
    }
    let reason = format!("failed to delete BFDProfile {name}, used by {}", users.join(", "));
    Ok(Verdict::refused(Problem::new("", reason)))
}
