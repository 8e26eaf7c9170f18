//! The Deployment of the controller.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Container, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec, Volume},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::{BgpBackend, LogLevel, names};

use crate::{
    architecture,
    context::{Context, Door},
    object::meta,
    openshift,
    pod::{
        CERT_DIR, REVISIONS_KEPT, component_labels, configure, confined, env, field_env, mount, node_selector, port,
        probed, secret_volume, selector, unprivileged,
    },
    strategy,
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

pub(crate) fn deployment(context: &Context<'_>) -> Deployment {
    let labels = component_labels(names::CONTROLLER);
    Deployment {
        metadata: meta(names::CONTROLLER, labels.clone()),
        spec: Some(DeploymentSpec {
            replicas: context.controller().and_then(|config| config.replicas),
            selector: selector(labels.clone()),
            revision_history_limit: Some(REVISIONS_KEPT),
            strategy: Some(strategy::deployment(context.controller())),
            template: PodTemplateSpec {
                metadata: Some(context.pod_meta(labels, context.controller())),
                spec: Some(pod(context)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Keeps all but one of several controllers while nodes are drained. With a single one it would stop the drain.
pub(crate) fn disruption_budget(context: &Context<'_>) -> Option<PodDisruptionBudget> {
    let replicas = context.controller().and_then(|config| config.replicas).unwrap_or(1);
    (replicas > 1).then(|| {
        let labels = component_labels(names::CONTROLLER);
        PodDisruptionBudget {
            metadata: meta(names::CONTROLLER, labels.clone()),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector(labels)),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        }
    })
}

fn pod(context: &Context<'_>) -> PodSpec {
    let tolerations = &context.spec.controller_tolerations;
    let mut pod = PodSpec {
        service_account_name: Some(names::CONTROLLER.to_owned()),
        security_context: Some(security_context(context)),
        host_network: context.controller().and_then(|config| config.host_network),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: Some(node_selector(&context.spec.controller_node_selector)),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        containers: vec![container(context)],
        volumes: Some(volumes(context)),
        ..PodSpec::default()
    };
    configure(&mut pod, context.controller());
    architecture::restrict(&mut pod, &context.environment.architectures);
    context.finish(&mut pod);
    pod
}

/// On OpenShift the namespace has its own range of users.
pub(crate) fn security_context(context: &Context<'_>) -> PodSecurityContext {
    if context.is_openshift() {
        openshift::unprivileged()
    } else {
        unprivileged()
    }
}

fn volumes(context: &Context<'_>) -> Vec<Volume> {
    // Upstream mounts the certificate although under the operator these pods serve no webhooks; its tests expect it.
    let mut volumes = vec![secret_volume(CERT_VOLUME, names::WEBHOOK_SECRET)];
    if context.has_metrics_certificate() {
        volumes.push(secret_volume(openshift::METRICS_VOLUME, openshift::CONTROLLER_CERTS));
    }
    volumes
}

fn container(context: &Context<'_>) -> Container {
    let mut ports: Vec<_> = context
        .metrics_port()
        .map(|number| port("metricshttps", number, "TCP"))
        .into_iter()
        .collect();
    if context.door == Door::Manifests {
        ports.push(port("webhook-server", names::WEBHOOK_PORT, "TCP"));
    }
    let mut mounts = vec![mount(CERT_VOLUME, CERT_DIR, true)];
    if context.has_metrics_certificate() {
        mounts.push(mount(openshift::METRICS_VOLUME, openshift::METRICS_DIR, true));
    }
    let container = Container {
        name: names::CONTROLLER.to_owned(),
        image: Some(context.environment.controller_image.to_string()),
        command: Some(vec![COMMAND.to_owned()]),
        args: Some(args(context)),
        env: Some(variables(context)),
        ports: (!ports.is_empty()).then_some(ports),
        security_context: Some(confined(&[])),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    probed(container, context.environment.ports.health, None, PROBE_DELAY)
}

/// Flags that controller and speaker share, in upstream's order.
pub(crate) fn common_args(context: &Context<'_>) -> Vec<String> {
    let mut args = vec![
        format!("--port={}", context.metrics_port().unwrap_or(0)),
        format!("--health-probe-port={}", context.environment.ports.health),
        log_level(context),
    ];
    args.extend(
        context
            .spec
            .load_balancer_class
            .iter()
            .filter(|class| !class.is_empty())
            .map(|class| format!("--lb-class={class}")),
    );
    args
}

pub(crate) fn log_level(context: &Context<'_>) -> String {
    format!("--log-level={}", context.spec.log_level.unwrap_or(LogLevel::Info))
}

/// TLS settings and the certificate of the metrics, which come last.
pub(crate) fn tls_args(context: &Context<'_>) -> Vec<String> {
    let mut args: Vec<_> = context.tls().args().collect();
    if context.has_metrics_certificate() {
        args.push(format!("--metrics-cert-dir={}", openshift::METRICS_DIR));
    }
    args
}

fn args(context: &Context<'_>) -> Vec<String> {
    let mut args = common_args(context);
    let mode = match context.door {
        Door::Operator => "disabled",
        Door::Manifests => "enabled",
    };
    args.push(format!("--webhook-mode={mode}"));
    args.extend(tls_args(context));
    args
}

/// What the variable `METALLB_BGP_TYPE` says in a mode. Upstream: nothing in native mode.
pub(crate) const fn bgp_type(backend: BgpBackend) -> &'static str {
    match backend {
        BgpBackend::Native => "native",
        BgpBackend::Frr => "frr",
        BgpBackend::FrrK8s | BgpBackend::FrrK8sExternal => "frr-k8s",
    }
}

fn variables(context: &Context<'_>) -> Vec<EnvVar> {
    let mut variables = vec![field_env("METALLB_POD_NAME", "metadata.name")];
    if context.has_memberlist() {
        variables.push(env("METALLB_ML_SECRET_NAME", context.memberlist_secret()));
        variables.push(env("METALLB_DEPLOYMENT", names::CONTROLLER));
    }
    variables.push(env("METALLB_BGP_TYPE", bgp_type(context.backend)));
    // It says which Services no node may announce, and must know whom the speakers leave out.
    let ignored = if context.spec.ignore_exclude_lb {
        "true"
    } else {
        "false"
    };
    variables.push(env("METALLB_IGNORE_EXCLUDE_LB", ignored));
    variables
}
