//! The DaemonSet of the speaker.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetSpec},
    core::v1::{Container, ContainerPort, EnvVar, PodSpec, PodTemplateSpec, Toleration, Volume, VolumeMount},
};
use metallb_api::{BgpBackend, SpeakerBgp, SpeakerLayer2, names};

use crate::{
    architecture,
    context::Context,
    controller::{PROBE_DELAY, bgp_type, common_args, tls_args},
    frr,
    object::meta,
    openshift,
    pod::{
        READABLE, REVISIONS_KEPT, component_labels, config_map_volume, configure, confined, env, field_env,
        late_secret_volume, mount, node_selector, port, probed, seccomp, secret_volume, selector,
    },
    strategy,
};

/// The path of the program in the image.
const COMMAND: &str = "/speaker";

/// Where the key of the membership protocol is mounted.
const KEY_PATH: &str = "/etc/ml_secret_key";

/// Time to withdraw the announcements, with some to spare on a busy node: within two seconds the speaker has ended.
/// Upstream: 0 in the operator, 2 in the plain manifests.
const GRACE_SECONDS: i64 = 5;

/// Readable by the owner only.
const PRIVATE: i32 = 0o400;

/// The taints of control-plane nodes, which speak as well.
const TOLERATED_TAINTS: [&str; 2] = [
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/control-plane",
];

