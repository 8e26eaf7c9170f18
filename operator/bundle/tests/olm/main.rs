//! What OLM, its validators and its scorecard demand of a bundle, as far as their own tools are not at hand everywhere.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod good_practices;
mod scorecard;
mod structure;

use std::{collections::BTreeMap, sync::LazyLock};

use metallb_bundle::Release;
use serde_json::Value;

/// Every file, made once.
pub(crate) static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| Release::current().files().unwrap());

/// The bundle's manifests, by their file names.
static MANIFESTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for (name, text) in &*FILES {
        if let Some(name) = name.strip_prefix("bundle/manifests/") {
            let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(text).unwrap();
            let mut documents = documents.into_iter().flatten();
            all.insert(name.to_owned(), documents.next().unwrap());
            assert!(documents.next().is_none(), "{name} holds more than one object");
        }
    }
    all
});

pub(crate) fn manifests() -> &'static BTreeMap<String, Value> {
    &MANIFESTS
}

pub(crate) fn csv() -> &'static Value {
    let mut all = manifests()
        .values()
        .filter(|object| object["kind"] == "ClusterServiceVersion");
    let csv = all.next().unwrap();
    assert!(all.next().is_none(), "there is more than one ClusterServiceVersion");
    csv
}

pub(crate) fn crds() -> Vec<&'static Value> {
    manifests()
        .values()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .collect()
}

pub(crate) fn owned() -> Vec<Value> {
    list(&csv()["spec"]["customresourcedefinitions"]["owned"])
}

pub(crate) fn annotation(name: &str) -> String {
    csv()["metadata"]["annotations"][name].as_str().unwrap().to_owned()
}

pub(crate) fn examples() -> Vec<Value> {
    serde_json::from_str(&annotation("alm-examples")).unwrap()
}

pub(crate) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// group/version/Kind of each served version of each definition.
pub(crate) fn provided() -> Vec<String> {
    let mut all = Vec::new();
    for crd in crds() {
        let (group, kind) = (
            crd["spec"]["group"].as_str().unwrap(),
            crd["spec"]["names"]["kind"].as_str().unwrap(),
        );
        let versions = list(&crd["spec"]["versions"]);
        all.extend(
            versions
                .iter()
                .map(|version| format!("{group}/{}/{kind}", version["name"].as_str().unwrap())),
        );
    }
    all.sort();
    all
}

/// The schema of an example's kind.
pub(crate) fn schema(object: &Value) -> Value {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap();
    let crd = crds()
        .into_iter()
        .find(|crd| crd["spec"]["group"] == group && crd["spec"]["names"]["kind"] == object["kind"])
        .unwrap();
    let versions = list(&crd["spec"]["versions"]);
    let found = versions.into_iter().find(|known| known["name"] == version);
    found.unwrap()["schema"]["openAPIV3Schema"].clone()
}
