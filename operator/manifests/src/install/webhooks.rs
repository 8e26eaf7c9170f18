//! Services and configurations of the admission webhooks.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            MatchCondition, RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
            WebhookClientConfig,
        },
        core::v1::{Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::names;

use super::OPERATOR_LABEL;
use crate::{
    admission::not_being_deleted,
    object::meta,
    pod::{component_labels, labels},
};

const WRITES: &[&str] = &["CREATE", "UPDATE"];

/// How long a deletion is held up by a server that does not answer, in seconds.
const DELETION_TIMEOUT: i32 = 3;

/// Judges a BFD profile, and whether it may be deleted.
const BFD_PROFILE_PATH: &str = "/validate-metallb-io-v1beta1-bfdprofile";

/// One row of the table of webhooks.
struct Webhook {
    name: &'static str,
    path: &'static str,
    version: &'static str,
    resource: &'static str,
    operations: &'static [&'static str],
}

const fn webhook(name: &'static str, path: &'static str, version: &'static str, resource: &'static str) -> Webhook {
    Webhook {
        name,
        path,
        version,
        resource,
        operations: WRITES,
    }
}

/// The webhooks of the configuration kinds; names and paths are upstream's.
const WEBHOOKS: [Webhook; 7] = [
    webhook(
        "addresspoolvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta1-addresspool",
        "v1beta1",
        "addresspools",
    ),
    webhook(
        "bgppeersvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta2-bgppeer",
        "v1beta2",
        "bgppeers",
    ),
    Webhook {
        operations: &["CREATE"],
        ..webhook(
            "bfdprofilevalidationwebhook.metallb.io",
            BFD_PROFILE_PATH,
            "v1beta1",
            "bfdprofiles",
        )
    },
    webhook(
        "bgpadvertisementvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta1-bgpadvertisement",
        "v1beta1",
        "bgpadvertisements",
    ),
    webhook(
        "communityvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta1-community",
        "v1beta1",
        "communities",
    ),
    webhook(
        "ipaddresspoolvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta1-ipaddresspool",
        "v1beta1",
        "ipaddresspools",
    ),
    webhook(
        "l2advertisementvalidationwebhook.metallb.io",
        "/validate-metallb-io-v1beta1-l2advertisement",
        "v1beta1",
        "l2advertisements",
    ),
];

/// The webhook of the MetalLB kind.
const OPERATOR_WEBHOOK: Webhook = webhook(
    "metallbvalidationwebhook.metallb.io",
    "/validate-metallb-io-v1beta1-metallb",
    "v1beta1",
    "metallbs",
);

pub(super) fn configuration(namespace: &str) -> ValidatingWebhookConfiguration {
    let labels = component_labels(names::WEBHOOK_SERVER);
    let webhooks = WEBHOOKS
        .iter()
        .map(|row| ValidatingWebhook {
            match_conditions: Some(vec![not_being_deleted()]),
            ..row.validating(names::WEBHOOK_SERVICE, namespace)
        })
        .chain([profile_deletions(namespace), deletions(namespace)])
        .collect();
    ValidatingWebhookConfiguration {
        metadata: meta(names::WEBHOOK_CONFIGURATION, labels),
        webhooks: Some(webhooks),
    }
}

pub(super) fn operator_configuration(namespace: &str) -> ValidatingWebhookConfiguration {
    let mut webhook = OPERATOR_WEBHOOK.validating(names::OPERATOR_WEBHOOK_SERVICE, namespace);
    webhook.match_conditions = Some(vec![changed_spec()]);
    ValidatingWebhookConfiguration {
        metadata: meta(names::OPERATOR_WEBHOOK_CONFIGURATION, labels([OPERATOR_LABEL])),
        webhooks: Some(vec![webhook]),
    }
}

