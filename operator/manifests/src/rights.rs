//! What each component may do: what it needs, and by name where the API allows that.
//!
//! One source for the operator's manifest, the plain manifests, the chart and the bundle.

use k8s_openapi::api::rbac::v1::PolicyRule;
use metallb_api::{BgpBackend, names};

use crate::platform::MONITORING_GROUP;

const READ: &[&str] = &["get", "list", "watch"];
/// What a watch asks for.
const FOLLOW: &[&str] = &["list", "watch"];
/// What is applied, never updated, and repaired. Where OpenShift is strict, only who may delete an object may change its owners.
const OWN: &[&str] = &["create", "delete", "get", "list", "patch", "watch"];
/// Everything, for programs that are not ours.
const WRITE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// What is written as a whole, so that nothing that somebody adds to it lasts.
const REPLACE: &[&str] = &["create", "delete", "get", "list", "update", "watch"];
/// Fields of an object that somebody else makes. To list or watch one object by its name is allowed by that name.
const MEND: &[&str] = &["get", "list", "patch", "watch"];
/// The same, and its owners: where OpenShift is strict, only who may delete an object may change those.
const MEND_AND_OWN: &[&str] = &["delete", "get", "list", "patch", "watch"];
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

/// What a component may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights {
    /// In all namespaces, and on what lives in none.
    pub cluster: Vec<PolicyRule>,
    /// In the namespace of MetalLB.
    pub namespace: Vec<PolicyRule>,
}

/// The controller, which may serve the webhooks too; `memberlist` is the Secret that it makes for the speakers.
pub fn controller(memberlist: &str) -> Rights {
    Rights {
        cluster: controller_cluster_rules(),
        namespace: controller_rules(memberlist),
    }
}

/// The speaker. Only with an frr-k8s it writes FRRConfigurations, which may be in another namespace.
pub fn speaker(backend: BgpBackend) -> Rights {
    let mut cluster = speaker_cluster_rules();
    if matches!(backend, BgpBackend::FrrK8s | BgpBackend::FrrK8sExternal) {
        cluster.push(rule(names::FRR_K8S_GROUP, &["frrconfigurations"], REPLACE));
        // What frr-k8s has against them.
        cluster.push(rule(names::FRR_K8S_GROUP, &["frrnodestates"], FOLLOW));
    }
    Rights {
        cluster,
        namespace: speaker_rules(),
    }
}

/// Controller and speaker alike, under the role `pod-lister`.
pub fn shared() -> Vec<PolicyRule> {
    shared_rules()
}

/// The operator.
pub fn operator() -> Rights {
    Rights {
        cluster: operator_cluster_rules(),
        namespace: operator_rules(),
    }
}

/// A bundled frr-k8s.
pub fn frr_k8s() -> Rights {
    let group = names::FRR_K8S_GROUP;
    let states = &["bgpsessionstates", "frrnodestates"];
    let mut cluster = vec![
        rule("", &["nodes"], READ),
        rule("admissionregistration.k8s.io", &[WEBHOOKS], READ),
        named(
            "admissionregistration.k8s.io",
            WEBHOOKS,
            &[names::FRR_K8S_WEBHOOK_CONFIGURATION],
            &["update"],
        ),
        rule(group, &["frrconfigurations", "frrk8sconfigurations"], READ),
        rule(group, states, WRITE),
        rule(group, &["bgpsessionstates/status", "frrnodestates/status"], STATUS),
    ];
    cluster.extend(scraped());
    Rights {
        cluster,
        namespace: vec![
            // Passwords of peers, under names that users choose; one of its own it fills.
            rule("", &["secrets"], READ),
            named("", "secrets", &[names::FRR_K8S_WEBHOOK_SECRET], &["update"]),
            rule("", &["pods"], READ),
        ],
    }
}

/// On OpenShift: lets pods run under constraints.
pub fn constraints(name: &str) -> Vec<PolicyRule> {
    vec![named("security.openshift.io", CONSTRAINTS, &[name], &["use"])]
}

/// Whoever scrapes the metrics.
pub fn metrics_reader() -> Vec<PolicyRule> {
    vec![gettable("/metrics")]
}

/// The account whose tokens read what the components answer under `/inspect`.
pub fn inspect() -> Vec<PolicyRule> {
    vec![gettable("/inspect/*")]
}

