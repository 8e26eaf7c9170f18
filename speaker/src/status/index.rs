//! The status objects of this node, by Service.

use std::collections::HashMap;
use std::sync::Arc;

use metallb_api::names;
use metallb_engine::ServiceKey;
use metallb_runtime::watch::wire::{Fields, Metadata, Wire, lenient};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What is read of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    #[serde(deserialize_with = "lenient")]
    metadata: Metadata,
    status: Value,
}

impl Fields for Written {}
impl Wire for Written {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// A digest of a status: equal for equal statuses, and a fraction of their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(super) fn of(status: &impl Serialize) -> Option<Self> {
        let text = serde_json::to_vec(status).ok()?;
        Sha256::digest(text).first_chunk().copied().map(Self)
    }
}

/// What the watch has shown of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The Service; `None` if somebody took the labels away.
    pub(super) service: Option<Arc<ServiceKey>>,
    /// `None` if it says nothing legible.
    pub(super) says: Option<Fingerprint>,
    /// Whether the Pod of this speaker owns it.
    pub(super) ours: bool,
}

impl Seen {
    /// Looks at an object whose status is an `S`, `pod` being the uid of the Pod of this speaker. `share` knows the keys
    /// that are there already.
    pub(super) fn of<S: DeserializeOwned + Serialize>(
        object: Written,
        pod: &str,
        share: impl FnOnce(ServiceKey) -> Arc<ServiceKey>,
    ) -> Self {
        let Metadata {
            labels,
            owner_references,
            ..
        } = object.metadata;
        let (namespace, name) = (names::LABEL_SERVICE_NAMESPACE, names::LABEL_SERVICE_NAME);
        let service = labels.get(namespace).zip(labels.get(name));
        let says: Option<S> = serde_json::from_value(object.status).ok();
        Self {
            service: service.map(|(namespace, name)| share(ServiceKey::new(namespace, name))),
            says: says.and_then(|says| Fingerprint::of(&says)),
            ours: owner_references.iter().any(|owner| owner.uid == pod),
        }
    }
}

/// The objects of one Service, by name; there is rarely more than one.
type Objects = Vec<(Box<str>, Arc<Seen>)>;

/// Objects by Service and name: a write for one Service looks at that Service's objects only.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Arc<ServiceKey>, Objects>);

impl Index {
    /// Takes in what an object is now, and forgets what it was before.
    pub(super) fn change(&mut self, name: &str, before: Option<&Seen>, now: Option<Arc<Seen>>) {
        if let Some(service) = before.and_then(|before| before.service.as_ref())
            && let Some(objects) = self.0.get_mut(service)
        {
            objects.retain(|(known, _)| **known != *name);
            if objects.is_empty() {
                self.0.remove(service);
            }
        }
        if let Some(now) = now
            && let Some(service) = &now.service
        {
            let objects = self
                .0
                .entry(Arc::clone(service))
                .or_insert_with(|| Vec::with_capacity(1));
            let place = objects.partition_point(|(known, _)| **known < *name);
            objects.insert(place, (name.into(), now));
        }
    }

    /// Lists the objects of one Service by name.
    pub(super) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (&str, &Seen)> {
        let objects = self.0.get(service).into_iter().flatten();
        objects.map(|(name, seen)| (&**name, &**seen))
    }

    /// Lists the Services with objects.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<ServiceKey>> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn says(service: Option<&ServiceKey>, text: &str) -> Arc<Seen> {
        Arc::new(Seen {
            service: service.cloned().map(Arc::new),
            says: Fingerprint::of(&text),
            ours: true,
        })
    }

    fn names<'a>(index: &'a Index, service: &ServiceKey) -> Vec<&'a str> {
        index.of(service).map(|(name, _)| name).collect()
    }

    #[test]
    fn an_object_is_found_by_the_service_that_it_tells_about_now() {
        let (web, api) = (ServiceKey::new("default", "web"), ServiceKey::new("default", "api"));
        let [first, second, moved] = [says(Some(&web), "1"), says(Some(&web), "2"), says(Some(&api), "2")];
        let mut index = Index::default();
        index.change("b", None, Some(first.clone()));
        index.change("a", None, Some(first.clone()));
        index.change("a", Some(&first), Some(second.clone()));
        assert_eq!(names(&index, &web), ["a", "b"]);
        assert_eq!(index.of(&web).next().unwrap().1, &*second);
        index.change("a", Some(&second), Some(moved.clone()));
        assert_eq!((names(&index, &web), names(&index, &api)), (vec!["b"], vec!["a"]));
        // Somebody took the labels away.
        let nameless = says(None, "2");
        index.change("b", Some(&first), Some(nameless.clone()));
        index.change("a", Some(&moved), None);
        index.change("b", Some(&nameless), None);
        assert_eq!(index.services().count(), 0);
    }

    #[test]
    fn a_status_that_cannot_be_read_says_nothing() {
        let object = |status: Value| {
            let labels = json!({"metallb.io/service-name": "web", "metallb.io/service-namespace": "default"});
            let metadata =
                json!({"name": "l2-x", "labels": labels, "ownerReferences": [{"uid": "other"}, {"uid": "pod"}]});
            let object = serde_json::from_value(json!({"metadata": metadata, "status": status}));
            Seen::of::<BTreeMap<String, u32>>(object.unwrap(), "pod", Arc::new)
        };
        let read = object(json!({"a": 1}));
        assert_eq!(read.service, Some(ServiceKey::new("default", "web").into()));
        assert_eq!((read.says, read.ours), (Fingerprint::of(&json!({"a": 1})), true));
        assert_ne!(read.says, Fingerprint::of(&json!({"a": 2})));
        assert_eq!(object(json!({"a": "x"})).says, None);
        assert_eq!(object(Value::Null).says, None);
    }
}
