//! The rights of operator, controller and speaker: what each needs, and names where the API allows them.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use metallb_api::names;

use super::OPERATOR_LABEL;
use crate::{Object, object::meta, pod::labels};

const READ: &[&str] = &["get", "list", "watch"];
const OWN: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Asking for one object by its name, in a list or watch too, is allowed by that name.
const KEEP: &[&str] = &["get", "list", "patch", "update", "watch"];
const STATUS: &[&str] = &["get", "patch", "update"];

/// The kinds that users configure MetalLB with.
const CONFIGURATION: &[&str] = &[
    "addresspools",
    "bfdprofiles",
    "bgpadvertisements",
    "bgppeers",
    "communities",
    "ipaddresspools",
    "l2advertisements",
];

const OPERATOR_ROLE: &str = "metallb-manager-role";
const OPERATOR_BINDING: &str = "metallb-manager-rolebinding";

pub(super) fn objects(namespace: &str) -> Vec<Object> {
    let app = [(names::LABEL_APP, names::APP)];
    let controller = "metallb-system:controller";
    let speaker = "metallb-system:speaker";
    vec![
        cluster_role(controller, app, controller_cluster_rules()),
        cluster_binding(controller, app, controller, names::CONTROLLER, namespace),
        role(names::CONTROLLER, app, controller_rules()),
        binding(
            names::CONTROLLER,
            app,
            names::CONTROLLER,
            &[names::CONTROLLER],
            namespace,
        ),
        cluster_role(speaker, app, speaker_cluster_rules()),
        cluster_binding(speaker, app, speaker, names::SPEAKER, namespace),
        role(names::SPEAKER, app, speaker_rules()),
        binding(names::SPEAKER, app, names::SPEAKER, &[names::SPEAKER], namespace),
        role("pod-lister", app, shared_rules()),
        binding(
            "pod-lister",
            app,
            "pod-lister",
            &[names::CONTROLLER, names::SPEAKER],
            namespace,
        ),
        cluster_role(OPERATOR_ROLE, [OPERATOR_LABEL], operator_cluster_rules()),
        cluster_binding(
            OPERATOR_BINDING,
            [OPERATOR_LABEL],
            OPERATOR_ROLE,
            names::OPERATOR_SERVICE_ACCOUNT,
            namespace,
        ),
        role(OPERATOR_ROLE, [OPERATOR_LABEL], operator_rules()),
        binding(
            OPERATOR_BINDING,
            [OPERATOR_LABEL],
            OPERATOR_ROLE,
            &[names::OPERATOR_SERVICE_ACCOUNT],
            namespace,
        ),
    ]
}

fn controller_cluster_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["services", "namespaces", "nodes"], READ),
        rule("", &["services/status"], &["patch", "update"]),
        // Only this field is ours: the certificate authority of the webhooks.
        named(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            &[names::WEBHOOK_CONFIGURATION],
            KEEP,
        ),
        named(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            &["bgppeers.metallb.io"],
            KEEP,
        ),
    ];
    rules.extend(events());
    rules.extend(scraped());
    rules
}

fn controller_rules() -> Vec<PolicyRule> {
    let secrets = &[names::MEMBERLIST_SECRET, names::WEBHOOK_SECRET];
    let mut rules = vec![
        // Names only are read: whoever creates a BGPPeer is warned if its Secret is missing.
        rule("", &["secrets"], &["create", "list"]),
        named("", "secrets", secrets, KEEP),
        // The owner of the membership Secret.
        named(
            "apps",
            "deployments",
            &[names::CONTROLLER, names::WEBHOOK_DEPLOYMENT],
            &["get"],
        ),
        rule(names::GROUP, &["configurationstates"], OWN),
        rule(
            names::GROUP,
            &["configurationstates/status", "ipaddresspools/status"],
            STATUS,
        ),
    ];
    rules.extend(lease(names::CONTROLLER_LEASE));
    rules
}

