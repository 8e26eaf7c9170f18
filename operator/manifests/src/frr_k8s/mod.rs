//! A bundled frr-k8s: what upstream's chart of that name deploys, under the names of the door.

mod cleaner;
mod webhook;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetSpec},
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec},
};
use metallb_api::names;

use crate::{
    Object,
    config::service_account,
    context::{Context, Door},
    controller::log_level,
    frr::{self, Stack, startup},
    object::meta,
    openshift,
    pod::{
        confined, empty_volume, field_env, labels, mount, node_selector, place, port, probed, seccomp, secret_volume,
        selector, template_meta,
    },
    speaker::tolerations,
    strategy,
};

/// The label of the pods that everybody knows, flags of frr-k8s among them.
pub(crate) const COMPONENT: (&str, &str) = ("app.kubernetes.io/component", "frr-k8s");

/// Where frr-k8s answers for its health, on the loopback of the node; there is no flag for it.
const HEALTH_PORT: u16 = 7572;

/// Time to end. Upstream: 0 in its chart, 10 in its manifests.
const GRACE_SECONDS: i64 = 10;

/// How often the state of FRR is read.
const POLL_INTERVAL: &str = "2m";

/// Lists the objects in the order of application: what pods mount comes before the pods.
pub(crate) fn objects(context: &Context<'_>) -> Vec<Object> {
    let config = context.spec.frrk8s_config.as_ref();
    let startup = startup::Startup {
        listens: config.is_some_and(|config| config.accept_incoming_bgp_connections),
        ..startup::FRR_K8S
    };
    let mut account = service_account(names::FRR_K8S_SERVICE_ACCOUNT);
    account.metadata.labels = Some(labels([("app", "frr-k8s")]));
    let mut objects: Vec<Object> = vec![account.into(), startup::config_map(startup).into()];
    objects.extend(webhook::secret(context).map(Object::from));
    objects.extend([
        webhook::service(context).into(),
        cleaner::deployment(context).into(),
        daemon_set(context).into(),
    ]);
    objects
}

/// The configuration of the webhook, which refuses writes until its server is up.
pub(crate) fn webhook_configuration(context: &Context<'_>) -> Object {
    webhook::configuration(context).into()
}

fn daemon_set(context: &Context<'_>) -> DaemonSet {
    let labels = match context.door {
        Door::Operator => labels([COMPONENT, ("app", "frr-k8s")]),
        Door::Manifests => labels([COMPONENT, ("control-plane", "frr-k8s")]),
    };
    DaemonSet {
        metadata: meta(context.frr_k8s(), labels.clone()),
        spec: Some(DaemonSetSpec {
            selector: selector(labels.clone()),
            update_strategy: Some(strategy::daemon_set(context.speaker())),
            template: PodTemplateSpec {
                metadata: Some(template_meta(labels, context.speaker())),
                spec: Some(pod(context)),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn pod(context: &Context<'_>) -> PodSpec {
    let image = context.frr_k8s_image();
    let stack = Stack {
        context,
        tools: &image,
        copy: |tool, folder| {
            vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                format!("cp -f /{tool} {folder}/"),
            ]
        },
        startup: names::FRR_K8S_STARTUP_CONFIG_MAP,
        metrics_port: context.environment.ports.frr_k8s_frr_metrics,
        certificate: context.has_metrics_certificate(),
    };
    let mut pod = PodSpec {
        service_account_name: Some(names::FRR_K8S_SERVICE_ACCOUNT.to_owned()),
        host_network: Some(true),
        security_context: Some(seccomp()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&context.spec.node_selector)),
        tolerations: Some(tolerations(context)),
        containers: vec![container(context)],
        volumes: Some(vec![]),
        ..PodSpec::default()
    };
    stack.attach(&mut pod);
    pod.containers
        .push(stack.status(status_args(context), status_variables()));
    let copy = stack.copy("cp-frr-status", "frr-status", "frr-status", "/etc/frr_status");
    pod.init_containers.get_or_insert_default().push(copy);
    let volumes = pod.volumes.get_or_insert_default();
    volumes.push(empty_volume("frr-status"));
    if context.has_metrics_certificate() {
        volumes.push(secret_volume(openshift::METRICS_VOLUME, openshift::FRR_K8S_CERTS));
    }
    if let Some(config) = context.speaker() {
        place(&mut pod, config);
        pod.containers[0].resources.clone_from(&config.resources);
    }
    context.finish(&mut pod);
    pod
}

fn container(context: &Context<'_>) -> Container {
    let ports = context.environment.ports;
    let mut mounts = vec![];
    if context.has_metrics_certificate() {
        mounts.push(mount(openshift::METRICS_VOLUME, openshift::METRICS_DIR, true));
    }
    let mut variables = Vec::from(frr::speaker_variables());
    variables.extend([
        field_env("NODE_NAME", "spec.nodeName"),
        field_env("NAMESPACE", "metadata.namespace"),
    ]);
    let container = Container {
        name: "controller".to_owned(),
        image: Some(context.frr_k8s_image().to_string()),
        command: Some(vec!["/frr-k8s".to_owned()]),
        args: Some(args(context)),
        env: Some(variables),
        ports: Some(vec![port("metricshttps", ports.frr_k8s_metrics, "TCP")]),
        security_context: Some(confined(&["NET_RAW"])),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    probed(
        container,
        HEALTH_PORT,
        Some("127.0.0.1"),
        crate::controller::PROBE_DELAY,
    )
}

fn args(context: &Context<'_>) -> Vec<String> {
    let mut args = vec![
        "--node-name=$(NODE_NAME)".to_owned(),
        "--namespace=$(NAMESPACE)".to_owned(),
        // Upstream's word for both families: a Go program listens on `[::]` then.
        format!(
            "--metrics-bind-address=0.0.0.0:{}",
            context.environment.ports.frr_k8s_metrics
        ),
        log_level(context),
    ];
    args.extend(always_block(context));
    if let Some(timeout) = context.spec.bgp_debounce_timeout {
        args.push(format!("--bgp-debounce-timeout={timeout}"));
    }
    args.extend(crate::controller::tls_args(context));
    args
}

/// Sorted, so that the order in the resource restarts nothing.
fn always_block(context: &Context<'_>) -> Option<String> {
    let config = context.spec.frrk8s_config.as_ref()?;
    let mut prefixes: Vec<_> = config.always_block.iter().map(|prefix| prefix.trim()).collect();
    prefixes.sort_unstable();
    (!prefixes.is_empty()).then(|| format!("--always-block={}", prefixes.join(",")))
}

fn status_args(context: &Context<'_>) -> Vec<String> {
    let config = context.spec.frrk8s_config.as_ref();
    let interval = config.and_then(|config| config.status_poll_interval.as_ref());
    vec![
        "--node-name=$(NODE_NAME)".to_owned(),
        "--namespace=$(NAMESPACE)".to_owned(),
        "--pod-name=$(POD_NAME)".to_owned(),
        log_level(context),
        format!(
            "--poll-interval={}",
            interval.map_or(POLL_INTERVAL, |interval| interval.as_str())
        ),
    ]
}

fn status_variables() -> Vec<EnvVar> {
    vec![
        field_env("NODE_NAME", "spec.nodeName"),
        field_env("NAMESPACE", "metadata.namespace"),
        field_env("POD_NAME", "metadata.name"),
    ]
}
