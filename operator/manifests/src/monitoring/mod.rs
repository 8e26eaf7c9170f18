//! How Prometheus learns where the metrics are, and what it warns of.

pub(crate) mod alerts;
pub(crate) mod dashboard;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Secret, Service, ServiceAccount, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use metallb_api::{BgpBackend, names};
use serde_json::{Value, json};

use crate::{
    Custom, Monitors, Object,
    context::{Context, Door},
    custom::Kind,
    object::meta,
    openshift,
    platform::MONITORING_GROUP,
    pod::{component_labels, labels},
};

const fn kind(kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        group: MONITORING_GROUP,
        version: "v1",
        kind,
        plural,
        namespaced: true,
    }
}

const POD_MONITOR: Kind = kind("PodMonitor", "podmonitors");
const SERVICE_MONITOR: Kind = kind("ServiceMonitor", "servicemonitors");
const PROMETHEUS_RULE: Kind = kind("PrometheusRule", "prometheusrules");

/// What is scraped.
struct Target {
    /// `controller`, `speaker` or `frr-k8s`.
    component: &'static str,
    /// The labels of its pods.
    pods: BTreeMap<String, String>,
    /// Names and numbers of its ports.
    ports: Vec<(&'static str, u16)>,
    /// The Secret with its certificate, on OpenShift.
    certificate: &'static str,
}

/// Lists what monitors need and the monitors themselves, in the order of application.
pub(crate) fn objects(context: &Context<'_>) -> Vec<Object> {
    let targets = targets(context);
    let monitors: Vec<Object> = match context.monitors() {
        Monitors::None => vec![],
        Monitors::Services => targets
            .iter()
            .flat_map(|target| [service(context, target).into(), service_monitor(context, target).into()])
            .collect(),
        Monitors::Pods => targets
            .iter()
            .map(|target| pod_monitor(context, target).into())
            .collect(),
    };
    let mut objects: Vec<Object> = vec![];
    if !monitors.is_empty() {
        objects.extend([reader().into(), token().into()]);
    }
    objects.extend(monitors);
    if context.wants_alerts() && context.environment.platform.prometheus_rules {
        let body = json!({ "spec": { "groups": [{ "name": "metallb.rules", "rules": alerts::rules(context) }] } });
        objects.push(Custom::new(PROMETHEUS_RULE, metadata(context, names::APP), body).into());
    }
    objects
}

fn targets(context: &Context<'_>) -> Vec<Target> {
    let ports = context.ports();
    let metrics = ("metricshttps", ports.metrics);
    let mut speaker = vec![metrics];
    if context.backend == BgpBackend::Frr {
        speaker.push(("frrmetricshttps", ports.frr_metrics));
    }
    let mut targets = vec![
        Target {
            component: names::CONTROLLER,
            pods: component_labels(names::CONTROLLER),
            ports: vec![metrics],
            certificate: openshift::CONTROLLER_CERTS,
        },
        Target {
            component: names::SPEAKER,
            pods: component_labels(names::SPEAKER),
            ports: speaker,
            certificate: openshift::SPEAKER_CERTS,
        },
    ];
    if context.backend == BgpBackend::FrrK8s {
        targets.push(Target {
            component: "frr-k8s",
            pods: labels([crate::frr_k8s::COMPONENT]),
            ports: vec![
                ("metricshttps", ports.frr_k8s_metrics),
                ("frrmetricshttps", ports.frr_k8s_frr_metrics),
            ],
            certificate: openshift::FRR_K8S_CERTS,
        });
    }
    targets
}

/// The metadata of a monitor or rule, with the labels by which a Prometheus selects it.
fn metadata(context: &Context<'_>, name: &str) -> ObjectMeta {
    let metrics = context.spec.metrics.as_ref();
    let mut all = metrics.map(|metrics| metrics.labels.clone()).unwrap_or_default();
    all.extend(labels([(names::LABEL_APP, names::APP)]));
    ObjectMeta {
        namespace: Some(context.environment.namespace.clone()),
        ..meta(name, all)
    }
}

fn service_name(target: &Target) -> String {
    format!("{}-monitor-service", target.component)
}

/// A Service without an address: it only lists the pods.
fn service(context: &Context<'_>, target: &Target) -> Service {
    let name = service_name(target);
    let mut metadata = meta(&name, labels([("name", &name)]));
    if context.is_openshift() {
        metadata.annotations = Some(labels([(openshift::SERVING_CERT, target.certificate)]));
    }
    let port = |(name, number): &(&str, u16)| ServicePort {
        name: Some((*name).to_owned()),
        port: (*number).into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int((*number).into())),
        ..ServicePort::default()
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            ports: Some(target.ports.iter().map(port).collect()),
            selector: Some(target.pods.clone()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn service_monitor(context: &Context<'_>, target: &Target) -> Custom {
    let endpoint = |(port, _): &(&str, u16)| endpoint(context, target, port, &tls_config(context, target));
    let body = json!({ "spec": {
        "endpoints": target.ports.iter().map(endpoint).collect::<Vec<_>>(),
        "jobLabel": match context.door {
            Door::Operator => "app.kubernetes.io/name",
            Door::Manifests => names::LABEL_COMPONENT,
        },
        "namespaceSelector": { "matchNames": [context.environment.namespace] },
        "selector": { "matchLabels": { "name": service_name(target) } },
    } });
    let name = format!("{}-monitor", target.component);
    Custom::new(SERVICE_MONITOR, metadata(context, &name), body)
}

/// Certificates of OpenShift can be checked. Ours cannot: where no Secret brings one, each process makes a certificate when
/// it starts and keeps it in memory, so there is no authority that a monitor could name. The token goes only to who
/// answers on the ports of our pods.
fn tls_config(context: &Context<'_>, target: &Target) -> Value {
    if !context.has_metrics_certificate() {
        return json!({ "insecureSkipVerify": true });
    }
    let (name, key) = openshift::SERVING_AUTHORITY;
    json!({
        "ca": { "configMap": { "name": name, "key": key } },
        "serverName": format!("{}.{}.svc", service_name(target), context.environment.namespace),
        "insecureSkipVerify": false,
    })
}

/// What is scraped at a port. Token and authority are named as objects: a Prometheus that scrapes for users, as the one of
/// OpenShift, refuses monitors that name files in its own pod.
fn endpoint(context: &Context<'_>, target: &Target, port: &str, tls_config: &Value) -> Value {
    let mut endpoint = json!({
        "port": port,
        "path": "/metrics",
        "scheme": "https",
        "honorLabels": true,
        "authorization": { "credentials": { "name": names::METRICS_TOKEN_SECRET, "key": "token" } },
        "tlsConfig": tls_config,
    });
    if let Some(interval) = context.spec.metrics.as_ref().and_then(|it| it.interval.as_ref()) {
        endpoint["interval"] = json!(interval);
    }
    if target.component == "frr-k8s" {
        let rename = |protocol: &str| {
            json!({
                "sourceLabels": ["__name__"],
                "regex": format!("frrk8s_{protocol}_(.*)"),
                "targetLabel": "__name__",
                "replacement": format!("metallb_{protocol}_$1"),
            })
        };
        endpoint["metricRelabelings"] = json!([rename("bgp"), rename("bfd")]);
    }
    endpoint
}

/// Upstream: these select labels that pods of the operator do not carry, and need rights that it does not have.
fn pod_monitor(context: &Context<'_>, target: &Target) -> Custom {
    let unchecked = json!({ "insecureSkipVerify": true });
    let endpoint = |(port, _): &(&str, u16)| endpoint(context, target, port, &unchecked);
    let body = json!({ "spec": {
        "jobLabel": names::LABEL_COMPONENT,
        "namespaceSelector": { "matchNames": [context.environment.namespace] },
        "selector": { "matchLabels": target.pods },
        "podMetricsEndpoints": target.ports.iter().map(endpoint).collect::<Vec<_>>(),
    } });
    Custom::new(POD_MONITOR, metadata(context, target.component), body)
}

/// The account that monitors scrape as; the installer lets it read metrics and nothing else.
fn reader() -> ServiceAccount {
    ServiceAccount {
        metadata: meta(names::METRICS_READER, labels([(names::LABEL_APP, names::APP)])),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The token of that account, which Kubernetes fills in.
fn token() -> Secret {
    let mut metadata = meta(names::METRICS_TOKEN_SECRET, labels([(names::LABEL_APP, names::APP)]));
    metadata.annotations = Some(labels([("kubernetes.io/service-account.name", names::METRICS_READER)]));
    Secret {
        metadata,
        type_: Some("kubernetes.io/service-account-token".to_owned()),
        ..Secret::default()
    }
}
