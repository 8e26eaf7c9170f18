//! What the pods of all components have in common.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, Probe, SeccompProfile, SecretVolumeSource,
        SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use metallb_api::{ComponentConfig, metallb::ProbeTimes, names};

/// Where the certificate of a webhook is mounted, the default of the flag `--cert-dir`.
pub(crate) const CERT_DIR: &str = "/tmp/k8s-webhook-server/serving-certs";

/// The user nobody.
pub(crate) const NOBODY: i64 = 65534;

/// The user root.
pub(crate) const ROOT: i64 = 0;

/// Files that everybody in the pod may read.
pub(crate) const READABLE: i32 = 0o644;

pub(crate) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The labels of a component, which select its pods too and so can never change.
pub(crate) fn component_labels(component: &str) -> BTreeMap<String, String> {
    labels([(names::LABEL_APP, names::APP), (names::LABEL_COMPONENT, component)])
}

pub(crate) fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// The metadata of pods. The labels that select them win over the user's.
pub(crate) fn template_meta(labels: BTreeMap<String, String>, config: Option<&ComponentConfig>) -> ObjectMeta {
    let mut all = config.map(|config| config.labels.clone()).unwrap_or_default();
    all.extend(labels);
    let annotations = config
        .map(|config| config.annotations.clone())
        .filter(|annotations| !annotations.is_empty());
    ObjectMeta {
        labels: Some(all),
        annotations,
        ..ObjectMeta::default()
    }
}

/// Linux nodes, narrowed by the user, who wins where both name a label.
pub(crate) fn node_selector(user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut selector = labels([("kubernetes.io/os", "linux")]);
    selector.extend(user.clone());
    selector
}

/// Puts in the settings that all components take from the MetalLB resource; the first container is the component's.
pub(crate) fn configure(pod: &mut PodSpec, config: Option<&ComponentConfig>) {
    let Some(config) = config else { return };
    place(pod, config);
    if let Some(container) = pod.containers.first_mut() {
        container.resources.clone_from(&config.resources);
        container.args.get_or_insert_default().extend(config.extra_args.clone());
        let variables = config.env.iter().map(|(name, value)| env(name, value));
        container.env.get_or_insert_default().extend(variables);
        retime(container.liveness_probe.as_mut(), config.liveness_probe);
        retime(container.readiness_probe.as_mut(), config.readiness_probe);
    }
}

/// Puts in what concerns where and how the pods run, whatever they contain.
pub(crate) fn place(pod: &mut PodSpec, config: &ComponentConfig) {
    pod.priority_class_name.clone_from(&config.priority_class_name);
    pod.runtime_class_name.clone_from(&config.runtime_class_name);
    pod.affinity.clone_from(&config.affinity);
    let spread = &config.topology_spread_constraints;
    pod.topology_spread_constraints = (!spread.is_empty()).then(|| spread.clone());
    pod.dns_policy = config.dns_policy.map(|policy| policy.name().to_owned());
    if config.termination_grace_period_seconds.is_some() {
        pod.termination_grace_period_seconds = config.termination_grace_period_seconds;
    }
}

fn retime(probe: Option<&mut Probe>, times: Option<ProbeTimes>) {
    if let (Some(probe), Some(times)) = (probe, times) {
        probe.initial_delay_seconds = times.initial_delay_seconds.or(probe.initial_delay_seconds);
        probe.period_seconds = times.period_seconds.or(probe.period_seconds);
        probe.timeout_seconds = times.timeout_seconds.or(probe.timeout_seconds);
        probe.failure_threshold = times.failure_threshold.or(probe.failure_threshold);
    }
}

pub(crate) fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// A variable with a field of the pod itself.
pub(crate) fn field_env(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector {
        api_version: None,
        field_path: path.to_owned(),
    };
    let value_from = EnvVarSource {
        field_ref: Some(field_ref),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(value_from),
    }
}

pub(crate) fn port(name: &str, number: u16, protocol: &str) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        // Part of the key by which server-side apply merges ports.
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    }
}

/// Asks the container over HTTP; `host` is for pods that share the network of their node.
fn probe(path: &str, port: u16, host: Option<&str>, (initial_delay, period): (i32, i32)) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            host: host.map(str::to_owned),
            path: Some(path.to_owned()),
            port: IntOrString::Int(port.into()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(initial_delay),
        period_seconds: Some(period),
        timeout_seconds: Some(1),
        success_threshold: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// How many old revisions of a workload are kept to roll back to: Kubernetes' default, which upstream writes out.
pub(crate) const REVISIONS_KEPT: i32 = 10;

/// Upstream's seconds between two looks at whether a container lives.
pub(crate) const LIVENESS_PERIOD: i32 = 10;

/// Seconds until the first look at whether a container is ready, and between two.
///
/// Upstream: 10 and 10. A rollout waits for the readiness of one node after the other, and the API server refuses what
/// webhooks judge until it knows that they are served.
pub(crate) const READINESS_DELAY: i32 = 1;
pub(crate) const READINESS_PERIOD: i32 = 2;

/// Gives the container both probes; `liveness_delay` is in seconds.
pub(crate) fn probed(container: Container, port: u16, host: Option<&str>, liveness_delay: i32) -> Container {
    let readiness = (READINESS_DELAY, READINESS_PERIOD);
    Container {
        liveness_probe: Some(probe("/healthz", port, host, (liveness_delay, LIVENESS_PERIOD))),
        readiness_probe: Some(probe("/readyz", port, host, readiness)),
        ..container
    }
}

/// No way to more rights, no writing to the image, no capability but `added`.
///
/// Whatever user the image names: Linux takes an added capability from every program that is not started as root.
pub(crate) fn confined(added: &[&str]) -> SecurityContext {
    let run_as_user = (!added.is_empty()).then_some(ROOT);
    let added: Vec<_> = added.iter().map(|&name| name.to_owned()).collect();
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: (!added.is_empty()).then_some(added),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        run_as_user,
        ..SecurityContext::default()
    }
}

/// The container runs as this user, who is not root.
pub(crate) fn running_as(user: i64, group: Option<i64>) -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: group,
        ..SecurityContext::default()
    }
}

/// The pod runs as nobody.
pub(crate) fn unprivileged() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        fs_group: Some(NOBODY),
        ..seccomp()
    }
}

/// The usual system calls only; the containers say as whom they run.
pub(crate) fn seccomp() -> PodSecurityContext {
    let profile = SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    };
    PodSecurityContext {
        seccomp_profile: Some(profile),
        ..PodSecurityContext::default()
    }
}

pub(crate) fn empty_volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

pub(crate) fn secret_volume(name: &str, secret: &str) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        default_mode: Some(READABLE),
        ..SecretVolumeSource::default()
    };
    Volume {
        name: name.to_owned(),
        secret: Some(source),
        ..Volume::default()
    }
}

/// A Secret that may come later than its pods: a kubelet starts none while one is missing, and repeats that in events.
pub(crate) fn late_secret_volume(name: &str, secret: &str) -> Volume {
    let mut volume = secret_volume(name, secret);
    if let Some(source) = &mut volume.secret {
        source.optional = Some(true);
    }
    volume
}

pub(crate) fn config_map_volume(name: &str, config_map: &str, mode: i32, optional: Option<bool>) -> Volume {
    let source = ConfigMapVolumeSource {
        name: config_map.to_owned(),
        default_mode: Some(mode),
        optional,
        ..ConfigMapVolumeSource::default()
    };
    Volume {
        name: name.to_owned(),
        config_map: Some(source),
        ..Volume::default()
    }
}

pub(crate) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
