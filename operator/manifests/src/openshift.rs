//! What OpenShift wants otherwise.

use k8s_openapi::{api::core::v1::PodSecurityContext, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use metallb_api::{BgpBackend, names};
use serde_json::json;

use crate::{Custom, custom::Kind, frr, pod::labels};

/// Tells OpenShift by which constraints to admit the speakers.
pub(crate) const REQUIRED_SCC: (&str, &str) = ("openshift.io/required-scc", names::SPEAKER_SCC);

/// On a Service: asks OpenShift for a certificate in the Secret of this name.
pub(crate) const SERVING_CERT: &str = "service.beta.openshift.io/serving-cert-secret-name";

/// The ConfigMap that OpenShift puts into every namespace with the authority of such certificates, and its key.
pub(crate) const SERVING_AUTHORITY: (&str, &str) = ("openshift-service-ca.crt", "service-ca.crt");

/// On a webhook configuration: asks OpenShift for the authority of such certificates.
pub(crate) const INJECT_CA: (&str, &str) = ("service.beta.openshift.io/inject-cabundle", "true");

/// The Secrets with the certificates of metrics.
pub(crate) const CONTROLLER_CERTS: &str = "controller-certs-secret";
pub(crate) const SPEAKER_CERTS: &str = "speaker-certs-secret";
pub(crate) const FRR_K8S_CERTS: &str = "frr-k8s-certs-secret";

/// The volume with such a certificate, and where it is mounted.
pub(crate) const METRICS_VOLUME: &str = "metrics-certs";
pub(crate) const METRICS_DIR: &str = "/etc/metrics";

/// On the namespace: the platform's Prometheus scrapes it, and nobody but us says what Pod Security allows in it.
pub(crate) const NAMESPACE_LABELS: [(&str, &str); 2] = [
    ("openshift.io/cluster-monitoring", "true"),
    ("security.openshift.io/scc.podSecurityLabelSync", "false"),
];

const SECURITY_CONTEXT_CONSTRAINTS: Kind = Kind {
    group: "security.openshift.io",
    version: "v1",
    kind: "SecurityContextConstraints",
    plural: "securitycontextconstraints",
    namespaced: false,
};

/// OpenShift chooses the user from the namespace's range.
pub(crate) fn unprivileged() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        ..PodSecurityContext::default()
    }
}

/// What speakers may do, for the back-end that runs.
///
/// Upstream: the same whatever the back-end, so that speakers with FRR beside them are never admitted.
pub(crate) fn speaker_constraints(backend: BgpBackend) -> Custom {
    let capabilities: &[&str] = match backend {
        BgpBackend::Frr => &frr::CAPABILITIES,
        _ => &["NET_RAW"],
    };
    let any = json!({ "type": "RunAsAny" });
    let metadata = ObjectMeta {
        name: Some(names::SPEAKER_SCC.to_owned()),
        annotations: Some(labels([(
            "kubernetes.io/description",
            "What the speakers of MetalLB need: the network of their node and raw sockets.",
        )])),
        ..ObjectMeta::default()
    };
    let body = json!({
        "allowHostDirVolumePlugin": false,
        "allowHostIPC": false,
        "allowHostNetwork": true,
        "allowHostPID": false,
        "allowHostPorts": true,
        "allowPrivilegeEscalation": false,
        "allowPrivilegedContainer": false,
        "allowedCapabilities": capabilities,
        "defaultAddCapabilities": [],
        "fsGroup": any,
        "groups": [],
        "readOnlyRootFilesystem": false,
        "requiredDropCapabilities": ["ALL"],
        "runAsUser": any,
        "seLinuxContext": any,
        "seccompProfiles": ["runtime/default"],
        "supplementalGroups": any,
        "users": [],
        "volumes": ["configMap", "downwardAPI", "emptyDir", "projected", "secret"],
    });
    Custom::new(SECURITY_CONTEXT_CONSTRAINTS, metadata, body)
}