/// People who look at MetalLB, with `kubectl` or `kubectl metallb`, and change nothing.
///
/// It is no part of Kubernetes' role `view`: a BGPPeer may hold a password in clear, and `pods/proxy` reaches every port of
/// the speakers, which are those of their nodes.
pub fn viewer() -> Rights {
    let states = &["configurationstates", "servicebgpstatuses", "servicel2statuses"];
    let of_frr_k8s = &["frrconfigurations", "frrk8sconfigurations", "frrnodestates"];
    Rights {
        cluster: vec![
            rule(names::GROUP, CONFIGURATION, READ),
            rule(names::GROUP, states, READ),
            rule(names::GROUP, &["metallbs"], READ),
            rule(names::FRR_K8S_GROUP, &["bgpsessionstates"], READ),
            rule(names::FRR_K8S_GROUP, of_frr_k8s, READ),
            rule("", &["services", "nodes", "namespaces", "pods", "events"], READ),
            rule("events.k8s.io", &["events"], READ),
            rule("discovery.k8s.io", &["endpointslices"], READ),
            rule("networking.k8s.io", &["servicecidrs"], READ),
            rule("apiextensions.k8s.io", &["customresourcedefinitions"], READ),
            rule("admissionregistration.k8s.io", &[WEBHOOKS], READ),
        ],
        namespace: vec![
            rule("", &["configmaps", "pods/log"], &["get", "list"]),
            rule("apps", &["daemonsets", "deployments"], &["get", "list"]),
            rule("coordination.k8s.io", &["leases"], &["get", "list"]),
            // The way to `/inspect`, and the token that opens it and nothing else.
            rule("", &["pods/proxy"], &["get"]),
            named("", "serviceaccounts/token", &[names::INSPECT], &["create"]),
        ],
    }
}

/// Prometheus, which looks up what it scrapes.
pub fn prometheus() -> Vec<PolicyRule> {
    vec![
        rule("", &["services", "endpoints", "pods"], READ),
        rule("discovery.k8s.io", &["endpointslices"], READ),
    ]
}

const WEBHOOKS: &str = "validatingwebhookconfigurations";
const CONSTRAINTS: &str = "securitycontextconstraints";

fn controller_cluster_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        // Of Nodes: who may announce, and which peers meet there.
        rule("", &["services", "namespaces", "nodes"], FOLLOW),
        rule("", &["services/status"], &["update"]),
        // Only these fields are ours: the certificate authority of the webhooks, and our namespace as their owner.
        named(
            "admissionregistration.k8s.io",
            WEBHOOKS,
            &[names::WEBHOOK_CONFIGURATION],
            MEND_AND_OWN,
        ),
        named(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            &["bgppeers.metallb.io"],
            MEND,
        ),
    ];
    rules.push(events());
    rules.extend(scraped());
    rules
}

fn controller_rules(memberlist: &str) -> Vec<PolicyRule> {
    let mut rules = vec![
        // Names only are read: whoever creates a BGPPeer is warned if its Secret is missing.
        rule("", &["secrets"], &["create", "list"]),
        named("", "secrets", &[memberlist], &["get"]),
        filled(names::WEBHOOK_SECRET),
        // The owner of the membership Secret.
        named("apps", "deployments", &[names::CONTROLLER], &["get"]),
        rule(names::GROUP, &["configurationstates"], OWN),
        // Who announces a Service is told on the Service; whoever deletes a BGPPeer is told which are announced to it.
        rule(names::GROUP, &["servicel2statuses", "servicebgpstatuses"], FOLLOW),
        rule(
            names::GROUP,
            &["configurationstates/status", "ipaddresspools/status"],
            &["patch"],
        ),
    ];
    rules.extend(lease(names::CONTROLLER_LEASE));
    rules
}

fn speaker_cluster_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["services", "nodes"], FOLLOW),
        rule("discovery.k8s.io", &["endpointslices"], FOLLOW),
    ];
    rules.push(events());
    rules.extend(scraped());
    rules
}