fn speaker_cluster_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["services", "nodes", "namespaces"], READ),
        rule("discovery.k8s.io", &["endpointslices"], READ),
    ];
    rules.extend(events());
    rules.extend(scraped());
    rules
}

fn speaker_rules() -> Vec<PolicyRule> {
    vec![
        // Passwords of BGP peers, under names that users choose.
        rule("", &["secrets"], READ),
        rule(
            names::GROUP,
            &["servicel2statuses", "servicebgpstatuses", "configurationstates"],
            OWN,
        ),
        rule(
            names::GROUP,
            &[
                "servicel2statuses/status",
                "servicebgpstatuses/status",
                "configurationstates/status",
            ],
            STATUS,
        ),
    ]
}

fn shared_rules() -> Vec<PolicyRule> {
    vec![
        rule("", &["pods"], READ),
        rule("", &["configmaps"], READ),
        rule(names::GROUP, CONFIGURATION, READ),
    ]
}

fn operator_cluster_rules() -> Vec<PolicyRule> {
    let webhooks = "validatingwebhookconfigurations";
    let mut rules = vec![
        named(
            "admissionregistration.k8s.io",
            webhooks,
            &[names::OPERATOR_WEBHOOK_CONFIGURATION],
            KEEP,
        ),
        // In every namespace, to tell whoever makes one elsewhere that it has no effect.
        rule(names::GROUP, &["metallbs"], READ),
        rule(names::GROUP, &["metallbs/status"], STATUS),
    ];
    rules.extend(events());
    rules
}

fn operator_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["configmaps", "serviceaccounts"], OWN),
        rule("apps", &["daemonsets", "deployments"], OWN),
        named("", "secrets", &[names::OPERATOR_WEBHOOK_SECRET], KEEP),
        rule("", &["pods"], &["delete", "list"]),
        // Asked of those who set blockOwnerDeletion.
        rule(names::GROUP, &["metallbs/finalizers"], &["update"]),
    ];
    rules.extend(lease(names::OPERATOR_LEASE));
    rules
}

/// Events of both APIs: clients write the newer one, and controllers of old the other.
fn events() -> [PolicyRule; 2] {
    ["", "events.k8s.io"].map(|group| rule(group, &["events"], &["create", "patch"]))
}

/// Asks the API server whether whoever scrapes metrics may do so.
fn scraped() -> [PolicyRule; 2] {
    [
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ]
}

/// One lease to hold.
fn lease(name: &str) -> [PolicyRule; 2] {
    let group = "coordination.k8s.io";
    [
        rule(group, &["leases"], &["create"]),
        named(group, "leases", &[name], KEEP),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(list(resources)),
        verbs: list(verbs),
        ..PolicyRule::default()
    }
}

fn named(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> PolicyRule {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    PolicyRule {
        resource_names: Some(names),
        ..rule(group, &[resource], verbs)
    }
}

fn cluster_role(name: &str, label: [(&str, &str); 1], rules: Vec<PolicyRule>) -> Object {
    ClusterRole {
        metadata: meta(name, labels(label)),
        rules: Some(rules),
        aggregation_rule: None,
    }
    .into()
}

fn role(name: &str, label: [(&str, &str); 1], rules: Vec<PolicyRule>) -> Object {
    Role {
        metadata: meta(name, labels(label)),
        rules: Some(rules),
    }
    .into()
}

fn cluster_binding(name: &str, label: [(&str, &str); 1], role: &str, account: &str, namespace: &str) -> Object {
    ClusterRoleBinding {
        metadata: meta(name, labels(label)),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(vec![subject(account, namespace)]),
    }
    .into()
}

fn binding(name: &str, label: [(&str, &str); 1], role: &str, accounts: &[&str], namespace: &str) -> Object {
    RoleBinding {
        metadata: meta(name, labels(label)),
        role_ref: role_ref("Role", role),
        subjects: Some(accounts.iter().map(|account| subject(account, namespace)).collect()),
    }
    .into()
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn subject(account: &str, namespace: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: account.to_owned(),
        namespace: Some(namespace.to_owned()),
        api_group: None,
    }
}
