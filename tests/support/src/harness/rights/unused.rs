//! Granted rights by which no request was allowed.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::spared::{SPARED, Spared};
use crate::envtest::audit::Request;

/// One thing that a role allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    /// `ClusterRole` or `Role`.
    pub(super) kind: String,
    pub(super) role: String,
    pub(super) verb: String,
    /// With its group: `deployments.apps`.
    pub(super) resource: String,
    /// The only object that it is about; empty for all.
    pub(super) name: String,
}

/// What of one resource is not used of a role, for one reason.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line<'a> {
    kind: &'a str,
    role: &'a str,
    resource: &'a str,
    name: &'a str,
    why: Option<&'static str>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        write!(
            f,
            " by {} {:?}: {}",
            self.kind,
            self.role,
            self.why.unwrap_or("NO REASON")
        )
    }
}

/// Lists the rights in the roles of `manifest` that no request needed.
pub(super) fn unused(manifest: &str, requests: &[Request]) -> Result<Vec<Right>> {
    let mut rights = granted(manifest)?;
    rights.retain(|right| !requests.iter().any(|request| right.allowed(request)));
    Ok(rights)
}

/// Lists every right in the roles of `manifest`.
pub(super) fn granted(manifest: &str) -> Result<Vec<Right>> {
    let mut all = Vec::new();
    for object in metallb_lab::parse(manifest)? {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        if matches!(kind, "Role" | "ClusterRole") {
            for rule in rules(&object)? {
                expand(&rule, kind, &object.name_any(), &mut all);
            }
        }
    }
    Ok(all)
}

fn rules(role: &DynamicObject) -> Result<Vec<PolicyRule>> {
    let rules = role.data.get("rules").cloned().unwrap_or_default();
    serde_json::from_value(rules).with_context(|| format!("the rules of {} are no rules", role.name_any()))
}

fn expand(rule: &PolicyRule, kind: &str, role: &str, all: &mut Vec<Right>) {
    let every = vec![String::new()];
    let names = rule.resource_names.as_ref().unwrap_or(&every);
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for (name, verb) in names
                .iter()
                .flat_map(|name| rule.verbs.iter().map(move |verb| (name, verb)))
            {
                all.push(Right {
                    kind: kind.to_owned(),
                    role: role.to_owned(),
                    verb: verb.clone(),
                    resource: qualified(group, resource),
                    name: name.clone(),
                });
            }
        }
    }
}

impl Right {
    /// Tells whether a request was allowed by this right, or could have been.
    fn allowed(&self, request: &Request) -> bool {
        // The API server says why: `RBAC: allowed by RoleBinding "x/y" of Role "x" to ServiceAccount "a/y"`.
        let by_role = || {
            request
                .reason
                .contains(&format!(" of {} {:?} to ", self.kind, self.role))
        };
        self.resource == qualified(&request.group, &request.resource)
            && (self.name.is_empty() || self.name == request.name)
            && self.is_needed(request)
            && by_role()
    }

    /// An apply that makes the object needs the right to create it, too.
    fn is_needed(&self, request: &Request) -> bool {
        request.verb == self.verb || (self.verb == "create" && request.verb == "patch" && request.code == 201)
    }

    fn why(&self) -> Option<&'static str> {
        SPARED
            .iter()
            .find(|spared| spared.is_about(self))
            .map(|spared| spared.why)
    }
}

impl Spared {
    pub(super) fn is_about(&self, right: &Right) -> bool {
        let listed = |list: &[&str], wanted: &str| list.is_empty() || list.contains(&wanted);
        listed(self.roles, &right.role)
            && listed(self.resources, &right.resource)
            && listed(self.names, &right.name)
            && listed(self.verbs, &right.verb)
    }
}

/// Prints them with the reason why each is granted all the same; returns how many have none.
pub(super) fn tell(unused: &[Right]) -> usize {
    let mut lines: BTreeMap<Line<'_>, Vec<&str>> = BTreeMap::new();
    for right in unused {
        let line = Line {
            kind: &right.kind,
            role: &right.role,
            resource: &right.resource,
            name: &right.name,
            why: right.why(),
        };
        lines.entry(line).or_default().push(&right.verb);
    }
    for (line, verbs) in &lines {
        println!("not used: {} {line}", verbs.join(","));
    }
    unused.iter().filter(|right| right.why().is_none()).count()
}

/// A resource with its group.
pub(super) fn qualified(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        _ => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metallb_lab::OPERATOR;

    const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: speaker}
rules:
- {apiGroups: [''], resources: [pods, secrets], verbs: [get, list]}
- {apiGroups: [''], resources: [events, nodes], verbs: [create, patch]}
- {apiGroups: [apps], resources: [deployments], verbs: [get], resourceNames: [controller, webhooks]}
";

    fn request(verb: &str, group: &str, resource: &str, name: &str) -> Request {
        Request {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            name: name.into(),
            reason: "RBAC: allowed by RoleBinding \"s/n\" of Role \"speaker\" to ServiceAccount \"s/n\"".into(),
            ..Request::default()
        }
    }

    #[test]
    fn rights_that_nobody_used_are_found_by_verb_resource_and_name() {
        let requests = [
            request("get", "", "pods", "a"),
            request("list", "", "pods", ""),
            request("list", "", "secrets", ""),
            Request {
                code: 201,
                ..request("patch", "", "events", "made")
            },
            request("patch", "", "nodes", "changed"),
            request("get", "apps", "deployments", "controller"),
        ];
        let unused = unused(ROLE, &requests).unwrap();
        let short = unused
            .iter()
            .map(|right| (&*right.verb, &*right.resource, &*right.name))
            .collect::<Vec<_>>();
        assert_eq!(
            short,
            [
                ("get", "secrets", ""),
                ("create", "nodes", ""),
                ("get", "deployments.apps", "webhooks")
            ]
        );
        assert_eq!(tell(&unused), 3, "this role has no excuse");
    }

    #[test]
    fn every_excuse_is_for_a_right_that_is_granted() {
        let granted = granted(OPERATOR).unwrap();
        for spared in SPARED {
            assert!(granted.iter().any(|right| spared.is_about(right)), "{}", spared.why);
        }
    }
}
