//! Which node has each Service, by the ServiceL2Status objects of all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::{Api, Client};
use metallb_api::ServiceL2Status;
use metallb_engine::{Event, ServiceKey};
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{Config, Key, watch_view};

use super::wire::{self, Owner};
use super::{Input, Inputs, viewed};

/// How the kind is called among the inputs.
pub(super) const OWNERS: &str = "servicel2statuses";

/// Nodes by Service and object. It is rare that two objects tell of one Service, and never for long.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<ServiceKey, BTreeMap<String, String>>);

impl Owners {
    /// Takes in what an object says now instead of what it said; returns who has the Services that it concerns.
    pub(super) fn change(&mut self, object: &str, before: Option<&Owner>, now: Option<&Owner>) -> Vec<Event> {
        if let Some(before) = before
            && let Some(objects) = self.0.get_mut(&before.service)
        {
            objects.remove(object);
            if objects.is_empty() {
                self.0.remove(&before.service);
            }
        }
        if let Some(now) = now {
            let objects = self.0.entry(now.service.clone()).or_default();
            objects.insert(object.to_owned(), now.node.clone());
        }
        let concerned: BTreeSet<&ServiceKey> = before.into_iter().chain(now).map(|owner| &owner.service).collect();
        let nodes = |service| self.0.get(service).into_iter().flat_map(BTreeMap::values);
        concerned
            .into_iter()
            .map(|service| Event::Owners(service.clone(), nodes(service).cloned().collect()))
            .collect()
    }
}

impl Inputs {
    /// Has the engine told who has which Service, from now on.
    pub(crate) fn follow_owners(&mut self, client: &Client, namespace: &str, tasks: &Spawner) {
        let api = Api::<ServiceL2Status>::namespaced(client.clone(), namespace);
        let views = watch_view(api, Config::default(), wire::owner, tasks);
        let input = |key: Key, before: Option<Arc<Owner>>, now| Input::Owner {
            object: key.name,
            before,
            now,
        };
        self.news.push(viewed(views, OWNERS, input));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(service: &str, node: &str) -> Owner {
        Owner {
            service: ServiceKey::new("default", service),
            node: node.to_owned(),
        }
    }

    fn told(events: &[Event]) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Owners(service, nodes) => format!("{} {nodes:?}", service.name),
            other => panic!("{other:?}"),
        };
        events.iter().map(text).collect()
    }

    #[test]
    fn all_objects_of_a_service_count_until_they_are_gone() {
        let mut owners = Owners::default();
        let (old, new) = (owner("web", "node-a"), owner("web", "node-b"));
        assert_eq!(told(&owners.change("l2-1", None, Some(&old))), ["web {\"node-a\"}"]);
        let both = owners.change("l2-2", None, Some(&new));
        assert_eq!(told(&both), ["web {\"node-a\", \"node-b\"}"]);
        assert_eq!(told(&owners.change("l2-1", Some(&old), None)), ["web {\"node-b\"}"]);
        let other = owner("api", "node-b");
        let moved = owners.change("l2-2", Some(&new), Some(&other));
        assert_eq!(told(&moved), ["api {\"node-b\"}", "web {}"]);
    }
}
