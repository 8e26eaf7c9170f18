//! From custom resources to the pools in force.

use std::collections::BTreeSet;

use metallb_config::{Backend, Options, Pool, Refused, Resources, View, parse};

use crate::engine::Accepted;

/// Parses pools, and remembers what was good.
#[derive(Debug, Default)]
pub struct Pools {
    backend: Backend,
    accepted: Accepted,
    loaded: bool,
}

/// What came out of the latest objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The pools to use from now on; nothing before the first usable configuration.
    pub accepted: Option<Accepted>,
    /// What is refused, in the order of kind and name.
    pub refused: Vec<Refused>,
}

impl Verdict {
    /// The message of the condition; empty if all is well.
    #[must_use]
    pub fn message(&self) -> String {
        if self.refused.is_empty() {
            return String::new();
        }
        let all: Vec<_> = self.refused.iter().map(Refused::summary).collect();
        format!("configuration error: {}", all.join("\n"))
    }
}

impl Pools {
    /// A parser for this back-end.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            ..Self::default()
        }
    }

    /// Parses the objects of now.
    ///
    /// A pool that became illegible stays as it last was, so that no Service loses its address by
    /// a typo. Upstream: the whole configuration stays as it was (W16).
    pub fn load(&mut self, resources: &Resources) -> Verdict {
        let options = Options {
            backend: self.backend,
            view: View::Load { node: None },
            ..Options::default()
        };
        let parsed = parse(resources, &options);
        let mut pools = parsed.config.pools;
        let mut unusable = BTreeSet::new();
        let existing = existing(resources);
        for name in existing
            .into_iter()
            .filter(|name| !pools.contains_key(name))
            .collect::<Vec<_>>()
        {
            let last = self
                .accepted
                .pools
                .get(&name)
                .filter(|last| pools.values().all(|pool| !overlap(pool, last)));
            match last.cloned() {
                Some(last) => drop(pools.insert(name, last)),
                None => drop(unusable.insert(name)),
            }
        }
        // Nothing usable at the start says nothing about the addresses in use.
        if self.loaded || !pools.is_empty() || unusable.is_empty() {
            self.loaded = true;
            self.accepted = Accepted { pools, unusable };
        }
        Verdict {
            accepted: self.loaded.then(|| self.accepted.clone()),
            refused: parsed.refused,
        }
    }
}

fn existing(resources: &Resources) -> BTreeSet<String> {
    let ours = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        meta.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == resources.namespace)
    };
    let current = resources.pools.iter().map(|pool| &pool.metadata);
    let legacy = resources.address_pools.iter().map(|pool| &pool.metadata);
    let all = current.chain(legacy).filter(|meta| ours(meta));
    all.filter_map(|meta| meta.name.clone()).collect()
}

