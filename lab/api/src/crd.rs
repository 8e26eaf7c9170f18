//! CustomResourceDefinitions: defaults and checks, and the resources that come and go with them.

use serde_json::{Value, json};

use crate::defaults::set;
use crate::error::Cause;
use crate::meta;
use crate::resource::{Column, Custom, Resource, Scale, Version};
use crate::schema::Rules;
use crate::state::Server;
use crate::store::Object;

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills the defaults of a definition, and the status that the real server's controllers would write.
pub(crate) fn fill(crd: &mut Value) {
    let kind = meta::text(crd, "/spec/names/kind").to_owned();
    let Some(spec) = crd.get_mut("spec") else { return };
    set(spec, "conversion", json!({"strategy": "None"}));
    set(&mut spec["names"], "singular", kind.to_lowercase());
    set(&mut spec["names"], "listKind", format!("{kind}List"));
    if let Some(service) = spec.pointer_mut("/conversion/webhook/clientConfig/service") {
        set(service, "port", 443);
    }
    establish(crd);
}

fn establish(crd: &mut Value) {
    let names = crd["spec"]["names"].clone();
    let versions = meta::array(&crd["spec"]["versions"]);
    let stored: Vec<Value> = versions
        .iter()
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone())
        .collect();
    let status = meta::member(crd, "status");
    let kept: Vec<Value> = status
        .get("storedVersions")
        .map(|l| meta::array(l).to_vec())
        .unwrap_or_default();
    let added: Vec<Value> = stored.into_iter().filter(|v| !kept.contains(v)).collect();
    status.insert("storedVersions".into(), [kept, added].concat().into());
    status.insert("acceptedNames".into(), names);
    if !status.contains_key("conditions") {
        let now = meta::now();
        let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
        let conditions = [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ];
        status.insert("conditions".into(), conditions.to_vec().into());
    }
    let metadata = meta::metadata(crd);
    if !metadata.contains_key("deletionTimestamp") {
        set_finalizer(metadata);
    }
}

fn set_finalizer(metadata: &mut serde_json::Map<String, Value>) {
    let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut().filter(|l| !l.iter().any(|f| f == CLEANUP)) {
        list.push(CLEANUP.into());
    }
}

/// Whether the finalizer that waits for the custom resources to go is still there.
pub(crate) fn awaits_cleanup(crd: &Value) -> bool {
    meta::finalizers(crd).contains(&CLEANUP)
}

/// Removes the finalizer that waits for the custom resources to go.
pub(crate) fn cleaned(crd: &mut Value) {
    if let Some(list) = crd["metadata"]["finalizers"].as_array_mut() {
        list.retain(|f| f != CLEANUP);
    }
}

/// What is wrong with a definition.
pub(crate) fn check(crd: &Value) -> Vec<Cause> {
    let spec = &crd["spec"];
    let (plural, group) = (meta::text(spec, "/names/plural"), meta::text(spec, "/group"));
    let mut causes = Vec::new();
    let expected = format!("{plural}.{group}");
    if meta::name(crd) != expected {
        causes.push(Cause::invalid(
            "metadata.name",
            &meta::name(crd).into(),
            format!("must be spec.names.plural+\".\"+spec.group, expected {expected:?}"),
        ));
    }
    let versions = meta::array(&spec["versions"]);
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &Value::Null,
            "must have exactly one version marked as storage version",
        ));
    }
    for (at, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            causes.push(Cause::required(&path, "schemas are required"));
        }
        for error in Rules::compile(schema).err().unwrap_or_default() {
            causes.push(Cause {
                field: format!("{path}.x-kubernetes-validations"),
                reason: "FieldValueInvalid",
                message: format!("Invalid value: compilation failed: {error}"),
            });
        }
    }
    let webhook = spec["conversion"]["strategy"] == "Webhook";
    if webhook && meta::array(&spec["conversion"]["webhook"]["conversionReviewVersions"]).is_empty() {
        causes.push(Cause::required("spec.conversion.webhook.conversionReviewVersions", ""));
    }
    causes
}

/// Serves the resource of a stored definition.
pub(crate) fn register(server: &Server, crd: &Object) {
    if let Some(resource) = resource(crd) {
        server.register(|registry| registry.insert(resource));
    }
}

/// Stops serving the resource of a definition that is gone.
pub(crate) fn unregister(server: &Server, crd: &Value) {
    let spec = &crd["spec"];
    server.register(|registry| registry.remove(meta::text(spec, "/group"), meta::text(spec, "/names/plural")));
}

fn owned(list: &Value) -> Vec<String> {
    meta::strings(list).into_iter().map(str::to_owned).collect()
}

fn resource(crd: &Value) -> Option<Resource> {
    let spec = &crd["spec"];
    let text = |pointer: &str| meta::text(spec, pointer).to_owned();
    let versions = meta::array(&spec["versions"]);
    let storage = versions.iter().find(|v| v["storage"] == true)?;
    let mut served: Vec<Version> = versions
        .iter()
        .filter(|v| v["served"] == true)
        .map(|v| version(v, &text("/group"), &text("/names/kind")))
        .collect();
    served.sort_by_key(|v| std::cmp::Reverse(priority(&v.name)));
    let webhook = spec["conversion"]["strategy"] == "Webhook";
    Some(Resource {
        group: text("/group"),
        kind: text("/names/kind"),
        list_kind: text("/names/listKind"),
        plural: text("/names/plural"),
        singular: text("/names/singular"),
        short_names: owned(&spec["names"]["shortNames"]),
        categories: owned(&spec["names"]["categories"]),
        namespaced: text("/scope") == "Namespaced",
        versions: served,
        storage: meta::text(storage, "/name").to_owned(),
        generation: true,
        custom: Some(Custom {
            conversion: webhook.then(|| spec["conversion"]["webhook"].clone()),
        }),
    })
}

fn version(version: &Value, group: &str, kind: &str) -> Version {
    let name = meta::text(version, "/name").to_owned();
    let schema = version["schema"]["openAPIV3Schema"].clone();
    let scale = version["subresources"].get("scale").map(|scale| Scale {
        spec: meta::text(scale, "/specReplicasPath").to_owned(),
        status: meta::text(scale, "/statusReplicasPath").to_owned(),
        selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
    });
    let deprecated = version["deprecated"] == true;
    let warning = version["deprecationWarning"].as_str().map(str::to_owned);
    let deprecation = deprecated.then(|| warning.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated")));
    Version {
        status: version["subresources"].get("status").is_some_and(Value::is_object),
        scale,
        rules: Rules::compile(&schema).ok(),
        schema,
        columns: meta::array(&version["additionalPrinterColumns"])
            .iter()
            .map(column)
            .collect(),
        deprecation,
        name,
    }
}

fn column(column: &Value) -> Column {
    let text = |name: &str| column[name].as_str().unwrap_or("").to_owned();
    Column {
        name: text("name"),
        kind: text("type"),
        priority: column["priority"].as_i64().unwrap_or(0),
        path: text("jsonPath"),
    }
}

/// The order of Kubernetes versions: GA before beta before alpha, the higher number first.
pub(crate) fn priority(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, tail) = (rest[..digits].parse().unwrap_or(0), &rest[digits..]);
    let minor = |tail: &str| tail.parse().unwrap_or(0);
    match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        (Some(n), _) => (2, major, minor(n)),
        (_, Some(n)) => (1, major, minor(n)),
        _ => (3, major, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "v1beta1", "v1", "v2", "v1beta2"];
        versions.sort_by_key(|v| std::cmp::Reverse(priority(v)));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1"]);
    }
}
