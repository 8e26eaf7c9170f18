//! Which of the rights that an installation gives are missing here.
//!
//! Rights come with the installation, never from the operator; so whoever exchanges only the image may lack some of
//! them. The API server is asked about each before somebody has to find out why a speaker fails.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::{
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    rbac::v1::PolicyRule,
};
use kube::{Api, Client, api::PostParams};
use metallb_api::names;
use metallb_manifests::{Object, install};
use tracing::debug;

/// How long is waited between them: nobody is in a hurry for this, and the API server has others to serve.
const BREATH: std::time::Duration = std::time::Duration::from_millis(200);

/// How many missing rights are named; one hint is worth as much as a hundred.
const NAMED: usize = 8;

/// One right that a component needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    account: String,
    namespace: Option<String>,
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

/// Names what the operator, and the components if we may ask that, are not allowed to do and need; empty if all is well.
pub(crate) async fn missing(client: &Client, namespace: &str) -> Vec<String> {
    let rights = needed(namespace);
    let mut answers = Vec::with_capacity(rights.len());
    for some in rights.chunks(crate::AT_A_TIME) {
        if !answers.is_empty() {
            tokio::time::sleep(BREATH).await;
        }
        answers.extend(join_all(some.iter().map(|right| refused(client, namespace, right))).await);
    }
    let refused = rights.iter().zip(answers).filter(|(_, refused)| *refused);
    let mut named: Vec<_> = refused.map(|(right, _)| right.to_string()).collect();
    if named.len() > NAMED {
        let more = named.len() - NAMED;
        named.truncate(NAMED);
        named.push(format!("{more} more are missing"));
    }
    named
}

/// Asks; what cannot be asked counts as allowed.
async fn refused(client: &Client, namespace: &str, right: &Right) -> bool {
    let attributes = ResourceAttributes {
        group: Some(right.group.clone()),
        name: right.name.clone(),
        namespace: right.namespace.clone(),
        resource: Some(right.resource.clone()),
        subresource: right.subresource.clone(),
        verb: Some(right.verb.clone()),
        ..ResourceAttributes::default()
    };
    let allowed = if right.account == names::OPERATOR_SERVICE_ACCOUNT {
        own(client, attributes).await
    } else {
        anothers(client, namespace, &right.account, attributes).await
    };
    match allowed {
        Ok(allowed) => !allowed,
        Err(error) => {
            debug!(event = "rightNotAsked", right = %right, %error);
            false
        }
    }
}

async fn own(client: &Client, attributes: ResourceAttributes) -> kube::Result<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_none_or(|status| status.allowed))
}

async fn anothers(
    client: &Client,
    namespace: &str,
    account: &str,
    attributes: ResourceAttributes,
) -> kube::Result<bool> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{account}")),
            groups: Some(groups.into()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_none_or(|status| status.allowed))
}

/// Lists what the installation of this version gives to the accounts of operator, controller and speaker.
fn needed(namespace: &str) -> Vec<Right> {
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
}