/// Asks about new specs only: the last operator gives its finalizer back when it serves no webhook any more.
fn changed_spec() -> MatchCondition {
    let expression = "request.operation != 'UPDATE' || has(object.spec) != has(oldObject.spec) || \
                      (has(object.spec) && object.spec != oldObject.spec)";
    MatchCondition {
        name: "changed-spec".to_owned(),
        expression: expression.to_owned(),
    }
}

/// Never in the way when there is nobody to ask: a namespace could not be deleted with the server in it.
fn of_deletions(webhook: ValidatingWebhook) -> ValidatingWebhook {
    ValidatingWebhook {
        failure_policy: Some("Ignore".to_owned()),
        timeout_seconds: Some(DELETION_TIMEOUT),
        ..webhook
    }
}

/// Refuses the deletion of a profile that a peer uses.
///
/// Upstream: has one webhook for this and for new profiles, so that none can be deleted without its server.
fn profile_deletions(namespace: &str) -> ValidatingWebhook {
    let row = Webhook {
        operations: &["DELETE"],
        ..webhook(
            "bfdprofiledeletionwebhook.metallb.io",
            BFD_PROFILE_PATH,
            "v1beta1",
            "bfdprofiles",
        )
    };
    of_deletions(row.validating(names::WEBHOOK_SERVICE, namespace))
}

/// Asks for warnings of what a deletion leaves behind. It refuses nothing, so nothing is refused in its absence.
fn deletions(namespace: &str) -> ValidatingWebhook {
    let row = Webhook {
        operations: &["DELETE"],
        ..webhook(
            "deletionwarning.metallb.io",
            names::DELETION_PATH,
            "v1beta1",
            "ipaddresspools",
        )
    };
    let mut webhook = row.validating(names::WEBHOOK_SERVICE, namespace);
    let mut current = webhook.rules.take().unwrap_or_default();
    if let Some(rule) = current.first_mut() {
        let kinds = [
            "addresspools",
            "bgpadvertisements",
            "communities",
            "ipaddresspools",
            "l2advertisements",
        ];
        rule.resources = Some(kinds.map(ToOwned::to_owned).into());
        let mut peers = rule.clone();
        peers.api_versions = Some(vec!["v1beta2".to_owned()]);
        peers.resources = Some(vec!["bgppeers".to_owned()]);
        current.push(peers);
    }
    webhook.rules = Some(current);
    of_deletions(webhook)
}

impl Webhook {
    fn validating(&self, service: &str, namespace: &str) -> ValidatingWebhook {
        let list = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
        ValidatingWebhook {
            name: self.name.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: WebhookClientConfig {
                service: Some(ServiceReference {
                    name: service.to_owned(),
                    namespace: namespace.to_owned(),
                    path: Some(self.path.to_owned()),
                    port: None,
                }),
                ..WebhookClientConfig::default()
            },
            failure_policy: Some("Fail".to_owned()),
            rules: Some(vec![RuleWithOperations {
                api_groups: list(&[names::GROUP]),
                api_versions: list(&[self.version]),
                operations: list(self.operations),
                resources: list(&[self.resource]),
                // The default, spelt out: rules are compared and owned as a whole.
                scope: Some("*".to_owned()),
            }]),
            side_effects: "None".to_owned(),
            ..ValidatingWebhook::default()
        }
    }
}

/// The Service of the webhooks, which the webhook server or the controller serves.
pub(super) fn service(server: &str) -> Service {
    let labels = component_labels(server);
    https_service(names::WEBHOOK_SERVICE, labels.clone(), labels)
}

pub(super) fn operator_service() -> Service {
    let labels = labels([OPERATOR_LABEL]);
    https_service(names::OPERATOR_WEBHOOK_SERVICE, labels.clone(), labels)
}

fn https_service(name: &str, labels: BTreeMap<String, String>, selector: BTreeMap<String, String>) -> Service {
    Service {
        metadata: meta(name, labels),
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                port: 443,
                target_port: Some(IntOrString::Int(names::WEBHOOK_PORT.into())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            selector: Some(selector),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
