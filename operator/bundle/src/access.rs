//! The rights in the ClusterServiceVersion: those of the installed roles, gathered by account.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use metallb_manifests::Object;
use serde_json::{Value, json};

/// Rules by account.
type Rights = BTreeMap<String, Vec<PolicyRule>>;

/// Lists `permissions` and `clusterPermissions`.
pub(crate) fn permissions(objects: &[Object]) -> [Vec<Value>; 2] {
    let (mut namespaced, mut everywhere) = (Rights::new(), Rights::new());
    for object in objects {
        match object {
            Object::RoleBinding(binding) => grant(
                &mut namespaced,
                binding.subjects.iter().flatten(),
                rules(objects, &binding.role_ref),
            ),
            Object::ClusterRoleBinding(binding) => grant(
                &mut everywhere,
                binding.subjects.iter().flatten(),
                rules(objects, &binding.role_ref),
            ),
            _ => {}
        }
    }
    [namespaced, everywhere].map(entries)
}

fn grant<'a>(rights: &mut Rights, subjects: impl Iterator<Item = &'a Subject>, rules: &[PolicyRule]) {
    for subject in subjects.filter(|subject| subject.kind == "ServiceAccount") {
        let granted = rights.entry(subject.name.clone()).or_default();
        for rule in rules {
            if !granted.contains(rule) {
                granted.push(rule.clone());
            }
        }
    }
}

fn rules<'a>(objects: &'a [Object], wanted: &RoleRef) -> &'a [PolicyRule] {
    let found = objects.iter().find_map(|object| match object {
        Object::Role(role) if wanted.kind == "Role" && object.name() == wanted.name => Some(&role.rules),
        Object::ClusterRole(role) if wanted.kind == "ClusterRole" && object.name() == wanted.name => Some(&role.rules),
        _ => None,
    });
    found.and_then(Option::as_deref).unwrap_or_default()
}

fn entries(rights: Rights) -> Vec<Value> {
    rights
        .into_iter()
        .map(|(account, rules)| json!({ "serviceAccountName": account, "rules": rules }))
        .collect()
}
