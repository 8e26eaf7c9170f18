//! Which packages are linked, and the bill that lists them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::{Value, json};

/// Finds the packages that are linked into `root`, and `root` itself, sorted by name and version.
///
/// # Errors
/// There is no such package.
pub(crate) fn linked<'a>(metadata: &'a Value, root: &str) -> anyhow::Result<Vec<&'a Value>> {
    let packages: BTreeMap<&str, &Value> = items(&metadata["packages"])
        .filter_map(|item| Some((item["id"].as_str()?, item)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = items(&metadata["resolve"]["nodes"])
        .filter_map(|item| Some((item["id"].as_str()?, item)))
        .collect();
    let found = packages.iter().find(|(_, package)| package["name"] == root);
    let (root, _) = found.with_context(|| format!("the workspace has no package {root}"))?;
    let (mut seen, mut open) = (BTreeSet::new(), vec![*root]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(nodes.get(id).into_iter().flat_map(|node| normal(node)));
        }
    }
    let mut linked: Vec<_> = seen.iter().filter_map(|id| packages.get(id).copied()).collect();
    linked.sort_by_key(|package| (package["name"].to_string(), package["version"].to_string()));
    Ok(linked)
}

/// The dependencies of a package that are neither for its build nor for its tests.
fn normal(node: &Value) -> impl Iterator<Item = &str> {
    let linked = |dependency: &&Value| items(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
    items(&node["deps"])
        .filter(linked)
        .filter_map(|dependency| dependency["pkg"].as_str())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Lists packages as CycloneDX has it.
///
/// # Errors
/// The root is not among them.
pub(crate) fn bill(linked: &[&Value], root: &str) -> anyhow::Result<Value> {
    let main = linked
        .iter()
        .find(|package| package["name"] == root)
        .context("the root is linked into itself")?;
    let components: Vec<_> = linked
        .iter()
        .filter(|package| package["name"] != root)
        .map(|package| component(package))
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(main) },
        "components": components,
    }))
}

fn component(package: &Value) -> Value {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    let purl = format!("pkg:cargo/{}@{}", text("name"), text("version"));
    json!({
        "type": if text("name") == "metallb-image" { "application" } else { "library" },
        "bom-ref": purl,
        "name": text("name"),
        "version": text("version"),
        "purl": purl,
        // What older packages write for OR is no expression of SPDX.
        "licenses": [{ "expression": text("license").replace(" / ", " OR ").replace('/', " OR ") }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Value {
        let package = |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0" });
        let uses = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let packages = ["root", "linked", "deep", "builds", "tests"].map(package);
        json!({
            "packages": packages,
            "resolve": { "nodes": [
                { "id": "root", "deps": [uses("linked", Value::Null), uses("builds", json!("build")), uses("tests", json!("dev"))] },
                { "id": "linked", "deps": [uses("deep", Value::Null)] },
            ]},
        })
    }

    #[test]
    fn what_only_builds_or_tests_is_not_linked() {
        let metadata = metadata();
        let linked = linked(&metadata, "root").unwrap();
        let names: Vec<_> = linked.iter().map(|package| package["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["deep", "linked", "root"]);
        let bill = bill(&linked, "root").unwrap();
        assert_eq!(bill["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["components"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_package_is_an_error() {
        assert!(linked(&metadata(), "none").is_err());
    }
}
