//! Discovery documents and the little OpenAPI that `kubectl` asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::crd;
use crate::resource::{Resource, Version};
use crate::state::Server;

const VERBS: &str = "create delete deletecollection get list patch update watch";

const TOKENS: &str = "authentication.k8s.io";
const RIGHTS: &str = "authorization.k8s.io";

/// Resources that only take a POST and keep nothing: group, plural, kind.
pub(crate) const REVIEWS: [(&str, &str, &str); 4] = [
    (TOKENS, "tokenreviews", "TokenReview"),
    (RIGHTS, "subjectaccessreviews", "SubjectAccessReview"),
    (RIGHTS, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    (RIGHTS, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
];

/// Groups with their versions, the preferred one first. The core group is left out.
fn groups(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    server.registry(|registry| {
        for resource in registry.all().filter(|r| !r.group.is_empty()) {
            let versions = groups.entry(resource.group.clone()).or_default();
            for version in &resource.versions {
                if !versions.contains(&version.name) {
                    versions.push(version.name.clone());
                }
            }
        }
    });
    for versions in groups.values_mut() {
        versions.sort_by_key(|v| std::cmp::Reverse(crd::priority(v)));
    }
    for (group, _, _) in REVIEWS {
        groups.entry(group.to_owned()).or_insert_with(|| vec!["v1".into()]);
    }
    groups
}

fn group(name: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/apis`
pub(crate) fn group_list(server: &Server) -> Value {
    let groups = groups(server);
    let groups: Vec<Value> = groups.iter().map(|(name, versions)| group(name, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`
pub(crate) fn one_group(server: &Server, name: &str) -> Option<Value> {
    let mut answer = group(name, groups(server).get(name)?);
    answer["kind"] = "APIGroup".into();
    answer["apiVersion"] = "v1".into();
    Some(answer)
}

/// `/api`
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

fn resources_of(server: &Server, group: &str, version: &str) -> Vec<Arc<Resource>> {
    let served = |r: &&Arc<Resource>| r.group == group && r.version(version).is_some();
    server.registry(|r| r.all().filter(served).cloned().collect())
}

/// `/api/v1` and `/apis/<group>/<version>`
pub(crate) fn resource_list(server: &Server, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in resources_of(server, group, version) {
        if let Some(v) = resource.version(version) {
            list.extend(entries(&resource, v));
        }
    }
    for (_, plural, kind) in REVIEWS.iter().filter(|(g, _, _)| *g == group && version == "v1") {
        let singular = kind.to_lowercase();
        list.push(
            json!({"name": plural, "singularName": singular, "namespaced": false, "kind": kind, "verbs": ["create"]}),
        );
    }
    let group_version = format!("{group}/{version}");
    let group_version = group_version.trim_start_matches('/');
    let answer =
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list});
    (!list.is_empty()).then_some(answer)
}

fn entries(resource: &Resource, version: &Version) -> Vec<Value> {
    let verbs: Vec<&str> = VERBS.split(' ').collect();
    let main = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs, "shortNames": resource.short_names, "categories": resource.categories,
    });
    let sub = |name: &str, kind: &str, verbs: &[&str]| {
        let name = format!("{}/{name}", resource.plural);
        json!({"name": name, "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": verbs})
    };
    let mut list = vec![main];
    if version.status {
        list.push(sub("status", &resource.kind, &["get", "patch", "update"]));
    }
    if resource.is("", "serviceaccounts") {
        list.push(sub("token", "TokenRequest", &["create"]));
    }
    list
}

/// `/version`
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0-lab", "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
