//! The objects of this node by the Service that they tell about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use metallb_api::names;
use metallb_runtime::watch::wire::{Fields, Metadata, Wire, lenient};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use metallb_engine::ServiceKey;

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

/// What the watch has shown of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen<S> {
    /// The Service; `None` if somebody took the labels away.
    pub(super) service: Option<ServiceKey>,
    /// `None` if it says nothing legible.
    pub(super) says: Option<S>,
    /// Whether the Pod of this speaker owns it.
    pub(super) ours: bool,
}

impl<S: DeserializeOwned> Seen<S> {
    /// Looks at an object, `pod` being the uid of the Pod of this speaker.
    pub(super) fn of(object: Written, pod: &str) -> Self {
        let Metadata {
            labels,
            owner_references,
            ..
        } = object.metadata;
        let (namespace, name) = (names::LABEL_SERVICE_NAMESPACE, names::LABEL_SERVICE_NAME);
        let service = labels.get(namespace).zip(labels.get(name));
        Self {
            service: service.map(|(namespace, name)| ServiceKey::new(namespace, name)),
            says: serde_json::from_value(object.status).ok(),
            ours: owner_references.iter().any(|owner| owner.uid == pod),
        }
    }
}

/// Objects by Service and name: a write for one Service looks at that Service's objects only.
#[derive(Debug)]
pub(super) struct Index<S>(HashMap<ServiceKey, BTreeMap<String, Arc<Seen<S>>>>);

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<S> Index<S> {
    /// Takes in what an object is now, and forgets what it was before.
    pub(super) fn change(&mut self, name: &str, before: Option<&Seen<S>>, now: Option<Arc<Seen<S>>>) {
        if let Some(service) = before.and_then(|before| before.service.as_ref())
            && let Some(objects) = self.0.get_mut(service)
        {
            objects.remove(name);
            if objects.is_empty() {
                self.0.remove(service);
            }
        }
        if let Some(now) = now
            && let Some(service) = &now.service
        {
            self.0.entry(service.clone()).or_default().insert(name.to_owned(), now);
        }
    }

    /// Lists the objects of one Service by name.
    pub(super) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (&String, &Seen<S>)> {
        let objects = self.0.get(service).into_iter().flatten();
        objects.map(|(name, seen)| (name, &**seen))
    }

    /// Lists the Services with objects.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(service: Option<&ServiceKey>, text: &str) -> Arc<Seen<String>> {
        Arc::new(Seen {
            service: service.cloned(),
            says: Some(text.to_owned()),
            ours: true,
        })
    }

    fn names<'a>(index: &'a Index<String>, service: &ServiceKey) -> Vec<&'a str> {
        index.of(service).map(|(name, _)| name.as_str()).collect()
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
            Seen::<BTreeMap<String, u32>>::of(
                serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap(),
                "pod",
            )
        };
        let read = object(json!({"a": 1}));
        assert_eq!(read.service, Some(ServiceKey::new("default", "web")));
        assert_eq!((read.says, read.ours), (Some([("a".into(), 1)].into()), true));
        assert_eq!(object(json!({"a": "x"})).says, None);
        assert_eq!(object(Value::Null).says, None);
    }
}
