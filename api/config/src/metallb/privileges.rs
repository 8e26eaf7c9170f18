//! What a MetalLB resource may not say: rule K-16.
//!
//! Speakers have the network of their node and run as root there. A user who could choose their image, volumes or security
//! context by the resource would be root on every node, whatever rights over pods they were given.

use metallb_api::metallb::{OverriddenKind, Override};
use serde_json::{Map, Value};

use super::Fault;
use crate::Rule;

/// What patches of workloads may change, with all below it. A list, for what Kubernetes adds later is not known to be
/// harmless.
const WORKLOAD: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.minReadySeconds",
    "spec.progressDeadlineSeconds",
    "spec.replicas",
    "spec.revisionHistoryLimit",
    "spec.strategy",
    "spec.template.metadata.annotations",
    "spec.template.metadata.labels",
    "spec.template.spec.affinity",
    "spec.template.spec.containers[].imagePullPolicy",
    "spec.template.spec.containers[].livenessProbe.failureThreshold",
    "spec.template.spec.containers[].livenessProbe.initialDelaySeconds",
    "spec.template.spec.containers[].livenessProbe.periodSeconds",
    "spec.template.spec.containers[].livenessProbe.timeoutSeconds",
    "spec.template.spec.containers[].name",
    "spec.template.spec.containers[].readinessProbe.failureThreshold",
    "spec.template.spec.containers[].readinessProbe.initialDelaySeconds",
    "spec.template.spec.containers[].readinessProbe.periodSeconds",
    "spec.template.spec.containers[].readinessProbe.successThreshold",
    "spec.template.spec.containers[].readinessProbe.timeoutSeconds",
    "spec.template.spec.containers[].resources.limits",
    "spec.template.spec.containers[].resources.requests",
    "spec.template.spec.containers[].startupProbe.failureThreshold",
    "spec.template.spec.containers[].startupProbe.initialDelaySeconds",
    "spec.template.spec.containers[].startupProbe.periodSeconds",
    "spec.template.spec.containers[].startupProbe.timeoutSeconds",
    "spec.template.spec.containers[].terminationMessagePolicy",
    "spec.template.spec.dnsConfig",
    "spec.template.spec.dnsPolicy",
    "spec.template.spec.enableServiceLinks",
    "spec.template.spec.imagePullSecrets",
    "spec.template.spec.initContainers[].imagePullPolicy",
    "spec.template.spec.initContainers[].name",
    "spec.template.spec.initContainers[].resources.limits",
    "spec.template.spec.initContainers[].resources.requests",
    "spec.template.spec.nodeSelector",
    "spec.template.spec.preemptionPolicy",
    "spec.template.spec.priorityClassName",
    "spec.template.spec.schedulerName",
    "spec.template.spec.terminationGracePeriodSeconds",
    "spec.template.spec.tolerations",
    "spec.template.spec.topologySpreadConstraints",
    "spec.updateStrategy",
];

/// The pods that a policy selects stay ours.
const NETWORK_POLICY: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.egress",
    "spec.ingress",
    "spec.policyTypes",
];

/// The pods that a budget selects stay ours.
const DISRUPTION_BUDGET: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.maxUnavailable",
    "spec.minAvailable",
    "spec.unhealthyPodEvictionPolicy",
];

/// By its addresses a Service takes the traffic of others, by its selector it sends Prometheus and its token elsewhere.
const SERVICE: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.internalTrafficPolicy",
    "spec.ipFamilies",
    "spec.ipFamilyPolicy",
    "spec.trafficDistribution",
];

const SERVICE_ACCOUNT: &[&str] = &["imagePullSecrets", "metadata.annotations", "metadata.labels"];

/// The containers of all workloads in all back-ends.
pub const CONTAINERS: [&str; 7] = [
    "controller",
    "frr",
    "frr-k8s-statuscleaner",
    "frr-metrics",
    "frr-status",
    "reloader",
    "speaker",
];

/// Their init containers.
pub const INIT_CONTAINERS: [&str; 4] = ["cp-frr-files", "cp-frr-status", "cp-metrics", "cp-reloader"];

/// Whose annotations give a pod devices, mounts, containers or images, or take its confinement: domains.
const POWERFUL_DOMAINS: [&str; 12] = [
    "cdi.k8s.io",
    "config.alpha.linkerd.io",
    "config.linkerd.io",
    "cri-o.io",
    "dapr.io",
    "hashicorp.com",
    "image.openshift.io",
    "istio.io",
    "nri.io",
    "opentelemetry.io",
    "security.alpha.kubernetes.io",
    "security.beta.kubernetes.io",
];

/// The same, of container runtimes whose annotations have no domain.
const POWERFUL_PREFIXES: [&str; 6] = [
    "dev.gvisor.",
    "io.containerd.",
    "io.katacontainers.",
    "io.kubernetes.cri-o.",
    "org.systemd.property.",
    "run.oci.",
];

/// What keeps a pod out of a mesh, or a part of its traffic.
const HARMLESS: [&str; 2] = ["sidecar.istio.io/inject", "traffic.sidecar.istio.io/"];

