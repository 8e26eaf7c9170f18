//! Who announces what, as the speakers say it in ServiceL2Status and ServiceBGPStatus.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use kube::{Api, Client};
use metallb_api::{ServiceBGPStatus, ServiceL2Status};
use metallb_ipam::Key;
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::wire::{Fields, Metadata, Wire, lenient};
use metallb_runtime::watch::{Config, ViewChange, Views, watch_view};
use serde::Deserialize;

use super::Shared;

/// What is read of an object of either kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(deserialize_with = "lenient")]
    metadata: Metadata,
    #[serde(deserialize_with = "lenient")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "lenient")]
    node: String,
    #[serde(deserialize_with = "lenient")]
    service_name: String,
    #[serde(deserialize_with = "lenient")]
    service_namespace: String,
}

impl Fields for Written {}
impl Fields for Status {}
impl Wire for Written {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What one object says.
#[derive(Debug, PartialEq, Eq)]
struct Says {
    service: Key,
    /// In layer 2.
    node: Option<Arc<str>>,
}

/// What the objects of one Service say together.
#[derive(Debug, Default)]
struct Together {
    /// Nodes in layer 2, one for each object.
    layer2: Vec<Arc<str>>,
    /// Objects of BGP.
    bgp: usize,
}

impl Together {
    fn is_empty(&self) -> bool {
        self.layer2.is_empty() && self.bgp == 0
    }

    fn gist(&self) -> metallb_assign::Announcers {
        metallb_assign::Announcers {
            layer2: self.layer2.iter().cloned().collect(),
            bgp: self.bgp > 0,
        }
    }

    fn add(&mut self, node: Option<&Arc<str>>) {
        match node {
            Some(node) => self.layer2.push(Arc::clone(node)),
            None => self.bgp += 1,
        }
    }

    fn remove(&mut self, node: Option<&Arc<str>>) {
        match node {
            Some(node) => {
                if let Some(place) = self.layer2.iter().position(|known| known == node) {
                    self.layer2.swap_remove(place);
                }
            }
            None => self.bgp = self.bgp.saturating_sub(1),
        }
    }
}

/// Who announces which Service.
#[derive(Debug, Default)]
pub(super) struct Announcers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    of: HashMap<Key, Together>,
    /// Kinds of which the first list is complete.
    listed: usize,
}

/// Both kinds.
const KINDS: usize = 2;

impl Announcers {
    /// Who announces the Service; `None` before all objects were listed.
    pub(super) fn of(&self, service: &Key) -> Option<metallb_assign::Announcers> {
        let state = self.state();
        (state.listed == KINDS).then(|| state.of.get(service).map(Together::gist).unwrap_or_default())
    }

    /// Takes in what an object said and says; returns the Services of which another set of speakers says so now.
    fn change(&self, before: Option<&Says>, now: Option<&Says>) -> Vec<Key> {
        let mut state = self.state();
        let mut changed = Vec::new();
        for (says, adds) in [(now, true), (before, false)] {
            let Some(Says { service, node }) = says else { continue };
            let together = state.of.entry(service.clone()).or_default();
            let known = together.gist();
            match adds {
                true => together.add(node.as_ref()),
                false => together.remove(node.as_ref()),
            }
            if known != together.gist() {
                changed.push(service.clone());
            }
            if together.is_empty() {
                state.of.remove(service);
            }
        }
        changed
    }

    /// A kind was listed for the first time; tells whether it was the last.
    fn listed(&self) -> bool {
        let mut state = self.state();
        state.listed += 1;
        state.listed == KINDS
    }

