//! Verdicts over the kinds that make up the configuration.

use metallb_api::{AddressPool, BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use metallb_config::{Change, Judged, ObjectRef, Refused, Resources, Rule, Warning, judge_change};

use super::deletion;
use super::holders;
use super::kinds::Configured;
use super::{Existing, Kind, Operation, Problem, Request, Rules, Verdict};

pub(super) fn judge(
    kind: Kind,
    request: &Request,
    existing: Existing<'_>,
    rules: &Rules,
) -> serde_json::Result<Verdict> {
    if request.operation == Operation::Delete {
        return deletion::judge(kind, request, existing, rules);
    }
    let current = existing.resources;
    match kind {
        Kind::IpAddressPool => Ok(with_losses(
            judge_as::<IPAddressPool>(request, current, rules)?,
            request,
            existing,
        )),
        Kind::AddressPool => Ok(with_losses(
            judge_as::<AddressPool>(request, current, rules)?,
            request,
            existing,
        )),
        Kind::L2Advertisement => judge_as::<L2Advertisement>(request, current, rules),
        Kind::BgpAdvertisement => judge_as::<BGPAdvertisement>(request, current, rules),
        Kind::BgpPeer => judge_as::<BGPPeer>(request, current, rules),
        Kind::Community => judge_as::<Community>(request, current, rules),
        Kind::BfdProfile => judge_as::<BFDProfile>(request, current, rules),
        Kind::MetalLb => Ok(Verdict::default()),
    }
}

/// Adds who loses addresses by a change of a pool. Services are looked up for such a change alone.
fn with_losses(mut verdict: Verdict, request: &Request, existing: Existing<'_>) -> Verdict {
    if request.operation == Operation::Update && verdict.allowed() {
        let losses = Verdict::warned(Rule::D5, holders::of_lost(request, existing));
        verdict
            .warnings
            .extend(losses.warnings.into_iter().map(|problem| Problem {
                field: "spec.addresses".to_owned(),
                ..problem
            }));
    }
    verdict
}

fn judge_as<K: Configured>(request: &Request, current: &Resources, rules: &Rules) -> serde_json::Result<Verdict> {
    let create = match request.operation {
        Operation::Create => true,
        Operation::Update => false,
        Operation::Delete | Operation::Other => return Ok(Verdict::default()),
    };
    let object = K::decode(&request.object)?;
    let namespace = object
        .namespace()
        .or_else(|| request.namespace.clone())
        .unwrap_or_default();
    match (create, rules.place(&namespace)) {
        (true, Err(problem)) => return Ok(Verdict::refused(problem)),
        // Nobody reads it, and its finalizers must be removable.
        (false, Err(_)) => return Ok(Verdict::default()),
        (true, Ok(())) => {}
        (false, Ok(())) => {
            // An old object that is not legible counts as different.
            let same = K::decode(&request.old).is_ok_and(|old| object.same_as(&old));
            if same || object.meta().deletion_timestamp.is_some() {
                return Ok(Verdict::default());
            }
        }
    }
    Ok(judge_among(object, create, current, rules))
}

/// Parses with the object put in the place of its older self.
fn judge_among<K: Configured>(object: K, create: bool, current: &Resources, rules: &Rules) -> Verdict {
    let options = rules.options();
    let me = ObjectRef::new(K::KIND, &object.name_any());
    let mut incoming = Resources::default();
    K::list(&mut incoming).push(object);
    let change = |with| Change {
        object: me.clone(),
        with,
    };
    let Judged {
        refused: mut mine,
        warnings,
    } = judge_change(current, &change(Some(&incoming)), &options);
    // Collisions that were there before are not the fault of this change.
    if !create && mine.iter().any(|refused| !refused.involves.is_empty()) {
        let known = judge_change(current, &change(None), &options).refused;
        mine.retain(|refused| refused.involves.is_empty() || !known.contains(refused));
    }
    Verdict {
        errors: mine.iter().map(|refused| problem(refused, &me)).collect(),
        warnings: warnings.iter().map(warning).collect(),
        undecodable: false,
    }
}

fn warning(warning: &Warning) -> Problem {
    Problem::new(warning.rule, &warning.field, &warning.reason)
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
        Problem::new(refused.rule, &refused.field, format!("{}{context}", refused.reason))
    } else {
        Problem::new(
            refused.rule,
            format!("{} {}", refused.object, refused.field),
            &refused.reason,
        )
    }
}
