//! The webhooks in the ClusterServiceVersion: OLM makes their Services, certificates and configurations.

use k8s_openapi::{
    api::admissionregistration::v1::ValidatingWebhook,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use metallb_api::names;
use metallb_manifests::Object;
use serde_json::{Value, json};

/// The Services of webhooks, with the Deployment behind.
const SERVERS: [(&str, &str); 2] = [
    (names::WEBHOOK_SERVICE, names::WEBHOOK_DEPLOYMENT),
    (names::OPERATOR_WEBHOOK_SERVICE, names::OPERATOR_DEPLOYMENT),
];

/// Tells whether the Service is one of webhooks.
pub(crate) fn serves(service: &str) -> bool {
    SERVERS.iter().any(|(known, _)| *known == service)
}

/// Lists `webhookdefinitions`.
pub(crate) fn definitions(configurations: &[Object], crds: &[CustomResourceDefinition]) -> Vec<Value> {
    let validating = configurations.iter().filter_map(|object| match object {
        Object::ValidatingWebhookConfiguration(configuration) => configuration.webhooks.as_ref(),
        _ => None,
    });
    validating
        .flatten()
        .filter_map(admission)
        .chain(crds.iter().filter_map(conversion))
        .collect()
}

fn admission(webhook: &ValidatingWebhook) -> Option<Value> {
    let service = webhook.client_config.service.as_ref()?;
    let mut definition = json!({
        "type": "ValidatingAdmissionWebhook",
        "generateName": webhook.name,
        "deploymentName": deployment(&service.name)?,
        "containerPort": 443,
        "targetPort": names::WEBHOOK_PORT,
        "webhookPath": service.path,
        "admissionReviewVersions": webhook.admission_review_versions,
        "failurePolicy": webhook.failure_policy,
        "rules": webhook.rules,
        "sideEffects": webhook.side_effects,
    });
    if let Some(seconds) = webhook.timeout_seconds {
        definition["timeoutSeconds"] = seconds.into();
    }
    Some(definition)
}

fn conversion(crd: &CustomResourceDefinition) -> Option<Value> {
    let webhook = crd.spec.conversion.as_ref()?.webhook.as_ref()?;
    let service = webhook.client_config.as_ref()?.service.as_ref()?;
    Some(json!({
        "type": "ConversionWebhook",
        "generateName": format!("c{}.kb.io", crd.spec.names.plural),
        "deploymentName": deployment(&service.name)?,
        "containerPort": 443,
        "targetPort": names::WEBHOOK_PORT,
        "webhookPath": service.path,
        "conversionCRDs": [crd.metadata.name],
        // OLM writes these into the definition, as the versions of ConversionReview.
        "admissionReviewVersions": webhook.conversion_review_versions,
        "sideEffects": "None",
    }))
}

fn deployment(service: &str) -> Option<&'static str> {
    SERVERS
        .iter()
        .find(|(known, _)| *known == service)
        .map(|(_, deployment)| *deployment)
}