fn speaker_rules() -> Vec<PolicyRule> {
    vec![
        // Passwords of BGP peers, under names that users choose.
        rule("", &["secrets"], FOLLOW),
        rule(
            names::GROUP,
            &["servicel2statuses", "servicebgpstatuses"],
            &["create", "delete", "list", "watch"],
        ),
        rule(names::GROUP, &["configurationstates"], OWN),
        rule(
            names::GROUP,
            &[
                "servicel2statuses/status",
                "servicebgpstatuses/status",
                "configurationstates/status",
            ],
            &["patch"],
        ),
        // How its own BGP sessions are doing; those of frr-k8s are written by that.
        rule(
            names::FRR_K8S_GROUP,
            &["bgpsessionstates"],
            &["create", "delete", "list", "patch", "watch"],
        ),
        rule(names::FRR_K8S_GROUP, &["bgpsessionstates/status"], &["patch"]),
    ]
}

fn shared_rules() -> Vec<PolicyRule> {
    vec![
        rule("", &["pods"], READ),
        rule("", &["configmaps"], FOLLOW),
        rule(names::GROUP, CONFIGURATION, FOLLOW),
    ]
}

fn operator_cluster_rules() -> Vec<PolicyRule> {
    let registration = "admissionregistration.k8s.io";
    let mut rules = vec![
        named(
            registration,
            WEBHOOKS,
            &[names::OPERATOR_WEBHOOK_CONFIGURATION],
            MEND_AND_OWN,
        ),
        // Applied by name, which makes it if there is none; an apply asks for both rights.
        named(registration, WEBHOOKS, &[names::FRR_K8S_WEBHOOK_CONFIGURATION], OWN),
        // In every namespace, to tell whoever makes one elsewhere that it has no effect.
        rule(names::GROUP, &["metallbs"], READ),
        rule(names::GROUP, &["metallbs/status"], &["patch"]),
        // What speakers left behind when the back-end changes, in whatever namespace frr-k8s is.
        rule(names::FRR_K8S_GROUP, &["frrconfigurations"], &["delete", "list"]),
    ];
    // Whether the components may do what they need, before one of them fails for the lack of it.
    rules.push(rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]));
    // Whether its own, whose name is chosen by who installs it, is being deleted with everything in it.
    rules.push(rule("", &["namespaces"], FOLLOW));
    rules.extend(operator_openshift_rules());
    rules.push(events());
    rules
}

/// Of use on OpenShift only; elsewhere nothing answers to these names.
fn operator_openshift_rules() -> [PolicyRule; 4] {
    let config = "config.openshift.io";
    [
        named("security.openshift.io", CONSTRAINTS, &[names::SPEAKER_SCC], OWN),
        named(config, "apiservers", &["cluster"], FOLLOW),
        named(config, "clusteroperators", &["network"], FOLLOW),
        named(
            "operator.openshift.io",
            "networks",
            &["cluster"],
            &["list", "patch", "watch"],
        ),
    ]
}

fn operator_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["configmaps", "services"], OWN),
        // They outlive the resource, and so have no owner.
        rule("", &["serviceaccounts"], &["create", "get", "list", "patch", "watch"]),
        rule("apps", &["daemonsets", "deployments"], OWN),
        rule("networking.k8s.io", &["networkpolicies"], OWN),
        rule("policy", &["poddisruptionbudgets"], OWN),
        rule(
            MONITORING_GROUP,
            &["podmonitors", "prometheusrules", "servicemonitors"],
            OWN,
        ),
        filled(names::OPERATOR_WEBHOOK_SECRET),
        named(
            "",
            "secrets",
            &[names::FRR_K8S_WEBHOOK_SECRET, names::METRICS_TOKEN_SECRET],
            OWN,
        ),
        // Why pods do not run, and whether those of a deleted MetalLB have ended.
        rule("", &["pods", "events"], &["list"]),
        // The finalizer of the resource.
        rule(names::GROUP, &["metallbs"], &["patch"]),
        // Asked of those who set blockOwnerDeletion.
        rule(names::GROUP, &["metallbs/finalizers"], &["update"]),
    ];
    rules.extend(lease(names::OPERATOR_LEASE));
    rules
}

/// Events, of the newer of the two APIs.
fn events() -> PolicyRule {
    rule("events.k8s.io", &["events"], &["create", "patch"])
}

/// A Secret that the installation makes and we fill.
fn filled(secret: &str) -> PolicyRule {
    named("", "secrets", &[secret], &["get", "list", "update", "watch"])
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
        named(group, "leases", &[name], &["get", "update"]),
    ]
}

fn gettable(path: &str) -> PolicyRule {
    PolicyRule {
        non_resource_urls: Some(vec![path.to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    }
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
