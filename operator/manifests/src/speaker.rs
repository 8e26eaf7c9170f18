//! The DaemonSet of the speaker.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy},
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec, Toleration, Volume, VolumeMount},
};
use metallb_api::{MetalLBSpec, names};

use crate::{
    Environment,
    controller::{PROBE_DELAY, common_args},
    object::meta,
    pod::{
        READABLE, component_labels, config_map_volume, configure, confined, env, field_env, mount, node_selector, port,
        probed, seccomp, secret_volume, selector, template_meta,
    },
};

/// The path of the program in the image.
const COMMAND: &str = "/speaker";

/// Where the key of the membership protocol is mounted.
const KEY_PATH: &str = "/etc/ml_secret_key";

/// Time to withdraw the announcements. Upstream: 0 in the operator, 2 in the plain manifests.
const GRACE_SECONDS: i64 = 2;

/// Readable by the owner only.
const PRIVATE: i32 = 0o400;

/// The taints of control-plane nodes, which speak as well.
const TOLERATED_TAINTS: [&str; 2] = [
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/control-plane",
];

pub(crate) fn daemon_set(spec: &MetalLBSpec, environment: &Environment) -> DaemonSet {
    let labels = component_labels(names::SPEAKER);
    DaemonSet {
        metadata: meta(names::SPEAKER, labels.clone()),
        spec: Some(DaemonSetSpec {
            selector: selector(labels.clone()),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(template_meta(labels, spec.speaker_config.as_ref())),
                spec: Some(pod(spec, environment)),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn pod(spec: &MetalLBSpec, environment: &Environment) -> PodSpec {
    let mut pod = PodSpec {
        service_account_name: Some(names::SPEAKER.to_owned()),
        host_network: Some(true),
        security_context: Some(seccomp()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&spec.node_selector)),
        tolerations: Some(
            control_plane_tolerations()
                .chain(spec.speaker_tolerations.clone())
                .collect(),
        ),
        containers: vec![container(spec, environment)],
        volumes: Some(volumes()),
        ..PodSpec::default()
    };
    configure(&mut pod, spec.speaker_config.as_ref());
    pod
}

/// Lets pods onto control-plane nodes.
pub(crate) fn control_plane_tolerations() -> impl Iterator<Item = Toleration> {
    TOLERATED_TAINTS.into_iter().map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    })
}

fn container(spec: &MetalLBSpec, environment: &Environment) -> Container {
    let ports = environment.ports;
    let mut args = common_args(spec, environment);
    args.extend(environment.tls.args());
    let container = Container {
        name: names::SPEAKER.to_owned(),
        image: Some(environment.speaker_image.to_string()),
        command: Some(vec![COMMAND.to_owned()]),
        args: Some(args),
        env: Some(variables(ports.memberlist)),
        ports: Some(vec![
            port("metricshttps", ports.metrics, "TCP"),
            port("memberlist-tcp", ports.memberlist, "TCP"),
            port("memberlist-udp", ports.memberlist, "UDP"),
        ]),
        security_context: Some(confined(&["NET_RAW"])),
        volume_mounts: Some(mounts()),
        ..Container::default()
    };
    // The pod has the node's network, where only the node itself must reach the health port.
    probed(container, ports.health, Some("127.0.0.1"), PROBE_DELAY)
}

/// The order is an interface: upstream's chart tests address variables by their index.
fn variables(memberlist_port: u16) -> Vec<EnvVar> {
    let labels = format!(
        "{}={},{}={}",
        names::LABEL_APP,
        names::APP,
        names::LABEL_COMPONENT,
        names::SPEAKER
    );
    vec![
        field_env("METALLB_NODE_NAME", "spec.nodeName"),
        field_env("METALLB_HOST", "status.hostIP"),
        field_env("METALLB_ML_BIND_ADDR", "status.podIP"),
        env("METALLB_ML_LABELS", labels),
        env("METALLB_ML_BIND_PORT", memberlist_port.to_string()),
        env("METALLB_ML_SECRET_KEY_PATH", KEY_PATH),
        env("METALLB_BGP_TYPE", "native"),
        field_env("METALLB_POD_NAME", "metadata.name"),
    ]
}

fn volumes() -> Vec<Volume> {
    vec![
        secret_volume("memberlist", names::MEMBERLIST_SECRET),
        config_map_volume(
            names::EXCLUDE_L2_CONFIG_MAP,
            names::EXCLUDE_L2_CONFIG_MAP,
            PRIVATE,
            None,
        ),
        config_map_volume("memberlist-config", names::MEMBERLIST_CONFIG_MAP, READABLE, Some(true)),
    ]
}

fn mounts() -> Vec<VolumeMount> {
    vec![
        mount("memberlist", KEY_PATH, false),
        mount(names::EXCLUDE_L2_CONFIG_MAP, "/etc/metallb", true),
        mount("memberlist-config", "/etc/metallb/memberlist", true),
    ]
}
