//! Rights that the installation gives, and whether rules cover them.

pub(crate) mod preflight;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, ResourceRule},
    rbac::v1::PolicyRule,
};
use metallb_api::names;
use metallb_manifests::{Object, install};

/// One right that a component needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) account: String,
    pub(crate) namespace: Option<String>,
    group: String,
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
    verb: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} may not {} {}", self.account, self.verb, self.resource)?;
        if let Some(subresource) = &self.subresource {
            write!(f, "/{subresource}")?;
        }
        if !self.group.is_empty() {
            write!(f, " of {}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " named {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in the cluster"),
        }
    }
}

impl Right {
    /// What to ask the API server about.
    pub(crate) fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            group: Some(self.group.clone()),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            resource: Some(self.resource.clone()),
            subresource: self.subresource.clone(),
            verb: Some(self.verb.clone()),
            ..ResourceAttributes::default()
        }
    }

    /// Tells whether the rule gives it, as RBAC reads rules.
    pub(crate) fn is_given_by(&self, rule: &ResourceRule) -> bool {
        let has = |items: &[String], wanted: &str| items.iter().any(|item| item == "*" || item == wanted);
        let names = rule.resource_names.as_deref().unwrap_or_default();
        has(&rule.verbs, &self.verb)
            && has(rule.api_groups.as_deref().unwrap_or_default(), &self.group)
            && self.is_of(rule.resources.as_deref().unwrap_or_default())
            && (names.is_empty() || self.name.as_ref().is_some_and(|name| names.contains(name)))
    }

    fn is_of(&self, resources: &[String]) -> bool {
        let wanted = match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.clone(),
        };
        let every = self.subresource.as_ref().map(|subresource| format!("*/{subresource}"));
        resources
            .iter()
            .any(|resource| resource == "*" || *resource == wanted || Some(resource) == every.as_ref())
    }
}

/// Lists what the installation of this version gives to the accounts of operator, controller and speaker.
pub(crate) fn needed(namespace: &str) -> Vec<Right> {
    let objects = install::components(&install::Install::release(namespace));
    let mut roles: BTreeMap<(&str, &str), &[PolicyRule]> = BTreeMap::new();
    for object in &objects {
        let rules = match object {
            Object::ClusterRole(role) => ("ClusterRole", role.rules.as_deref()),
            Object::Role(role) => ("Role", role.rules.as_deref()),
            _ => continue,
        };
        roles.insert((rules.0, object.name()), rules.1.unwrap_or_default());
    }
    let mut rights = Vec::new();
    for object in &objects {
        let (role, subjects, namespace) = match object {
            Object::ClusterRoleBinding(binding) => (&binding.role_ref, &binding.subjects, None),
            Object::RoleBinding(binding) => (&binding.role_ref, &binding.subjects, Some(namespace)),
            _ => continue,
        };
        let rules = roles
            .get(&(role.kind.as_str(), role.name.as_str()))
            .copied()
            .unwrap_or_default();
        for subject in subjects.iter().flatten() {
            if COMPONENTS.contains(&subject.name.as_str()) {
                rights.extend(rules.iter().flat_map(|rule| expanded(&subject.name, namespace, rule)));
            }
        }
    }
    rights
}

/// Whose rights every back-end needs.
const COMPONENTS: [&str; 3] = [names::OPERATOR_SERVICE_ACCOUNT, names::CONTROLLER, names::SPEAKER];

/// Rights that one can do without, on a cluster that lacks what they are about.
const OPTIONAL_GROUPS: [&str; 5] = [
    "config.openshift.io",
    "frrk8s.metallb.io",
    "monitoring.coreos.com",
    "operator.openshift.io",
    "security.openshift.io",
];

fn expanded(account: &str, namespace: Option<&str>, rule: &PolicyRule) -> Vec<Right> {
    let list = |items: &Option<Vec<String>>| items.clone().unwrap_or_default();
    let names = match list(&rule.resource_names) {
        none if none.is_empty() => vec![None],
        names => names.into_iter().map(Some).collect(),
    };
    let mut rights = Vec::new();
    for group in list(&rule.api_groups) {
        if OPTIONAL_GROUPS.contains(&group.as_str()) {
            continue;
        }
        for resource in list(&rule.resources) {
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, sub)) => (resource.to_owned(), Some(sub.to_owned())),
                None => (resource, None),
            };
            for (name, verb) in names
                .iter()
                .flat_map(|name| rule.verbs.iter().map(move |verb| (name, verb)))
            {
                rights.push(Right {
                    account: account.to_owned(),
                    namespace: namespace.map(ToOwned::to_owned),
                    group: group.clone(),
                    resource: resource.clone(),
                    subresource: subresource.clone(),
                    name: name.clone(),
                    verb: verb.clone(),
                });
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    // OP-42
    #[test]
    fn a_missing_right_is_named_with_account_verb_and_resource() {
        let rights = needed("metallb-system");
        let right = rights.iter().find(|right| {
            right.account == "manager-account" && right.resource == "daemonsets" && right.verb == "create"
        });
        assert_eq!(
            right.unwrap().to_string(),
            "manager-account may not create daemonsets of apps in namespace metallb-system"
        );
    }

    // OP-42
    #[test]
    fn all_components_are_looked_after_and_nothing_optional() {
        let rights = needed("metallb-system");
        for account in COMPONENTS {
            assert!(rights.iter().any(|right| right.account == account), "{account}");
        }
        assert!(
            rights
                .iter()
                .all(|right| !OPTIONAL_GROUPS.contains(&right.group.as_str()))
        );
    }

    fn status_of_services() -> Right {
        Right {
            account: names::CONTROLLER.to_owned(),
            namespace: None,
            group: String::new(),
            resource: "services".to_owned(),
            subresource: Some("status".to_owned()),
            name: None,
            verb: "update".to_owned(),
        }
    }

    fn rule(verb: &str, group: &str, resource: &str, names: &[&str]) -> ResourceRule {
        ResourceRule {
            verbs: vec![verb.to_owned()],
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: Some(names.iter().map(ToString::to_string).collect()),
        }
    }

    // OP-42
    #[test]
    fn a_rule_gives_what_it_names_or_stars() {
        for resource in ["services/status", "*/status", "*"] {
            assert!(
                status_of_services().is_given_by(&rule("update", "", resource, &[])),
                "{resource}"
            );
        }
        assert!(status_of_services().is_given_by(&rule("*", "*", "*", &[])));
    }

    // OP-42
    #[test]
    fn a_rule_about_something_else_does_not_give_it() {
        let others = [
            rule("get", "", "services/status", &[]),
            rule("update", "apps", "services/status", &[]),
            rule("update", "", "services", &[]),
            rule("update", "", "services/*", &[]),
            rule("update", "", "services/status", &["web"]),
        ];
        for other in others {
            assert!(!status_of_services().is_given_by(&other), "{other:?}");
        }
    }
}
