//! CustomResourceDefinitions: defaults, checks, and the resources that they describe.

use serde_json::{Value, json};

use crate::meta::{self, set};
use crate::resource::{Column, Custom, Resource, Version};

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
    let versions = meta::array(&crd["spec"]["versions"]).iter();
    let stored: Vec<Value> = versions
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone())
        .collect();
    let status = meta::child(crd, "status");
    let mut versions = meta::array(&status["storedVersions"]).to_vec();
    versions.extend(
        stored
            .into_iter()
            .filter(|v| !meta::array(&status["storedVersions"]).contains(v)),
    );
    status["storedVersions"] = versions.into();
    status["acceptedNames"] = names;
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": meta::now()});
    let conditions = ["NamesAccepted", "Established"].map(condition);
    set(status, "conditions", conditions.to_vec());
}

fn owned(list: &Value) -> Vec<String> {
    meta::strings(list).into_iter().map(str::to_owned).collect()
}

/// The resource that a definition is about.
pub(crate) fn resource(crd: &Value) -> Option<Resource> {
    let spec = &crd["spec"];
    let text = |pointer: &str| meta::text(spec, pointer).to_owned();
    let versions = meta::array(&spec["versions"]);
    let storage = versions.iter().find(|v| v["storage"] == true)?;
    let mut served: Vec<Version> = versions.iter().filter(|v| v["served"] == true).map(version).collect();
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

fn version(version: &Value) -> Version {
    let name = meta::text(version, "/name").to_owned();
    let schema = version["schema"]["openAPIV3Schema"].clone();
    Version {
        status: version["subresources"].get("status").is_some_and(Value::is_object),
        schema,
        columns: meta::array(&version["additionalPrinterColumns"])
            .iter()
            .map(column)
            .collect(),
        name,
    }
}

fn column(column: &Value) -> Column {
    let text = |pointer: &str| meta::text(column, pointer);
    Column {
        priority: column["priority"].as_i64().unwrap_or(0),
        ..Column::new(text("/name"), text("/type"), text("/jsonPath"))
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
