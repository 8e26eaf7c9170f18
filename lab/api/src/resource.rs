//! What can be stored: one [`Resource`] per kind, built in or from a CustomResourceDefinition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// A kind of object with its names and versions.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Served versions, the preferred one first.
    pub(crate) versions: Vec<Version>,
    /// The version in which objects are kept.
    pub(crate) storage: String,
    /// Whether a change of anything but metadata and status counts up `metadata.generation`.
    pub(crate) generation: bool,
    /// Present for custom resources.
    pub(crate) custom: Option<Custom>,
}

/// One served version of a resource.
#[derive(Debug, Default)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) status: bool,
    /// The structural schema of a custom resource; `Null` for built-in kinds.
    pub(crate) schema: Value,
    pub(crate) columns: Vec<Column>,
}

/// A printer column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

impl Column {
    pub(crate) fn new(name: &str, kind: &str, path: &str) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            priority: 0,
            path: path.into(),
        }
    }
}

/// How a custom resource is converted between versions.
#[derive(Debug, Default)]
pub(crate) struct Custom {
    /// `spec.conversion.webhook`, unless the strategy is `None`.
    pub(crate) conversion: Option<Value>,
}

impl Resource {
    /// `services`, or with a group `ipaddresspools.metallb.io`.
    pub(crate) fn qualified(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Where the objects are kept. Both Event kinds are one and the same.
    pub(crate) fn bucket(&self) -> String {
        match self.is("events.k8s.io", "events") {
            true => "events".into(),
            false => self.qualified(),
        }
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        match self.group.as_str() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

/// Every resource that is served now.
#[derive(Default)]
pub(crate) struct Registry {
    resources: BTreeMap<(String, String), Arc<Resource>>,
}

impl Registry {
    pub(crate) fn builtin() -> Self {
        let mut registry = Self::default();
        BUILTIN
            .lines()
            .filter_map(builtin)
            .for_each(|resource| registry.insert(resource));
        registry
    }

    pub(crate) fn insert(&mut self, resource: Resource) {
        let key = (resource.group.clone(), resource.plural.clone());
        self.resources.insert(key, Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.resources.remove(&(group.to_owned(), plural.to_owned()));
    }

    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.get(&(group.to_owned(), plural.to_owned())).cloned()
    }

    /// The resource if it is served in `version`.
    pub(crate) fn served(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.get(group, plural).filter(|r| r.version(version).is_some())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }
}

/// The kind that a line of [`BUILTIN`] describes.
fn builtin(line: &str) -> Option<Resource> {
    let mut words = line.split_whitespace();
    let (group, kind, plural, flags) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let has = |flag: char| flags.contains(flag);
    let version = Version {
        name: "v1".into(),
        status: has('s'),
        columns: columns(kind)
            .iter()
            .map(|(name, path)| Column::new(name, "string", path))
            .collect(),
        ..Version::default()
    };
    Some(Resource {
        group: group.trim_matches('-').into(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: words.map(str::to_owned).collect(),
        categories: has('a').then(|| "all".into()).into_iter().collect(),
        namespaced: has('n'),
        versions: vec![version],
        storage: "v1".into(),
        generation: has('g'),
        custom: None,
    })
}

/// What people look at while they try the product.
fn columns(kind: &str) -> &[(&str, &str)] {
    const READY: (&str, &str) = ("Ready", ".status.conditions[?(@.type==\"Ready\")].status");
    const IP: (&str, &str) = ("External-IP", ".status.loadBalancer.ingress[0].ip");
    match kind {
        "Pod" => &[READY, ("Status", ".status.phase"), ("Node", ".spec.nodeName")],
        "Service" => &[("Type", ".spec.type"), ("Cluster-IP", ".spec.clusterIP"), IP],
        "Node" => &[READY],
        "Event" => &[("Type", ".type"), ("Reason", ".reason"), ("Message", ".message")],
        "Deployment" => &[("Replicas", ".spec.replicas"), ("Ready", ".status.readyReplicas")],
        "DaemonSet" => &[("Ready", ".status.numberReady")],
        _ => &[],
    }
}

/// Group (`-` is the core), kind, plural, flags, short names. Flags: `n` namespaced, `s` status subresource, `g` generation,
/// `a` in `kubectl get all`, `c` cluster-wide and nothing else.
const BUILTIN: &str = "
    - Namespace namespaces s ns
    - Pod pods nsa po
    - Service services nsa svc
    - Node nodes s no
    - Secret secrets n
    - ConfigMap configmaps n cm
    - ServiceAccount serviceaccounts n sa
    - Event events n ev
    apps Deployment deployments nsga deploy
    apps DaemonSet daemonsets nsga ds
    discovery.k8s.io EndpointSlice endpointslices ng
    events.k8s.io Event events n ev
    coordination.k8s.io Lease leases n
    policy PodDisruptionBudget poddisruptionbudgets nsg pdb
    networking.k8s.io NetworkPolicy networkpolicies ng netpol
    rbac.authorization.k8s.io Role roles n
    rbac.authorization.k8s.io RoleBinding rolebindings n
    rbac.authorization.k8s.io ClusterRole clusterroles c
    rbac.authorization.k8s.io ClusterRoleBinding clusterrolebindings c
    admissionregistration.k8s.io ValidatingWebhookConfiguration validatingwebhookconfigurations g
    apiextensions.k8s.io CustomResourceDefinition customresourcedefinitions sg crd crds
";