    /// The key of a Service, shared with other objects of it.
    fn key(&self, namespace: &str, name: &str) -> Key {
        let key = Key::new(namespace, name);
        let state = self.state();
        state.of.get_key_value(&key).map_or(key, |(known, _)| known.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both watches.
pub(super) struct Changes {
    layer2: Views<Says>,
    bgp: Views<Says>,
}

/// Watches the objects in MetalLB's namespace.
pub(super) fn watch(client: &Client, namespace: &str, known: &Arc<Announcers>, tasks: &Spawner) -> Changes {
    let layer2: Api<ServiceL2Status> = Api::namespaced(client.clone(), namespace);
    let bgp: Api<ServiceBGPStatus> = Api::namespaced(client.clone(), namespace);
    Changes {
        layer2: watch_view(layer2, Config::default(), reader(known, true), tasks),
        bgp: watch_view(bgp, Config::default(), reader(known, false), tasks),
    }
}

/// Reads an object; one that was just made says nothing yet.
fn reader(known: &Arc<Announcers>, layer2: bool) -> impl FnMut(Written) -> Option<Says> + Send + 'static {
    let known = Arc::clone(known);
    move |object| {
        let Status {
            node,
            service_name,
            service_namespace,
        } = object.status;
        if [&node, &service_name, &service_namespace]
            .iter()
            .any(|text| text.is_empty())
        {
            return None;
        }
        Some(Says {
            service: known.key(&service_namespace, &service_name),
            node: layer2.then(|| node.into()),
        })
    }
}

/// Has the Services looked at that are announced by others than before.
pub(super) async fn follow(mut changes: Changes, shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        let change = tokio::select! {
            change = changes.layer2.changes.recv() => change,
            change = changes.bgp.changes.recv() => change,
        };
        let touched = match change {
            Some(ViewChange::Changed { before, now, .. }) => {
                shared.announcers.change(before.as_deref(), now.as_deref())
            }
            Some(ViewChange::Ready) if shared.announcers.listed() => {
                let services = shared.stores.services.state();
                services.iter().map(|service| Key::of(service)).collect()
            }
            Some(ViewChange::Ready) => Vec::new(),
            None if stop.is_cancelled() => return Ok(()),
            None => bail!("a watch of who announces what ended"),
        };
        if shared.assigning.load(Ordering::SeqCst) {
            touched.into_iter().for_each(|key| shared.queue.add(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(service: &str, node: Option<&str>) -> Says {
        Says {
            service: Key::new("default", service),
            node: node.map(Into::into),
        }
    }

    fn nodes(announcers: &Announcers, service: &str) -> (Vec<String>, bool) {
        let by = announcers.of(&Key::new("default", service)).unwrap();
        (by.layer2.iter().map(ToString::to_string).collect(), by.bgp)
    }

    #[test]
    fn only_another_set_of_announcers_is_news() {
        let announcers = Announcers::default();
        let (web, a, b) = (Key::new("default", "web"), Some("a"), Some("b"));
        assert_eq!(announcers.of(&web), None, "nothing was listed");
        assert!(!announcers.listed() && announcers.listed());
        assert_eq!(
            announcers.change(None, Some(&says("web", a))),
            std::slice::from_ref(&web)
        );
        assert!(
            announcers.change(None, Some(&says("web", a))).is_empty(),
            "a second object"
        );
        assert_eq!(
            announcers.change(None, Some(&says("web", None))),
            std::slice::from_ref(&web)
        );
        assert!(
            announcers.change(None, Some(&says("web", None))).is_empty(),
            "a second node of BGP"
        );
        assert!(announcers.change(Some(&says("web", None)), None).is_empty());
        assert_eq!(nodes(&announcers, "web"), (vec!["a".to_owned()], true));
        assert_eq!(
            announcers.change(None, Some(&says("web", b))),
            std::slice::from_ref(&web)
        );
        assert!(announcers.change(Some(&says("web", a)), None).is_empty());
        assert_eq!(
            announcers.change(Some(&says("web", a)), None),
            std::slice::from_ref(&web)
        );
        assert_eq!(nodes(&announcers, "web"), (vec!["b".to_owned()], true));
        announcers.change(Some(&says("web", b)), None);
        announcers.change(Some(&says("web", None)), None);
        assert_eq!(nodes(&announcers, "web"), (vec![], false));
        assert!(announcers.state().of.is_empty());
    }

    #[test]
    fn an_object_without_status_says_nothing() {
        let mut read = reader(&Arc::default(), true);
        let mut says = |status: serde_json::Value| {
            let object = serde_json::json!({ "metadata": { "name": "l2-x" }, "status": status });
            read(serde_json::from_value(object).unwrap())
        };
        let full = serde_json::json!({ "node": "a", "serviceName": "web", "serviceNamespace": "default" });
        assert_eq!(says(full).unwrap().node.as_deref(), Some("a"));
        assert_eq!(says(serde_json::Value::Null), None);
        assert_eq!(says(serde_json::json!({ "node": "a", "serviceName": 7 })), None);
    }
}