pub(crate) fn daemon_set(context: &Context<'_>) -> DaemonSet {
    let labels = component_labels(names::SPEAKER);
    let mut template = context.pod_meta(labels.clone(), context.speaker());
    if context.is_openshift() {
        let (name, value) = openshift::REQUIRED_SCC;
        let annotations = template.annotations.get_or_insert_default();
        annotations.insert(name.to_owned(), value.to_owned());
    }
    DaemonSet {
        metadata: meta(names::SPEAKER, labels.clone()),
        spec: Some(DaemonSetSpec {
            selector: selector(labels),
            revision_history_limit: Some(REVISIONS_KEPT),
            update_strategy: Some(strategy::daemon_set(context.speaker())),
            template: PodTemplateSpec {
                metadata: Some(template),
                spec: Some(pod(context)),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn pod(context: &Context<'_>) -> PodSpec {
    let mut pod = PodSpec {
        service_account_name: Some(names::SPEAKER.to_owned()),
        host_network: Some(true),
        security_context: Some(seccomp()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&context.spec.node_selector)),
        tolerations: Some(tolerations(context)),
        containers: vec![container(context)],
        volumes: Some(volumes(context)).filter(|volumes| !volumes.is_empty()),
        ..PodSpec::default()
    };
    configure(&mut pod, context.speaker());
    architecture::restrict(&mut pod, &context.environment.architectures);
    if context.backend == BgpBackend::Frr {
        frr::attach(&mut pod, context);
    }
    context.finish(&mut pod);
    pod
}

/// The built-in tolerations, then the user's.
pub(crate) fn tolerations(context: &Context<'_>) -> Vec<Toleration> {
    control_plane_tolerations()
        .chain(context.spec.speaker_tolerations.clone())
        .collect()
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

fn container(context: &Context<'_>) -> Container {
    let container = Container {
        name: names::SPEAKER.to_owned(),
        image: Some(context.environment.speaker_image.to_string()),
        command: Some(vec![COMMAND.to_owned()]),
        args: Some(args(context)),
        env: Some(variables(context)),
        ports: Some(ports(context)).filter(|ports| !ports.is_empty()),
        security_context: Some(confined(&["NET_RAW"])),
        volume_mounts: Some(mounts(context)).filter(|mounts| !mounts.is_empty()),
        ..Container::default()
    };
    // The pod has the node's network, where only the node itself must reach the health port.
    probed(
        container,
        context.environment.ports.health,
        Some("127.0.0.1"),
        PROBE_DELAY,
    )
}

fn args(context: &Context<'_>) -> Vec<String> {
    let spec = context.spec;
    let mut args = common_args(context);
    if context.has_memberlist() && spec.memberlist.as_ref().is_some_and(|it| it.wan) {
        args.push("--ml-wan-config".to_owned());
    }
    if spec.ignore_exclude_lb {
        args.push("--ignore-exclude-lb".to_owned());
    }
    if let Some(timeout) = spec.bgp_debounce_timeout {
        args.push(format!("--bgp-debounce-timeout={timeout}"));
    }
    // What cannot be read was refused before.
    if let Ok(Some(seconds)) = spec.gratuitous_arp_seconds() {
        args.push(format!("--gratuitous-arp-interval={seconds}"));
    }
    args.extend(spec.speaker_layer2.iter().flat_map(layer2_args));
    args.extend(spec.speaker_bgp.iter().flat_map(bgp_args));
    if context.backend == BgpBackend::FrrK8sExternal {
        args.extend(external_frr_k8s(context));
    }
    args.extend(tls_args(context));
    args
}

/// What is unset is left to the speaker.
fn layer2_args(layer2: &SpeakerLayer2) -> Vec<String> {
    let fast = layer2.fast_failover.map(|on| format!("--l2-fast-failover={on}"));
    let failback = layer2.failback.map(|when| format!("--l2-failback={}", when.name()));
    // What cannot be read was refused before.
    let delay = layer2.failback_seconds().ok().flatten();
    let delay = delay.map(|seconds| format!("--l2-failback-delay={seconds}"));
    let check = layer2.check_addresses.map(|on| format!("--l2-check-addresses={on}"));
    [check, failback, delay, fast].into_iter().flatten().collect()
}

/// What is unset is left to the speaker.
fn bgp_args(bgp: &SpeakerBgp) -> Vec<String> {
    let triggers: Vec<&str> = bgp.drain.iter().map(|trigger| trigger.name()).collect();
    let drain = Some(triggers.join(",")).filter(|triggers| !triggers.is_empty());
    let drain = drain.map(|triggers| format!("--bgp-drain={triggers}"));
    // What cannot be read was refused before.
    let wait = bgp.drain_wait_seconds().ok().flatten();
    let wait = wait.map(|seconds| format!("--bgp-drain-wait={seconds}"));
    let restart = bgp.restart_seconds().ok().flatten();
    let restart = restart.map(|seconds| format!("--bgp-restart-time={seconds}"));
    [drain, wait, restart].into_iter().flatten().collect()
}

fn external_frr_k8s(context: &Context<'_>) -> Vec<String> {
    let config = context.spec.frrk8s_config.as_ref();
    let namespace = config
        .and_then(|config| config.namespace.as_deref())
        .filter(|namespace| !namespace.is_empty())
        .or(context.environment.frr_k8s_external_namespace.as_deref());
    let mut args: Vec<_> = namespace
        .map(|namespace| format!("--frrk8s-namespace={namespace}"))
        .into_iter()
        .collect();
    if config.is_some_and(|config| config.secret_passthrough) {
        args.push("--frrk8s-secret-passthrough".to_owned());
    }
    args
}

fn ports(context: &Context<'_>) -> Vec<ContainerPort> {
    let metrics = context.metrics_port().map(|number| port("metricshttps", number, "TCP"));
    let memberlist = context.ports().memberlist;
    let members = context.has_memberlist().then(|| {
        [
            port("memberlist-tcp", memberlist, "TCP"),
            port("memberlist-udp", memberlist, "UDP"),
        ]
    });
    metrics.into_iter().chain(members.into_iter().flatten()).collect()
}

/// The order is an interface: upstream's chart tests address variables by their index.
fn variables(context: &Context<'_>) -> Vec<EnvVar> {
    let mut variables = vec![
        field_env("METALLB_NODE_NAME", "spec.nodeName"),
        field_env("METALLB_HOST", "status.hostIP"),
    ];
    if context.has_memberlist() {
        variables.extend(memberlist_variables(context));
    }
    if context.backend == BgpBackend::Frr {
        variables.extend(frr::speaker_variables());
    }
    variables.push(env("METALLB_BGP_TYPE", bgp_type(context.backend)));
    variables.push(field_env("METALLB_POD_NAME", "metadata.name"));
    if context.has_memberlist() {
        variables.push(env("METALLB_ML_SECRET_NAME", context.memberlist_secret()));
    }
    variables
}

fn memberlist_variables(context: &Context<'_>) -> [EnvVar; 4] {
    let labels = format!(
        "{}={},{}={}",
        names::LABEL_APP,
        names::APP,
        names::LABEL_COMPONENT,
        names::SPEAKER
    );
    let address = context.spec.memberlist.as_ref().and_then(|it| it.bind_address.as_ref());
    [
        match address {
            Some(address) => env("METALLB_ML_BIND_ADDR", address),
            None => field_env("METALLB_ML_BIND_ADDR", "status.podIP"),
        },
        env("METALLB_ML_LABELS", labels),
        env("METALLB_ML_BIND_PORT", context.ports().memberlist.to_string()),
        env("METALLB_ML_SECRET_KEY_PATH", KEY_PATH),
    ]
}

fn volumes(context: &Context<'_>) -> Vec<Volume> {
    let mut volumes = Vec::new();
    if context.has_memberlist() {
        // The controller makes it.
        volumes.push(late_secret_volume("memberlist", context.memberlist_secret()));
    }
    if context.excludes_interfaces() {
        let name = names::EXCLUDE_L2_CONFIG_MAP;
        volumes.push(config_map_volume(name, name, PRIVATE, None));
    }
    if context.has_memberlist() {
        let name = names::MEMBERLIST_CONFIG_MAP;
        volumes.push(config_map_volume("memberlist-config", name, READABLE, Some(true)));
    }
    if context.has_metrics_certificate() {
        volumes.push(secret_volume(openshift::METRICS_VOLUME, openshift::SPEAKER_CERTS));
    }
    volumes
}

fn mounts(context: &Context<'_>) -> Vec<VolumeMount> {
    let mut mounts = Vec::new();
    if context.has_memberlist() {
        mounts.push(mount("memberlist", KEY_PATH, false));
    }
    if context.excludes_interfaces() {
        mounts.push(mount(names::EXCLUDE_L2_CONFIG_MAP, "/etc/metallb", true));
    }
    if context.has_memberlist() {
        mounts.push(mount("memberlist-config", "/etc/metallb/memberlist", true));
    }
    if context.has_metrics_certificate() {
        mounts.push(mount(openshift::METRICS_VOLUME, openshift::METRICS_DIR, true));
    }
    mounts
}
