//! The rights of all components, bound to their accounts.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use metallb_api::{BgpBackend, names};

use super::OPERATOR_LABEL;
use crate::{Object, object::meta, pod::labels, rights};

const OPERATOR_ROLE: &str = "metallb-manager-role";
const OPERATOR_BINDING: &str = "metallb-manager-rolebinding";
const CONTROLLER_ROLE: &str = "metallb-system:controller";
const SPEAKER_ROLE: &str = "metallb-system:speaker";
const SHARED_ROLE: &str = "pod-lister";
const FRR_K8S_ROLE: &str = "frr-k8s-daemon-role";

const APP: [(&str, &str); 1] = [(names::LABEL_APP, names::APP)];

/// Everything that an operator and whatever it may be told to deploy need.
///
/// Nobody but the installer gives rights, and the back-end may change at any time: so all of them have theirs.
pub(super) fn objects(namespace: &str) -> Vec<Object> {
    let operator = rights::operator();
    let account = names::OPERATOR_SERVICE_ACCOUNT;
    let mut objects = operands(namespace, BgpBackend::FrrK8s, names::MEMBERLIST_SECRET);
    objects.extend(constraints(namespace));
    objects.extend(metrics_reader(namespace));
    objects.extend(inspect(namespace));
    objects.extend([
        cluster_role(OPERATOR_ROLE, [OPERATOR_LABEL], operator.cluster),
        cluster_binding(OPERATOR_BINDING, [OPERATOR_LABEL], OPERATOR_ROLE, account, namespace),
        role(OPERATOR_ROLE, [OPERATOR_LABEL], operator.namespace),
        binding(OPERATOR_BINDING, [OPERATOR_LABEL], OPERATOR_ROLE, &[account], namespace),
    ]);
    objects
}

/// What controller, speaker and, where it is bundled, frr-k8s need in a back-end; `memberlist` is the speakers' Secret.
pub(super) fn operands(namespace: &str, backend: BgpBackend, memberlist: &str) -> Vec<Object> {
    let (controller, speaker) = (rights::controller(memberlist), rights::speaker(backend));
    let both = &[names::CONTROLLER, names::SPEAKER];
    let own = |name: &'static str| binding(name, APP, name, &[name], namespace);
    let mut objects = vec![
        cluster_role(CONTROLLER_ROLE, APP, controller.cluster),
        cluster_binding(CONTROLLER_ROLE, APP, CONTROLLER_ROLE, names::CONTROLLER, namespace),
        role(names::CONTROLLER, APP, controller.namespace),
        own(names::CONTROLLER),
        cluster_role(SPEAKER_ROLE, APP, speaker.cluster),
        cluster_binding(SPEAKER_ROLE, APP, SPEAKER_ROLE, names::SPEAKER, namespace),
        role(names::SPEAKER, APP, speaker.namespace),
        own(names::SPEAKER),
        role(SHARED_ROLE, APP, rights::shared()),
        binding(SHARED_ROLE, APP, SHARED_ROLE, both, namespace),
    ];
    if backend == BgpBackend::FrrK8s {
        objects.extend(frr_k8s(namespace));
    }
    objects
}

fn frr_k8s(namespace: &str) -> [Object; 4] {
    let rights = rights::frr_k8s();
    let account = names::FRR_K8S_SERVICE_ACCOUNT;
    [
        cluster_role(FRR_K8S_ROLE, APP, rights.cluster),
        cluster_binding("frr-k8s-daemon-rolebinding", APP, FRR_K8S_ROLE, account, namespace),
        role(FRR_K8S_ROLE, APP, rights.namespace),
        binding("frr-k8s-daemon-rolebinding", APP, FRR_K8S_ROLE, &[account], namespace),
    ]
}

/// Lets a Prometheus in another namespace look up what it scrapes.
pub(super) fn prometheus(monitoring: &str) -> [Object; 2] {
    let name = "prometheus-k8s";
    [
        role(name, APP, rights::prometheus()),
        RoleBinding {
            metadata: meta(name, labels(APP)),
            role_ref: role_ref("Role", name),
            subjects: Some(vec![subject(name, monitoring)]),
        }
        .into(),
    ]
}

/// Whoever scrapes through monitors; the account exists only where there are any.
pub(super) fn metrics_reader(namespace: &str) -> [Object; 2] {
    let name = names::METRICS_READER;
    [
        cluster_role(name, APP, rights::metrics_reader()),
        cluster_binding(name, APP, name, name, namespace),
    ]
}

/// The account that may read `/inspect`, and the roles of people who may use it; they are bound to nobody.
pub(super) fn inspect(namespace: &str) -> [Object; 4] {
    let viewer = rights::viewer();
    [
        cluster_role(names::INSPECT, APP, rights::inspect()),
        cluster_binding(names::INSPECT, APP, names::INSPECT, names::INSPECT, namespace),
        cluster_role(names::VIEWER, APP, viewer.cluster),
        role(names::VIEWER, APP, viewer.namespace),
    ]
}

/// On OpenShift, by which constraints pods are admitted. FRR in frr-k8s needs what only `privileged` allows.
fn constraints(namespace: &str) -> [Object; 4] {
    let account = names::FRR_K8S_SERVICE_ACCOUNT;
    let (speaker, frr_k8s) = ("speaker-scc", "frr-k8s-daemon-scc");
    [
        role(speaker, APP, rights::constraints(names::SPEAKER_SCC)),
        binding(speaker, APP, speaker, &[names::SPEAKER], namespace),
        role(frr_k8s, APP, rights::constraints("privileged")),
        binding(frr_k8s, APP, frr_k8s, &[account], namespace),
    ]
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
