//! Pods of an owner: which there are, making one, taking one away.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};

use crate::cluster::Cluster;

/// Tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// After this an unseen creation is thought lost.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Creates and deletes pods, never acting on a copy that does not show its own last act yet.
pub(crate) struct Pods {
    pub cluster: Cluster,
    /// Owner → pods that were made or taken away and are not seen so.
    unseen: HashMap<String, HashMap<String, (Act, Instant)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Made,
    Removed,
}

impl Pods {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            unseen: HashMap::new(),
        }
    }

    /// Forgets acts that the watched copy shows.
    pub(super) fn observe(&mut self) {
        let now = Instant::now();
        let pods = self.cluster.pods.state();
        let live: HashSet<String> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| pod.uid())
            .collect();
        let all: HashSet<String> = pods.iter().filter_map(|pod| pod.uid()).collect();
        for acts in self.unseen.values_mut() {
            acts.retain(|uid, (act, at)| {
                let seen = match act {
                    Act::Made => all.contains(uid),
                    Act::Removed => !live.contains(uid),
                };
                !seen && now.duration_since(*at) < SEEN_WITHIN
            });
        }
        self.unseen.retain(|_, acts| !acts.is_empty());
    }

    /// The pods that `owner` controls; nothing while the copy is behind.
    pub(super) fn of(&self, owner: &impl Resource) -> Option<Vec<Arc<Pod>>> {
        let uid = owner.meta().uid.clone()?;
        if self.unseen.contains_key(&uid) {
            return None;
        }
        Some(self.cluster.pods.state_filter(|pod| is_controlled_by(pod, owner)))
    }

    pub(super) async fn make<K>(
        &mut self,
        owner: &K,
        template: &PodTemplateSpec,
        hash: &str,
        node: Option<&str>,
    ) -> kube::Result<()>
    where
        K: Resource<DynamicType = ()>,
    {
        let namespace = owner.meta().namespace.clone().unwrap_or_default();
        let template_meta = template.metadata.clone().unwrap_or_default();
        let mut labels = template_meta.labels.unwrap_or_default();
        labels.insert(HASH_LABEL.into(), hash.into());
        let mut spec = template.spec.clone();
        if let (Some(spec), Some(node)) = (&mut spec, node) {
            spec.node_name = Some(node.into());
        }
        let name = owner.meta().name.clone().unwrap_or_default();
        let pod = Pod {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{}", suffix(&[hash, node.unwrap_or_default()]))),
                namespace: Some(namespace.clone()),
                labels: Some(labels),
                annotations: template_meta.annotations,
                owner_references: owner.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        };
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &namespace);
        let made = api.create(&PostParams::default(), &pod).await?;
        self.act(owner, &made, Act::Made);
        Ok(())
    }

    pub(super) async fn remove(&mut self, owner: &impl Resource, pod: &Pod) -> kube::Result<()> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &pod.namespace().unwrap_or_default());
        match api.delete(&pod.name_any(), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
        self.act(owner, pod, Act::Removed);
        Ok(())
    }

    fn act(&mut self, owner: &impl Resource, pod: &Pod, act: Act) {
        if let (Some(owner), Some(pod)) = (owner.meta().uid.clone(), pod.uid()) {
            self.unseen.entry(owner).or_default().insert(pod, (act, Instant::now()));
        }
    }
}

/// A short name of what is in a template.
pub(super) fn template_hash(template: &PodTemplateSpec) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(template).unwrap_or_default().hash(&mut hasher);
    letters(hasher.finish(), 8)
}

/// Five letters that differ each time, as Kubernetes makes them.
fn suffix(salt: &[&str]) -> String {
    letters(RandomState::new().hash_one(salt), 5)
}

fn letters(mut number: u64, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let base = ALPHABET.len() as u64;
    let mut letter = || {
        let letter = ALPHABET[usize::try_from(number % base).unwrap_or_default()];
        number /= base;
        char::from(letter)
    };
    (0..count).map(|_| letter()).collect()
}

pub(super) fn is_controlled_by(object: &impl Resource, owner: &impl Resource) -> bool {
    let controller = object
        .owner_references()
        .iter()
        .find(|own| own.controller == Some(true));
    controller.is_some_and(|own| owner.meta().uid.as_ref() == Some(&own.uid))
}

pub(super) fn hash_of(pod: &Pod) -> Option<&String> {
    pod.labels().get(HASH_LABEL)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .clone()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
