//! Which pools have to be read to judge one object.
//!
//! A pool concerns those that share an address or its name with it, an advertisement concerns the pools that it takes
//! and whoever disputes these. All others are only glanced at, which is what makes a decision among ten thousand cheap.
//! The outcome is that of a full parse; a property test compares both.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt};
use metallb_api::{AddressPool, BGPAdvertisement, IPAddressPool, L2Advertisement};

use crate::overlap::Cover;
use crate::range::AddressRange;
use crate::resources::Objects;
use crate::selector::Selector;

/// The pools to read.
pub(crate) enum Nearby<'a> {
    /// Every one.
    All,
    /// Those of these names, and those with any of these addresses.
    Some { names: BTreeSet<&'a str>, addresses: Cover },
}

impl<'a> Nearby<'a> {
    /// Finds out what the change is about; without a change everything matters.
    pub(crate) fn of(objects: Objects<'a>) -> Self {
        let changed = |kind: &str| objects.change.is_some_and(|change| change.object.kind == kind);
        if changed("IPAddressPool") || changed("AddressPool") {
            return Self::around(objects, |pool| pool.judged);
        }
        let choice = if changed("L2Advertisement") {
            Choice::of(
                objects,
                |all| &all.l2_advertisements,
                |object: &'a L2Advertisement| (&object.spec.ip_address_pools, &object.spec.ip_address_pool_selectors),
            )
        } else if changed("BGPAdvertisement") {
            Choice::of(
                objects,
                |all| &all.bgp_advertisements,
                |object: &'a BGPAdvertisement| (&object.spec.ip_address_pools, &object.spec.ip_address_pool_selectors),
            )
        } else {
            None
        };
        match choice {
            Some(choice) => Self::around(objects, |pool| choice.takes(pool)),
            None => Self::All,
        }
    }

    /// The pools that are `wanted`, and those in dispute with them.
    fn around(objects: Objects<'a>, wanted: impl Fn(&Glance<'a>) -> bool) -> Self {
        let wanted: Vec<Glance<'a>> = glances(objects).filter(wanted).collect();
        let texts = wanted.iter().flat_map(|pool| pool.addresses);
        Self::Some {
            addresses: Cover::of(texts.filter_map(|text| AddressRange::parse(text).ok())),
            names: wanted.iter().map(|pool| pool.name).collect(),
        }
    }

    /// Tells whether a pool is to be read.
    pub(crate) fn has(&self, object: &impl ResourceExt, texts: &[String]) -> bool {
        let Self::Some { names, addresses } = self else {
            return true;
        };
        let touches = |text: &String| AddressRange::parse(text).is_ok_and(|range| addresses.touches(range));
        object.meta().name.as_deref().is_some_and(|name| names.contains(name)) || texts.iter().any(touches)
    }
}

/// A pool, as far as it takes to choose it.
struct Glance<'a> {
    name: &'a str,
    object: Option<&'a IPAddressPool>,
    addresses: &'a [String],
    /// It is the object that is judged.
    judged: bool,
}

fn glances<'a>(objects: Objects<'a>) -> impl Iterator<Item = Glance<'a>> {
    let current = objects
        .ours(|all| &all.pools)
        .map(move |object: &IPAddressPool| Glance {
            name: object.meta().name.as_deref().unwrap_or_default(),
            object: Some(object),
            addresses: &object.spec.addresses,
            judged: objects.judges(object),
        });
    let legacy = objects
        .ours(|all| &all.address_pools)
        .map(move |object: &AddressPool| Glance {
            name: object.meta().name.as_deref().unwrap_or_default(),
            object: None,
            addresses: &object.spec.addresses,
            judged: objects.judges(object),
        });
    current.chain(legacy)
}

/// The choice of the advertisement that is judged.
struct Choice<'a> {
    names: &'a [String],
    selectors: Vec<Selector>,
}

impl<'a> Choice<'a> {
    /// Reads the choice; none if the advertisement takes every pool.
    fn of<K: Resource<DynamicType = ()> + 'a>(
        objects: Objects<'a>,
        list: fn(&crate::Resources) -> &Vec<K>,
        fields: impl Fn(&'a K) -> (&'a Vec<String>, &'a Vec<LabelSelector>),
    ) -> Option<Self> {
        let (names, selectors) = fields(objects.ours(list).find(|object| objects.judges(*object))?);
        let selectors: Vec<Selector> = selectors.iter().filter_map(|one| Selector::parse(one).ok()).collect();
        (!names.is_empty() || !selectors.is_empty()).then_some(Self { names, selectors })
    }

    fn takes(&self, pool: &Glance<'_>) -> bool {
        let labelled = |object: &IPAddressPool| self.selectors.iter().any(|one| one.matches(object.labels()));
        pool.object.is_some_and(labelled) || self.names.iter().any(|name| name == pool.name)
    }
}