/// Lists what of a patch could give more rights than MetalLB needs, each as a sentence that begins with its path.
#[must_use]
pub fn refused(change: &Override) -> Vec<String> {
    let allowed = match change.kind {
        OverriddenKind::DaemonSet | OverriddenKind::Deployment => WORKLOAD,
        OverriddenKind::NetworkPolicy => NETWORK_POLICY,
        OverriddenKind::PodDisruptionBudget => DISRUPTION_BUDGET,
        OverriddenKind::Service => SERVICE,
        OverriddenKind::ServiceAccount => SERVICE_ACCOUNT,
    };
    let mut found = Vec::new();
    let patch: Map<String, Value> = change.patch.clone().into_iter().collect();
    fields(&patch, ("", ""), allowed, &mut found);
    if allowed == WORKLOAD {
        unknown_containers(&patch, "containers", &CONTAINERS, &mut found);
        unknown_containers(&patch, "initContainers", &INIT_CONTAINERS, &mut found);
        let pods = patch.get("spec").map(|spec| &spec["template"]["metadata"]);
        powerful_annotations(patch.get("metadata"), "metadata", &mut found);
        powerful_annotations(pods, "spec.template.metadata", &mut found);
    }
    found
}

/// Finds annotations that others obey, of a workload or of its pods.
fn powerful_annotations(metadata: Option<&Value>, path: &str, found: &mut Vec<String>) {
    let annotations = metadata.and_then(|metadata| metadata["annotations"].as_object());
    let reasons = annotations
        .into_iter()
        .flat_map(Map::keys)
        .filter_map(|name| annotation(name));
    found.extend(reasons.map(|reason| format!("{path}.annotations has {reason}")));
}

/// Refuses annotations of pods that container runtimes or injectors act on.
pub(super) fn annotations<'a>(field: &str, names: impl Iterator<Item = &'a String>, faults: &mut Vec<Fault>) {
    let reasons = names.filter_map(|name| annotation(name));
    faults.extend(reasons.map(|reason| Fault::new(Rule::K16, field, format!("has {reason}"))));
}

/// Says what an annotation of a pod or workload could do.
fn annotation(name: &str) -> Option<String> {
    let domain = name.split('/').next().unwrap_or_default();
    let within = |parent: &&str| {
        domain
            .strip_suffix(*parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let powerful = POWERFUL_DOMAINS.iter().any(&within) || starts(name, &POWERFUL_PREFIXES);
    (powerful && !starts(name, &HARMLESS)).then(|| {
        format!(
            "{name}, which a container runtime or another controller could obey and give the pods more rights; remove it"
        )
    })
}

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Finds fields that are not allowed; a path is given as it is shown, and as the lists above have it.
fn fields(object: &Map<String, Value>, (shown, listed): (&str, &str), allowed: &[&str], found: &mut Vec<String>) {
    for (name, value) in object {
        let dot = if shown.is_empty() { "" } else { "." };
        let (shown, listed) = (format!("{shown}{dot}{name}"), format!("{listed}{dot}{name}"));
        if allowed.contains(&listed.as_str()) {
            continue;
        }
        let below = allowed.iter().filter_map(|path| path.strip_prefix(listed.as_str()));
        if !below.clone().any(|rest| rest.starts_with(['.', '['])) {
            found.push(format!(
                "{shown} cannot be overridden, only what gives no pod more rights can; {}",
                instead(name)
            ));
            continue;
        }
        match value {
            Value::Object(value) => fields(value, (&shown, &listed), allowed, found),
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let (shown, listed) = (format!("{shown}[{place}]"), format!("{listed}[]"));
                    item.as_object()
                        .into_iter()
                        .for_each(|item| fields(item, (&shown, &listed), allowed, found));
                }
            }
            // What has not the type of its field does not fit: rule K-15.
            _ => {}
        }
    }
}

/// Finds containers that no workload of ours has: merged, they would be added.
fn unknown_containers(patch: &Map<String, Value>, list: &str, known: &[&str], found: &mut Vec<String>) {
    let containers = patch.get("spec").map(|spec| &spec["template"]["spec"][list]);
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    for (place, container) in containers.enumerate() {
        let name = container["name"].as_str().unwrap_or_default();
        if !known.contains(&name) {
            found.push(format!(
                "spec.template.spec.{list}[{place}].name is {name:?}, and containers cannot be added; name one of {}",
                known.join(", ")
            ));
        }
    }
}

/// Says what to do about a field that cannot be overridden.
fn instead(field: &str) -> &'static str {
    match field {
        "args" => "use speakerConfig.extraArgs or controllerConfig.extraArgs",
        "env" => "use speakerConfig.env or controllerConfig.env",
        "hostNetwork" => "use controllerConfig.hostNetwork",
        "image" => "set CONTROLLER_IMAGE, SPEAKER_IMAGE, FRR_IMAGE or FRRK8S_IMAGE of the operator",
        "runtimeClassName" => "use speakerConfig.runtimeClassName or controllerConfig.runtimeClassName",
        _ => "remove it",
    }
}
