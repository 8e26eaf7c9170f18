//! The configuration that counts: objects that became unusable are replaced by their last usable version.
//!
//! [`crate::parse`] leaves out what it must refuse. For a running speaker that would mean to withdraw what was announced
//! because somebody mistyped an edit; upstream keeps its whole old configuration then. Here only the refused object
//! stays as it was. After a restart there is no old version, and it is left out.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::parse::parse_beside;
use crate::{Config, ObjectRef, Options, Parsed, Refused, Resources, Warning};

/// A configuration in effect.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What counts.
    pub config: Config,
    /// What is wrong with the resources as they are now.
    pub refused: Vec<Refused>,
    /// What is odd with them.
    pub warnings: Vec<Warning>,
    /// The resources in their last usable versions.
    usable: Resources,
    /// Objects that never had one.
    unusable: Vec<ObjectRef>,
}

impl Settled {
    /// Namespace and uid of the BGPPeer of this name, for events about it.
    #[must_use]
    pub fn identity_of_peer(&self, name: &str) -> (&str, Option<String>) {
        let peer = self.usable.peers.iter().find(|peer| peer.name_any() == name);
        (&self.usable.namespace, peer.and_then(ResourceExt::uid))
    }

    /// What is in use and does something else than it says, one sentence each: see [`Warning::is_doubt`].
    pub fn doubts(&self) -> impl Iterator<Item = String> + '_ {
        let doubts = self.warnings.iter().filter(|warning| warning.is_doubt());
        doubts.map(ToString::to_string)
    }
}

impl Settled {
    /// Parses `resources`, falling back to what `before` knows of refused objects. Of two peers that exclude each other on
    /// this node the one stays that was in use before.
    #[must_use]
    pub fn new(resources: &Resources, before: Option<&Self>, options: &Options) -> Self {
        let none = BTreeMap::new();
        let running = before.map_or(&none, |before| &before.config.peers);
        let parsed = parse_beside(resources, options, running);
        let blamed = objects(&parsed);
        match before.filter(|_| !blamed.is_empty()) {
            Some(before) => Self::falling_back(resources, parsed, &blamed, before, options),
            None => Self::as_written(resources, parsed, blamed),
        }
    }

    fn as_written(resources: &Resources, parsed: Parsed, unusable: Vec<ObjectRef>) -> Self {
        Self {
            config: parsed.config,
            refused: parsed.refused,
            warnings: parsed.warnings,
            usable: resources.clone(),
            unusable,
        }
    }

    fn falling_back(
        resources: &Resources,
        parsed: Parsed,
        blamed: &[ObjectRef],
        before: &Self,
        options: &Options,
    ) -> Self {
        let replaceable: Vec<ObjectRef> = blamed
            .iter()
            .filter(|o| !before.unusable.contains(o) && !asks_for_a_key(o, resources, &before.usable, &parsed))
            .cloned()
            .collect();
        let usable = restore(resources, &before.usable, &replaceable);
        let again = parse_beside(&usable, options, &before.config.peers);
        let unusable = objects(&again);
        // An old version may clash with what is new elsewhere; then the new one, which is what the user sees, wins.
        if unusable.iter().any(|object| !blamed.contains(object)) {
            return Self::as_written(resources, parsed, blamed.to_vec());
        }
        Self {
            config: again.config,
            refused: parsed.refused,
            warnings: parsed.warnings,
            usable,
            unusable,
        }
    }
}

/// Tells whether a peer waits for a key that its last usable version did not need: that one must not be dialled any more,
/// for no segment without a signature may leave from then on.
fn asks_for_a_key(object: &ObjectRef, now: &Resources, before: &Resources, parsed: &Parsed) -> bool {
    let asks = |resources: &Resources| {
        let mut peers = resources.peers.iter();
        let peer = peers.find(|peer| object.kind == "BGPPeer" && peer.name_any() == object.name);
        peer.is_some_and(|peer| {
            let clear = peer.spec.password.as_ref().is_some_and(|password| !password.is_empty());
            clear || peer.spec.password_secret.is_some()
        })
    };
    let useless = |refused: &Refused| refused.object == *object && refused.field == "spec.passwordSecret";
    asks(now) && (!asks(before) || parsed.refused.iter().any(useless))
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
