//! The Deployments of the operator and of the webhook server.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            ConfigMapKeySelector, Container, EnvVar, EnvVarSource, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use metallb_api::names;

use super::{Install, OPERATOR_LABEL};
use crate::{
    Ports, architecture,
    controller::{CERT_VOLUME, COMMAND, GRACE_SECONDS},
    object::meta,
    pod::{
        CERT_DIR, component_labels, confined, env, field_env, labels, mount, node_selector, port, probed,
        secret_volume, selector, unprivileged,
    },
    speaker::control_plane_tolerations,
};

/// The keys of the ConfigMap with TLS settings, which are variables and flags of the processes too.
pub(super) const TLS_VARIABLES: [&str; 3] = ["TLS_CIPHER_SUITES", "TLS_MIN_VERSION", "TLS_CURVE_PREFERENCES"];

/// Where the operator answers for its health, the default of its flag `--port`.
const OPERATOR_HEALTH_PORT: u16 = 8080;

/// Seconds until the first question for health: these processes are up at once, and writes wait for them.
const PROBE_DELAY: i32 = 1;

pub(super) fn operator(install: &Install) -> Deployment {
    let labels = labels([OPERATOR_LABEL]);
    let mut pod = PodSpec {
        service_account_name: Some(names::OPERATOR_SERVICE_ACCOUNT.to_owned()),
        // Upstream: none of these, so that the operator is evicted from, and kept off, control-plane nodes.
        security_context: Some(PodSecurityContext {
            fs_group: None,
            ..unprivileged()
        }),
        node_selector: Some(node_selector(&BTreeMap::new())),
        tolerations: Some(control_plane_tolerations().collect()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![operator_container(install)],
        volumes: Some(vec![secret_volume(CERT_VOLUME, names::OPERATOR_WEBHOOK_SECRET)]),
        ..PodSpec::default()
    };
    architecture::restrict(&mut pod, &install.architectures);
    deployment(names::OPERATOR_DEPLOYMENT, labels, pod)
}

fn operator_container(install: &Install) -> Container {
    let container = Container {
        name: "manager".to_owned(),
        image: Some(install.operator_image.to_string()),
        command: Some(vec!["/manager".to_owned()]),
        args: Some(vec!["--enable-leader-election".to_owned()]),
        env: Some(operator_variables(install)),
        ports: Some(vec![
            port("webhook-server", names::WEBHOOK_PORT, "TCP"),
            port("health", OPERATOR_HEALTH_PORT, "TCP"),
        ]),
        resources: Some(requests()),
        security_context: Some(confined(&[])),
        volume_mounts: Some(vec![mount(CERT_VOLUME, CERT_DIR, true)]),
        ..Container::default()
    };
    probed(container, OPERATOR_HEALTH_PORT, None, PROBE_DELAY)
}

fn operator_variables(install: &Install) -> Vec<EnvVar> {
    let mut variables = vec![
        env("SPEAKER_IMAGE", install.speaker_image.to_string()),
        env("CONTROLLER_IMAGE", install.controller_image.to_string()),
        env("FRR_IMAGE", install.frr_image.to_string()),
        env("FRRK8S_IMAGE", install.frr_k8s_image.to_string()),
        env("ARCHITECTURES", install.architectures.join(",")),
        field_env("OPERATOR_NAMESPACE", "metadata.namespace"),
        field_env("POD_NAME", "metadata.name"),
    ];
    if install.openshift {
        variables.push(env("DEPLOY_SERVICEMONITORS", "true"));
    }
    variables
}

/// The controller's program serving webhooks only: it is there before any MetalLB resource and outlives it.
pub(super) fn webhook_server(install: &Install) -> Deployment {
    let mut pod = PodSpec {
        service_account_name: Some(names::CONTROLLER.to_owned()),
        security_context: Some(unprivileged()),
        node_selector: Some(node_selector(&BTreeMap::new())),
        tolerations: Some(control_plane_tolerations().collect()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![webhook_container(install)],
        volumes: Some(vec![secret_volume(CERT_VOLUME, names::WEBHOOK_SECRET)]),
        ..PodSpec::default()
    };
    architecture::restrict(&mut pod, &install.architectures);
    deployment(names::WEBHOOK_DEPLOYMENT, component_labels(names::WEBHOOK_SERVER), pod)
}

fn webhook_container(install: &Install) -> Container {
    let ports = Ports::default();
    let mut variables: Vec<_> = TLS_VARIABLES.into_iter().map(tls_variable).collect();
    variables.push(field_env("METALLB_POD_NAME", "metadata.name"));
    // The back-end decides what admission refuses. Native is the default, and the one that announces.
    variables.push(env("METALLB_BGP_TYPE", "native"));
    let container = Container {
        name: names::WEBHOOK_SERVER.to_owned(),
        image: Some(install.controller_image.to_string()),
        command: Some(vec![COMMAND.to_owned()]),
        args: Some(webhook_args(ports)),
        env: Some(variables),
        ports: Some(vec![
            port("metricshttps", ports.metrics, "TCP"),
            port("webhook-server", names::WEBHOOK_PORT, "TCP"),
        ]),
        resources: Some(requests()),
        security_context: Some(confined(&[])),
        volume_mounts: Some(vec![mount(CERT_VOLUME, CERT_DIR, true)]),
        ..Container::default()
    };
    probed(container, ports.health, None, PROBE_DELAY)
}

/// What either process needs at least, so that a quota which asks for requests admits its pod.
fn requests() -> ResourceRequirements {
    let requests = [("cpu", "50m"), ("memory", "20Mi")];
    ResourceRequirements {
        requests: Some(
            requests
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        ),
        ..ResourceRequirements::default()
    }
}

fn webhook_args(ports: Ports) -> Vec<String> {
    let mut args = vec![
        "--webhook-mode=onlywebhook".to_owned(),
        format!("--port={}", ports.metrics),
        format!("--health-probe-port={}", ports.health),
        "--log-level=info".to_owned(),
    ];
    args.extend(TLS_VARIABLES.map(|name| format!("--{}=$({name})", name.to_ascii_lowercase().replace('_', "-"))));
    args
}

fn tls_variable(name: &'static str) -> EnvVar {
    let key_ref = ConfigMapKeySelector {
        name: names::TLS_CONFIG_MAP.to_owned(),
        key: name.to_owned(),
        optional: Some(false),
    };
    let value_from = EnvVarSource {
        config_map_key_ref: Some(key_ref),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(value_from),
    }
}

fn deployment(name: &str, labels: BTreeMap<String, String>, pod: PodSpec) -> Deployment {
    Deployment {
        metadata: meta(name, labels.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: selector(labels.clone()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}
