//! The Deployment of the controller.

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
    core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec},
};
use metallb_api::{LogLevel, MetalLBSpec, names};

use crate::{
    Environment,
    object::meta,
    pod::{
        CERT_DIR, component_labels, configure, confined, env, field_env, mount, node_selector, port, probed,
        secret_volume, selector, template_meta, unprivileged,
    },
};

/// The path of the program in the image.
pub(crate) const COMMAND: &str = "/controller";

/// The volume with the webhooks' certificate.
pub(crate) const CERT_VOLUME: &str = "cert";

/// Time to give up the lease, so that the next one need not wait for it to expire.
/// Upstream: 0, having no lease.
pub(crate) const GRACE_SECONDS: i64 = 10;

/// Seconds until controller and speaker are first asked for their health.
pub(crate) const PROBE_DELAY: i32 = 10;

pub(crate) fn deployment(spec: &MetalLBSpec, environment: &Environment) -> Deployment {
    let labels = component_labels(names::CONTROLLER);
    Deployment {
        metadata: meta(names::CONTROLLER, labels.clone()),
        spec: Some(DeploymentSpec {
            selector: selector(labels.clone()),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(template_meta(labels, spec.controller_config.as_ref())),
                spec: Some(pod(spec, environment)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(spec: &MetalLBSpec, environment: &Environment) -> PodSpec {
    let tolerations = &spec.controller_tolerations;
    let mut pod = PodSpec {
        service_account_name: Some(names::CONTROLLER.to_owned()),
        security_context: Some(unprivileged()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&spec.controller_node_selector)),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        containers: vec![container(spec, environment)],
        // Upstream mounts the certificate although these pods serve no webhooks; its charts and tests expect it.
        volumes: Some(vec![secret_volume(CERT_VOLUME, names::WEBHOOK_SECRET)]),
        ..PodSpec::default()
    };
    configure(&mut pod, spec.controller_config.as_ref());
    pod
}

fn container(spec: &MetalLBSpec, environment: &Environment) -> Container {
    let container = Container {
        name: names::CONTROLLER.to_owned(),
        image: Some(environment.controller_image.to_string()),
        command: Some(vec![COMMAND.to_owned()]),
        args: Some(args(spec, environment)),
        env: Some(variables()),
        ports: Some(vec![port("metricshttps", environment.ports.metrics, "TCP")]),
        security_context: Some(confined(&[])),
        volume_mounts: Some(vec![mount(CERT_VOLUME, CERT_DIR, true)]),
        ..Container::default()
    };
    probed(container, environment.ports.health, None, PROBE_DELAY)
}

/// Flags that controller and speaker share, in upstream's order.
pub(crate) fn common_args(spec: &MetalLBSpec, environment: &Environment) -> Vec<String> {
    let mut args = vec![
        format!("--port={}", environment.ports.metrics),
        format!("--health-probe-port={}", environment.ports.health),
        format!("--log-level={}", spec.log_level.unwrap_or(LogLevel::Info)),
    ];
    args.extend(
        spec.load_balancer_class
            .iter()
            .filter(|class| !class.is_empty())
            .map(|class| format!("--lb-class={class}")),
    );
    args
}

fn args(spec: &MetalLBSpec, environment: &Environment) -> Vec<String> {
    let mut args = common_args(spec, environment);
    args.push("--webhook-mode=disabled".to_owned());
    args.extend(environment.tls.args());
    args
}

fn variables() -> Vec<EnvVar> {
    vec![
        field_env("METALLB_POD_NAME", "metadata.name"),
        env("METALLB_ML_SECRET_NAME", names::MEMBERLIST_SECRET),
        env("METALLB_DEPLOYMENT", names::CONTROLLER),
        env("METALLB_BGP_TYPE", "native"),
    ]
}
