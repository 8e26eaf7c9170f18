//! MetalLB without the operator: everything that people apply, one list for each mode.
//!
//! The workloads are those that the operator deploys; what differs are the names and that the controller
//! serves the webhooks itself.

use metallb_api::{BgpBackend, MetalLBSpec, names};

use super::{Install, in_namespace, inspect_account, namespace, rbac, secret, webhooks};
use crate::{
    Environment, Monitors, Object, Platform, Ports, TlsSettings,
    context::{Context, Door},
    network, operands,
    pod::component_labels,
};

/// The modes that there are files for. Upstream's `frr-k8s-external` differs by what only the user knows.
pub const MODES: [BgpBackend; 3] = [BgpBackend::Native, BgpBackend::Frr, BgpBackend::FrrK8s];

/// The namespace where the files expect Prometheus.
const MONITORING: &str = "monitoring";

/// Lists everything but the CustomResourceDefinitions, in the order of application.
///
/// With `prometheus` there are monitors, alerts, and the rights that a Prometheus in namespace `monitoring` needs.
pub fn objects(install: &Install, backend: BgpBackend, prometheus: bool) -> Vec<Object> {
    let spec = MetalLBSpec {
        bgp_backend: Some(backend.name().to_owned()),
        ..MetalLBSpec::default()
    };
    let environment = environment(install, prometheus);
    let context = Context {
        spec: &spec,
        environment: &environment,
        backend,
        door: Door::Manifests,
    };
    let (mut accounts, workloads): (Vec<_>, Vec<_>) = operands(&context)
        .into_iter()
        .partition(|object| matches!(object, Object::ServiceAccount(_)));
    let mut objects: Vec<Object> = vec![namespace(&install.namespace, false).into()];
    objects.append(&mut accounts);
    objects.push(inspect_account().into());
    objects.extend(rbac::operands(&install.namespace, backend, context.memberlist_secret()));
    objects.extend(rbac::inspect(&install.namespace));
    if prometheus {
        objects.extend(rbac::prometheus(MONITORING));
        objects.extend(rbac::metrics_reader(&install.namespace));
    }
    let labels = component_labels(names::CONTROLLER);
    objects.push(secret(names::WEBHOOK_SECRET, labels).into());
    objects.push(webhooks::service(names::CONTROLLER).into());
    objects.extend(workloads);
    objects.push(webhooks::configuration(&install.namespace).into());
    in_namespace(objects, &install.namespace)
}

/// Lists the policies that narrow the traffic of what [`objects`] lists; they are applied beside, by whoever wants them.
pub fn network_policies(install: &Install) -> Vec<Object> {
    let spec = MetalLBSpec::default();
    let environment = environment(install, false);
    let context = Context {
        spec: &spec,
        environment: &environment,
        backend: BgpBackend::Native,
        door: Door::Manifests,
    };
    in_namespace(vec![network::controller(&context).into()], &install.namespace)
}

fn environment(install: &Install, prometheus: bool) -> Environment {
    Environment {
        namespace: install.namespace.clone(),
        controller_image: install.controller_image.clone(),
        speaker_image: install.speaker_image.clone(),
        frr_image: Some(install.frr_image.clone()),
        frr_k8s_image: Some(install.frr_k8s_image.clone()),
        frr_k8s_external_namespace: None,
        architectures: install.architectures.clone(),
        ports: Ports::default(),
        tls: TlsSettings::default(),
        monitors: if prometheus { Monitors::Services } else { Monitors::None },
        alerts: prometheus,
        network_policies: false,
        api_server_ports: vec![],
        frr_k8s_from_network_operator: false,
        network_operator_min_version: None,
        warnings: vec![],
        platform: Platform {
            openshift: false,
            pod_monitors: false,
            service_monitors: prometheus,
            prometheus_rules: prometheus,
        },
    }
}
