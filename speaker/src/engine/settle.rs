//! The configuration that counts: objects that became unusable are replaced by their last usable version.
//!
//! `metallb_config::parse` leaves out what it must refuse. For a running speaker that would mean to withdraw what was
//! announced because somebody mistyped an edit; upstream keeps its whole old configuration then. Here only the refused
//! object stays as it was. After a restart there is no old version, and it is left out.

use kube::ResourceExt;
use metallb_config::{Config, ObjectRef, Options, Parsed, Resources, Warning, parse};
use tracing::{error, warn};

/// A configuration in effect.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) config: Config,
    /// What is wrong with the resources as they are now.
    pub(super) errors: Vec<String>,
    /// What is odd with them.
    warnings: Vec<Warning>,
    /// What of that was not before.
    pub(super) news: Vec<Warning>,
    /// The resources in their last usable versions.
    usable: Resources,
    /// Objects that never had one.
    unusable: Vec<ObjectRef>,
}

/// Parses `resources`, falling back to what `before` knows of refused objects.
pub(super) fn settle(resources: &Resources, before: Option<&Settled>, options: &Options) -> Settled {
    let parsed = parse(resources, options);
    let errors: Vec<String> = parsed.refused.iter().map(metallb_config::Refused::summary).collect();
    if before.is_none_or(|before| before.errors != errors) {
        for refused in &parsed.refused {
            error!(event = "configRefused", object = %refused.object, field = refused.field, reason = refused.reason);
        }
    }
    let warnings = parsed.warnings.clone();
    let news = news(&warnings, before);
    let blamed = objects(&parsed);
    let as_written = |parsed: Parsed, errors, news, unusable| Settled {
        config: parsed.config,
        errors,
        warnings: parsed.warnings,
        news,
        usable: resources.clone(),
        unusable,
    };
    let Some(before) = before.filter(|_| !blamed.is_empty()) else {
        return as_written(parsed, errors, news, blamed);
    };
    let replaceable: Vec<ObjectRef> = blamed
        .iter()
        .filter(|o| !before.unusable.contains(o))
        .cloned()
        .collect();
    let usable = restore(resources, &before.usable, &replaceable);
    let again = parse(&usable, options);
    let unusable = objects(&again);
    // An old version may clash with what is new elsewhere; then the new one, which is what the user sees, wins.
    if unusable.iter().any(|object| !blamed.contains(object)) {
        return as_written(parsed, errors, news, blamed);
    }
    Settled {
        config: again.config,
        errors,
        warnings,
        news,
        usable,
        unusable,
    }
}

/// Logs the warnings that are new, and returns them.
fn news(warnings: &[Warning], before: Option<&Settled>) -> Vec<Warning> {
    let known = |warning| before.is_some_and(|before| before.warnings.contains(warning));
    let news: Vec<_> = warnings.iter().filter(|warning| !known(warning)).cloned().collect();
    for warning in &news {
        warn!(event = "configDoubtful", object = %warning.object, field = warning.field, reason = warning.reason);
    }
    news
}

fn objects(parsed: &Parsed) -> Vec<ObjectRef> {
    parsed.refused.iter().map(|refused| refused.object.clone()).collect()
}

fn restore(now: &Resources, before: &Resources, blamed: &[ObjectRef]) -> Resources {
    let mut usable = now.clone();
    restore_kind("IPAddressPool", &mut usable.pools, &before.pools, blamed);
    restore_kind("AddressPool", &mut usable.address_pools, &before.address_pools, blamed);
    restore_kind(
        "L2Advertisement",
        &mut usable.l2_advertisements,
        &before.l2_advertisements,
        blamed,
    );
    restore_kind(
        "BGPAdvertisement",
        &mut usable.bgp_advertisements,
        &before.bgp_advertisements,
        blamed,
    );
    restore_kind("BGPPeer", &mut usable.peers, &before.peers, blamed);
    restore_kind("BFDProfile", &mut usable.bfd_profiles, &before.bfd_profiles, blamed);
    restore_kind("Community", &mut usable.communities, &before.communities, blamed);
    usable
}

fn restore_kind<K: ResourceExt + Clone>(kind: &str, now: &mut [K], before: &[K], blamed: &[ObjectRef]) {
    for object in now
        .iter_mut()
        .filter(|o| blamed.contains(&ObjectRef::new(kind, &o.name_any())))
    {
        if let Some(old) = before.iter().find(|old| old.name_any() == object.name_any()) {
            *object = old.clone();
        }
    }
}
