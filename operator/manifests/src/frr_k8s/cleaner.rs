//! The Deployment that serves the webhook of frr-k8s and clears the states of nodes that are gone.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::names;

use super::GRACE_SECONDS;
use crate::{
    context::Context,
    controller::{CERT_VOLUME, PROBE_DELAY, log_level, security_context},
    object::meta,
    pod::{
        CERT_DIR, LIVENESS_PERIOD, READINESS_DELAY, READINESS_PERIOD, confined, field_env, labels, mount,
        node_selector, place, port, secret_volume, selector, template_meta,
    },
    speaker::tolerations,
};

/// The port of the webhook.
const PORT: u16 = 19443;

const CONTAINER: &str = "frr-k8s-statuscleaner";

/// The label that selects the pods, as upstream's: it can never change.
pub(super) const SELECTOR: (&str, &str) = ("app.kubernetes.io/component", "statuscleaner");

pub(super) fn deployment(context: &Context<'_>) -> Deployment {
    let mut pod_labels = labels([("app", "frr-k8s"), (names::LABEL_COMPONENT, "statuscleaner")]);
    pod_labels.extend(labels([SELECTOR]));
    let mut template = template_meta(pod_labels.clone(), context.speaker());
    let annotations = template.annotations.get_or_insert_default();
    annotations.insert(
        "kubectl.kubernetes.io/default-container".to_owned(),
        CONTAINER.to_owned(),
    );
    Deployment {
        metadata: meta(context.frr_k8s_cleaner(), pod_labels),
        spec: Some(DeploymentSpec {
            selector: selector(labels([SELECTOR])),
            // Upstream: RollingUpdate with the port of the node, where no second one fits on a single node.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(template),
                spec: Some(pod(context)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(context: &Context<'_>) -> PodSpec {
    let mut pod = PodSpec {
        service_account_name: Some(names::FRR_K8S_SERVICE_ACCOUNT.to_owned()),
        host_network: Some(true),
        security_context: Some(security_context(context)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&context.spec.node_selector)),
        tolerations: Some(tolerations(context)),
        containers: vec![container(context)],
        volumes: Some(vec![secret_volume(CERT_VOLUME, names::FRR_K8S_WEBHOOK_SECRET)]),
        ..PodSpec::default()
    };
    if let Some(config) = context.speaker() {
        place(&mut pod, config);
    }
    context.finish(&mut pod);
    pod
}

fn container(context: &Context<'_>) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(context.frr_k8s_image().to_string()),
        command: Some(vec!["/statuscleaner".to_owned()]),
        args: Some(args(context)),
        env: Some(vec![field_env("NAMESPACE", "metadata.namespace")]),
        ports: Some(vec![ContainerPort {
            // The pod has the network of its node.
            host_port: Some(PORT.into()),
            ..port("webhook", PORT, "TCP")
        }]),
        security_context: Some(confined(&[])),
        liveness_probe: Some(probe(PROBE_DELAY, LIVENESS_PERIOD)),
        readiness_probe: Some(probe(READINESS_DELAY, READINESS_PERIOD)),
        volume_mounts: Some(vec![mount(CERT_VOLUME, CERT_DIR, true)]),
        ..Container::default()
    }
}

/// On OpenShift the platform makes the certificate.
fn args(context: &Context<'_>) -> Vec<String> {
    let rotation = if context.is_openshift() {
        "--disable-cert-rotation=true"
    } else {
        "--restart-on-rotator-secret-refresh=true"
    };
    let mut args = vec![
        format!("--webhook-port={PORT}"),
        log_level(context),
        rotation.to_owned(),
        "--namespace=$(NAMESPACE)".to_owned(),
    ];
    args.extend(context.tls().args());
    args
}

fn probe(delay: i32, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::String("webhook".to_owned()),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(delay),
        period_seconds: Some(period),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}
