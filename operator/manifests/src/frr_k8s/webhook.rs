//! The webhook of frr-k8s: its Service, the Secret with its certificate, and its configuration.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
            WebhookClientConfig,
        },
        core::v1::{Secret, Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::names;

use super::cleaner::SELECTOR;
use crate::{admission::not_being_deleted, context::Context, object::meta, openshift, pod::labels};

/// Empty: the server fills it. On OpenShift the platform makes it, asked by an annotation of the Service.
pub(super) fn secret(context: &Context<'_>) -> Option<Secret> {
    (!context.is_openshift()).then(|| Secret {
        metadata: meta(names::FRR_K8S_WEBHOOK_SECRET, labels([("app", "frr-k8s")])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

pub(super) fn service(context: &Context<'_>) -> Service {
    let mut metadata = meta(names::FRR_K8S_WEBHOOK_SERVICE, labels([("app", "frr-k8s")]));
    if context.is_openshift() {
        metadata.annotations = Some(labels([(openshift::SERVING_CERT, names::FRR_K8S_WEBHOOK_SECRET)]));
    }
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                port: 443,
                target_port: Some(IntOrString::String("webhook".to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            selector: Some(labels([SELECTOR])),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

pub(super) fn configuration(context: &Context<'_>) -> ValidatingWebhookConfiguration {
    let list = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
    let mut metadata = meta(names::FRR_K8S_WEBHOOK_CONFIGURATION, labels([("app", "frr-k8s")]));
    if context.is_openshift() {
        metadata.annotations = Some(labels([openshift::INJECT_CA]));
    }
    let webhook = ValidatingWebhook {
        name: "frrconfigurationsvalidationwebhook.metallb.io".to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: WebhookClientConfig {
            service: Some(ServiceReference {
                name: names::FRR_K8S_WEBHOOK_SERVICE.to_owned(),
                namespace: context.environment.namespace.clone(),
                path: Some("/validate-frrk8s-metallb-io-v1beta1-frrconfiguration".to_owned()),
                port: None,
            }),
            ..WebhookClientConfig::default()
        },
        failure_policy: Some("Fail".to_owned()),
        match_conditions: Some(vec![not_being_deleted()]),
        rules: Some(vec![RuleWithOperations {
            api_groups: list(&[names::FRR_K8S_GROUP]),
            api_versions: list(&["v1beta1"]),
            operations: list(&["CREATE", "UPDATE"]),
            resources: list(&["frrconfigurations"]),
            // The default, spelt out: rules are compared and owned as a whole.
            scope: Some("*".to_owned()),
        }]),
        side_effects: "None".to_owned(),
        ..ValidatingWebhook::default()
    };
    ValidatingWebhookConfiguration {
        metadata,
        webhooks: Some(vec![webhook]),
    }
}
