//! The objects of this node by the Service that they tell about.

use std::collections::{BTreeMap, HashMap};

use metallb_engine::ServiceKey;

/// What the watch has shown of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen<S> {
    pub(super) says: Option<S>,
    /// Whether the Pod of this speaker owns it.
    pub(super) ours: bool,
}

/// Objects by Service and name: a write for one Service looks at that Service's objects only.
#[derive(Debug)]
pub(super) struct Index<S> {
    by_service: HashMap<ServiceKey, BTreeMap<String, Seen<S>>>,
    services: HashMap<String, ServiceKey>,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self {
            by_service: HashMap::new(),
            services: HashMap::new(),
        }
    }
}

impl<S> Index<S> {
    /// Takes in an object; returns the Service that it told about before, if that was another one.
    pub(super) fn put(&mut self, name: &str, service: Option<ServiceKey>, seen: Seen<S>) -> Option<ServiceKey> {
        let before = self.remove(name).filter(|before| Some(before) != service.as_ref());
        if let Some(service) = service {
            self.services.insert(name.to_owned(), service.clone());
            self.by_service
                .entry(service)
                .or_default()
                .insert(name.to_owned(), seen);
        }
        before
    }

    /// Forgets an object; returns the Service that it told about.
    pub(super) fn remove(&mut self, name: &str) -> Option<ServiceKey> {
        let service = self.services.remove(name)?;
        if let Some(objects) = self.by_service.get_mut(&service) {
            objects.remove(name);
            if objects.is_empty() {
                self.by_service.remove(&service);
            }
        }
        Some(service)
    }

    /// Lists the objects of one Service by name.
    pub(super) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (&String, &Seen<S>)> {
        self.by_service.get(service).into_iter().flatten()
    }

    /// Lists the Services with objects.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Seen<String> {
        Seen {
            says: Some(text.to_owned()),
            ours: true,
        }
    }

    fn names<'a>(index: &'a Index<String>, service: &ServiceKey) -> Vec<&'a str> {
        index.of(service).map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn an_object_is_found_by_the_service_that_it_tells_about_now() {
        let (web, api) = (ServiceKey::new("default", "web"), ServiceKey::new("default", "api"));
        let mut index = Index::default();
        assert_eq!(index.put("b", Some(web.clone()), says("1")), None);
        assert_eq!(index.put("a", Some(web.clone()), says("1")), None);
        assert_eq!(index.put("a", Some(web.clone()), says("2")), None);
        assert_eq!(names(&index, &web), ["a", "b"]);
        assert_eq!(index.of(&web).next().unwrap().1, &says("2"));
        assert_eq!(index.put("a", Some(api.clone()), says("2")), Some(web.clone()));
        assert_eq!((names(&index, &web), names(&index, &api)), (vec!["b"], vec!["a"]));
        // Somebody took the labels away.
        assert_eq!(index.put("b", None, says("2")), Some(web.clone()));
        assert_eq!(index.remove("a"), Some(api));
        assert_eq!((index.remove("a"), index.services().count()), (None, 0));
    }
}
