//! What has to exist before the first MetalLB resource: operator, webhook server, and the rights of all components.
//!
//! Everything is installed by people (plain manifests, bundle), never by the operator itself; so the operator needs no
//! right to give rights.

pub mod plain;
mod rbac;
mod webhooks;
mod workloads;

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
};
use metallb_api::names;

use crate::{
    Image, Object, Ports, TlsSettings, architecture,
    config::service_account,
    network,
    object::meta,
    openshift,
    pod::{component_labels, labels},
};

/// What an installation can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The namespace of everything.
    pub namespace: String,
    /// The image of the operator.
    pub operator_image: Image,
    /// The image of controller and webhook server.
    pub controller_image: Image,
    /// The image of the speaker.
    pub speaker_image: Image,
    /// The image of FRR, for the back-ends that run it.
    pub frr_image: Image,
    /// The image of frr-k8s, for the back-end of that name.
    pub frr_k8s_image: Image,
    /// The architectures that the images are for.
    pub architectures: Vec<String>,
    /// Whether it is for OpenShift, whose own Prometheus then scrapes the metrics.
    pub openshift: bool,
}

/// The one image of a release: it holds all three programs.
const RELEASE_IMAGE: &str = concat!("ghcr.io/metallb-rs/metallb:v", env!("CARGO_PKG_VERSION"));

impl Install {
    /// The installation of this release in a namespace.
    pub fn release(namespace: &str) -> Self {
        let image: Image = RELEASE_IMAGE.parse().expect("a constant reference");
        Self {
            namespace: namespace.to_owned(),
            operator_image: image.clone(),
            controller_image: image.clone(),
            speaker_image: image,
            frr_image: Image::frr(),
            frr_k8s_image: Image::frr_k8s(),
            architectures: architecture::released(),
            openshift: false,
        }
    }
}

/// The label of the operator's pods, which selects them for its Service.
pub(crate) const OPERATOR_LABEL: (&str, &str) = ("control-plane", "controller-manager");

/// Lists everything but the CustomResourceDefinitions, in the order of application.
///
/// The webhook configurations come last: they refuse writes until their servers are up.
pub fn objects(install: &Install) -> Vec<Object> {
    let mut objects = components(install);
    objects.extend(webhook_configurations(install));
    objects
}

/// Lists the objects without webhook configurations.
pub fn components(install: &Install) -> Vec<Object> {
    let mut objects: Vec<Object> = vec![operator_namespace(install).into()];
    objects.extend(accounts());
    objects.extend(rbac::objects(&install.namespace));
    if install.openshift {
        objects.extend(rbac::prometheus("openshift-monitoring"));
    }
    objects.extend([
        secret(names::WEBHOOK_SECRET, component_labels(names::WEBHOOK_SERVER)).into(),
        secret(names::OPERATOR_WEBHOOK_SECRET, labels([OPERATOR_LABEL])).into(),
        tls_config(&TlsSettings::default()).into(),
        webhooks::service(names::WEBHOOK_SERVER).into(),
        webhooks::operator_service().into(),
        network::policy("operator", labels([OPERATOR_LABEL]), &[names::WEBHOOK_PORT], &[]).into(),
        network::policy(
            "webhook-service",
            component_labels(names::WEBHOOK_SERVER),
            &[names::WEBHOOK_PORT, Ports::default().metrics],
            &[],
        )
        .into(),
        workloads::operator(install).into(),
        workloads::webhook_server(install).into(),
    ]);
    in_namespace(objects, &install.namespace)
}

/// Lists the configurations of the admission webhooks, without `caBundle`: that is injected by their servers.
pub fn webhook_configurations(install: &Install) -> Vec<Object> {
    vec![
        webhooks::configuration(&install.namespace).into(),
        webhooks::operator_configuration(&install.namespace).into(),
    ]
}

pub(crate) fn in_namespace(mut objects: Vec<Object>, namespace: &str) -> Vec<Object> {
    for object in objects.iter_mut().filter(|object| object.is_namespaced()) {
        object.metadata_mut().namespace = Some(namespace.to_owned());
    }
    objects
}

/// The speaker has the node's network and runs as root, which Pod Security allows in a privileged namespace only.
pub(crate) fn namespace(name: &str, openshift: bool) -> Namespace {
    let mut labels = labels([
        ("pod-security.kubernetes.io/audit", "privileged"),
        ("pod-security.kubernetes.io/enforce", "privileged"),
        ("pod-security.kubernetes.io/warn", "privileged"),
    ]);
    if openshift {
        labels.extend(crate::pod::labels(openshift::NAMESPACE_LABELS));
    }
    Namespace {
        metadata: meta(name, labels),
        ..Namespace::default()
    }
}

/// The namespace of an operator has its label.
fn operator_namespace(install: &Install) -> Namespace {
    let mut namespace = namespace(&install.namespace, install.openshift);
    let all = namespace.metadata.labels.get_or_insert_default();
    all.extend(labels([OPERATOR_LABEL]));
    namespace
}

fn accounts() -> [Object; 5] {
    let mut operator = service_account(names::OPERATOR_SERVICE_ACCOUNT);
    operator.metadata.labels = Some(labels([OPERATOR_LABEL]));
    [
        service_account(names::CONTROLLER).into(),
        service_account(names::SPEAKER).into(),
        service_account(names::FRR_K8S_SERVICE_ACCOUNT).into(),
        operator.into(),
        inspect_account().into(),
    ]
}

/// An account that no pod runs as.
pub(crate) fn inspect_account() -> ServiceAccount {
    ServiceAccount {
        metadata: meta(names::INSPECT, labels([(names::LABEL_APP, names::APP)])),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// An empty Secret: whoever makes the certificate fills it, and pods that mount it can start before.
pub(crate) fn secret(name: &str, labels: BTreeMap<String, String>) -> Secret {
    Secret {
        metadata: meta(name, labels),
        type_: Some("Opaque".to_owned()),
        data: None::<BTreeMap<String, ByteString>>,
        ..Secret::default()
    }
}

/// The TLS settings of the webhook server.
///
/// Installed empty, so that the webhook server need not wait for the operator, which keeps them up to date.
pub fn tls_config(settings: &TlsSettings) -> ConfigMap {
    let values = [
        &settings.cipher_suites,
        &settings.min_version,
        &settings.curve_preferences,
    ];
    let data = workloads::TLS_VARIABLES
        .into_iter()
        .zip(values)
        .map(|(name, value)| (name.to_owned(), value.clone()));
    ConfigMap {
        metadata: meta(names::TLS_CONFIG_MAP, labels([(names::LABEL_APP, names::APP)])),
        data: Some(data.collect()),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests;