fn overlap(a: &Pool, b: &Pool) -> bool {
    a.entries.iter().any(|a| b.entries.iter().any(|b| a.overlaps(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metallb_api::{IPAddressPool, IPAddressPoolSpec};

    fn pool(name: &str, addresses: &[&str]) -> IPAddressPool {
        let spec = IPAddressPoolSpec {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            ..IPAddressPoolSpec::default()
        };
        let mut pool = IPAddressPool::new(name, spec);
        pool.metadata.namespace = Some("metallb-system".into());
        pool
    }

    fn of(pools: &[IPAddressPool]) -> Resources {
        Resources {
            namespace: "metallb-system".into(),
            pools: pools.to_vec(),
            ..Resources::default()
        }
    }

    fn names(verdict: &Verdict) -> Vec<String> {
        verdict.accepted.as_ref().unwrap().pools.keys().cloned().collect()
    }

    #[test]
    fn one_bad_pool_leaves_the_others_usable_and_is_reported() {
        // CTL-50
        let verdict = Pools::default().load(&of(&[pool("bad", &["junk"]), pool("good", &["1.2.3.0/24"])]));
        assert_eq!(names(&verdict), ["good"]);
        assert!(verdict.accepted.as_ref().unwrap().unusable.contains("bad"));
        assert!(verdict.message().contains("bad"), "{}", verdict.message());
    }

    #[test]
    fn an_empty_pool_is_told_in_upstreams_words() {
        // CTL-130
        let verdict = Pools::default().load(&of(&[pool("p", &[])]));
        assert_eq!(
            verdict.message(),
            "configuration error: parsing address pool p: pool has no prefixes defined"
        );
    }

    #[test]
    fn nothing_is_in_force_before_something_is_usable() {
        // CTL-30
        let mut pools = Pools::default();
        assert_eq!(pools.load(&of(&[pool("p", &["junk"])])).accepted, None);
        assert_eq!(names(&pools.load(&of(&[pool("p", &["1.2.3.0/24"])]))), ["p"]);
        assert!(names(&pools.load(&of(&[]))).is_empty());
    }

    #[test]
    fn no_pools_at_all_is_a_configuration() {
        assert!(names(&Pools::default().load(&of(&[]))).is_empty());
    }

    #[test]
    fn a_pool_that_became_illegible_stays_as_it_was() {
        // CTL-47 CTL-48
        let mut pools = Pools::default();
        let good = pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
        let bad = pools.load(&of(&[pool("p", &["junk"])]));
        assert_eq!(bad.accepted, good.accepted);
        assert!(!bad.refused.is_empty());
        let again = pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
        assert_eq!((again.accepted, again.refused), (good.accepted, Vec::new()));
    }

    #[test]
    fn a_pool_gone_wrong_does_not_hold_on_to_what_another_has_now() {
        let mut pools = Pools::default();
        pools.load(&of(&[pool("p", &["1.2.3.0/24"])]));
        let verdict = pools.load(&of(&[pool("p", &["junk"]), pool("q", &["1.2.3.0/25"])]));
        assert_eq!(names(&verdict), ["q"]);
    }

    fn allocating(mut pool: IPAddressPool, allocation: serde_json::Value) -> IPAddressPool {
        pool.spec.service_allocation = Some(serde_json::from_value(allocation).unwrap());
        pool
    }

    #[test]
    fn duplicates_overlaps_and_mixed_ranges_are_refused_by_name() {
        // CTL-99 CTL-100 CTL-101
        let twice = serde_json::json!({ "namespaces": ["a", "a"] });
        let selector = serde_json::json!({ "matchLabels": { "a": "b" } });
        let selectors = serde_json::json!({ "serviceSelectors": [selector, selector] });
        let refused: [(Vec<IPAddressPool>, &str); 4] = [
            (vec![allocating(pool("p", &["1.2.3.0/24"]), twice)], "duplicate"),
            (vec![allocating(pool("p", &["1.2.3.0/24"]), selectors)], "duplicate"),
            (
                vec![pool("p", &["1.2.3.0/24"]), pool("q", &["1.2.3.128/25"])],
                "overlaps",
            ),
            (vec![pool("p", &["1.2.3.0-fc00::1"])], "1.2.3.0-fc00::1"),
        ];
        for (pools, text) in refused {
            let message = Pools::default().load(&of(&pools)).message();
            assert!(message.contains(text), "{message}");
        }
    }

    #[test]
    fn namespaces_by_name_and_by_label_are_both_let_in() {
        // CTL-95
        let mut resources = of(&[allocating(
            pool("p", &["1.2.3.0/24"]),
            serde_json::json!({ "namespaces": ["named"], "namespaceSelectors": [{ "matchLabels": { "a": "b" } }] }),
        )]);
        let mut labelled = k8s_openapi::api::core::v1::Namespace::default();
        labelled.metadata.name = Some("labelled".into());
        labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        resources.namespaces = vec![labelled];
        let verdict = Pools::default().load(&resources);
        let pool = &verdict.accepted.as_ref().unwrap().pools["p"];
        let lets_in = |namespace| {
            pool.allocation
                .as_ref()
                .unwrap()
                .allows(namespace, &std::collections::BTreeMap::new())
        };
        assert!(lets_in("named") && lets_in("labelled") && !lets_in("other"));
    }
}
