//! Discovery documents and the little OpenAPI that `kubectl` asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::crd;
use crate::resource::{Resource, Version};
use crate::state::Server;

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Resources that only take a POST and keep nothing: group, plural, kind.
pub(crate) const REVIEWS: [(&str, &str, &str); 5] = [
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
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
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/apis`
pub(crate) fn group_list(server: &Server) -> Value {
    let groups: Vec<Value> = groups(server)
        .iter()
        .map(|(name, versions)| group(name, versions))
        .collect();
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
    server.registry(|r| {
        r.all()
            .filter(|r| r.group == group && r.version(version).is_some())
            .cloned()
            .collect()
    })
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
        list.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"]}));
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    (!list.is_empty()).then(
        || json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}),
    )
}

fn entries(resource: &Resource, version: &Version) -> Vec<Value> {
    let mut main = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": VERBS,
    });
    if !resource.short_names.is_empty() {
        main["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        main["categories"] = json!(resource.categories);
    }
    let sub = |name: &str, kind: &str, verbs: &[&str]| json!({"name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": verbs});
    let mut list = vec![main];
    if version.status {
        list.push(sub("status", &resource.kind, &["get", "patch", "update"]));
    }
    if version.scale.is_some() {
        let mut scale = sub("scale", "Scale", &["get", "patch", "update"]);
        scale["group"] = "autoscaling".into();
        scale["version"] = "v1".into();
        list.push(scale);
    }
    if resource.is("", "serviceaccounts") {
        list.push(sub("token", "TokenRequest", &["create"]));
    }
    if resource.is("", "pods") {
        list.push(sub("eviction", "Eviction", &["create"]));
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

/// `/openapi/v2`: clients that look here find no schema and validate nothing themselves.
pub(crate) fn openapi_v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.0-lab"}, "paths": {}, "definitions": {}})
}

/// `/openapi/v3`
pub(crate) fn openapi_v3(server: &Server) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String| {
        paths.insert(
            path.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{path}")}),
        )
    };
    add("api/v1".into());
    for (name, versions) in groups(server) {
        for version in versions {
            add(format!("apis/{name}/{version}"));
        }
    }
    json!({"paths": paths})
}

/// `/openapi/v3/api/v1` and so on: that PATCH knows `fieldValidation`, and the schemas of custom resources for `kubectl explain`.
pub(crate) fn openapi_v3_group(server: &Server, group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in resources_of(server, group, version) {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let prefix = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let name = format!(
            "{}.{version}.{}",
            group.split('.').rev().collect::<Vec<_>>().join("."),
            resource.kind
        );
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let parameters = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
        let operation = |verb: &str| {
            json!({
                "parameters": parameters,
                "x-kubernetes-action": verb, "x-kubernetes-group-version-kind": kind,
                "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
            })
        };
        let path = format!("{prefix}{scope}/{}/{{name}}", resource.plural);
        paths.insert(
            path,
            json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch")}),
        );
        let mut schema = resource
            .version(version)
            .map(|v| v.schema.clone())
            .filter(Value::is_object);
        let schema = schema.get_or_insert_with(|| json!({"type": "object"}));
        schema["x-kubernetes-group-version-kind"] = json!([kind]);
        schemas.insert(name, schema.clone());
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0-lab"},
        "paths": paths, "components": {"schemas": schemas},
    })
}
