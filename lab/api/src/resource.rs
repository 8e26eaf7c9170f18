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
    pub(crate) scale: Option<Scale>,
    /// The structural schema of a custom resource; `Null` for built-in kinds.
    pub(crate) schema: Value,
    pub(crate) rules: Option<crate::schema::Rules>,
    pub(crate) columns: Vec<Column>,
    /// The warning that every request for a deprecated version gets.
    pub(crate) deprecation: Option<String>,
}

/// Where replicas are found, as dotted paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scale {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// A printer column of a custom resource.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
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
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Where the objects are kept. Both Event kinds are one and the same.
    pub(crate) fn bucket(&self) -> String {
        if self.plural == "events" && self.group == "events.k8s.io" {
            "events".into()
        } else {
            self.qualified()
        }
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
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
        for row in BUILTIN {
            registry.insert(row.resource());
        }
        registry
    }

    pub(crate) fn insert(&mut self, resource: Resource) {
        self.resources
            .insert((resource.group.clone(), resource.plural.clone()), Arc::new(resource));
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

/// A row of the table of built-in kinds.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

impl Row {
    fn resource(&self) -> Resource {
        let Self(group, version, kind, plural, short, flags) = *self;
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let has = |flag: char| flags.contains(flag);
        let scale = has('c').then(|| Scale {
            spec: ".spec.replicas".into(),
            status: ".status.replicas".into(),
            selector: None,
        });
        Resource {
            group: group.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: words(short),
            categories: if has('a') { vec!["all".into()] } else { Vec::new() },
            namespaced: has('n'),
            versions: vec![Version {
                name: version.into(),
                status: has('s'),
                scale,
                ..Version::default()
            }],
            storage: version.into(),
            generation: has('g'),
            custom: None,
        }
    }
}

/// Flags: `n` namespaced, `s` status subresource, `g` generation, `c` scale subresource, `a` in `kubectl get all`.
const BUILTIN: &[Row] = &[
    Row("", "v1", "Namespace", "namespaces", "ns", "s"),
    Row("", "v1", "Pod", "pods", "po", "nsa"),
    Row("", "v1", "Service", "services", "svc", "nsa"),
    Row("", "v1", "Endpoints", "endpoints", "ep", "n"),
    Row("", "v1", "Node", "nodes", "no", "s"),
    Row("", "v1", "Secret", "secrets", "", "n"),
    Row("", "v1", "ConfigMap", "configmaps", "cm", "n"),
    Row("", "v1", "ServiceAccount", "serviceaccounts", "sa", "n"),
    Row("", "v1", "Event", "events", "ev", "n"),
    Row("", "v1", "PodTemplate", "podtemplates", "", "n"),
    Row("apps", "v1", "Deployment", "deployments", "deploy", "nsgca"),
    Row("apps", "v1", "DaemonSet", "daemonsets", "ds", "nsga"),
    Row("apps", "v1", "ReplicaSet", "replicasets", "rs", "nsgca"),
    Row("apps", "v1", "StatefulSet", "statefulsets", "sts", "nsgca"),
    Row("apps", "v1", "ControllerRevision", "controllerrevisions", "", "n"),
    Row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "", "ng"),
    Row("events.k8s.io", "v1", "Event", "events", "ev", "n"),
    Row("coordination.k8s.io", "v1", "Lease", "leases", "", "n"),
    Row(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "pdb",
        "nsg",
    ),
    Row(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "netpol",
        "ng",
    ),
    Row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", "g"),
    Row("rbac.authorization.k8s.io", "v1", "Role", "roles", "", "n"),
    Row(
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        "",
        "n",
    ),
    Row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "", ""),
    Row(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        "",
        "",
    ),
    Row(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "",
        "g",
    ),
    Row(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        "sg",
    ),
];
