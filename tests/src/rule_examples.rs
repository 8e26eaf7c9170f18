//! The examples of the rules, as objects.

use metallb_rules::{Entry, NAME, Object, PEER};
use serde_json::{Value, json};

/// MetalLB's namespace.
pub const NAMESPACE: &str = "metallb-system";

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The version in which a kind is stored.
pub fn version(kind: &str) -> &'static str {
    if kind == "BGPPeer" {
        "metallb.io/v1beta2"
    } else {
        "metallb.io/v1beta1"
    }
}

/// The object that an example means.
pub fn object(example: &Object) -> Value {
    let mut body = yaml(example.text);
    let whole = ["metadata", "spec", "status", "data"]
        .iter()
        .any(|key| body.get(key).is_some());
    if !whole {
        body = json!({ "spec": body });
    }
    if example.kind == "BGPPeer" {
        let mut spec = yaml(PEER);
        for (key, value) in body["spec"].as_object().unwrap() {
            if value.is_null() {
                spec.as_object_mut().unwrap().remove(key);
            } else {
                spec[key] = value.clone();
            }
        }
        body["spec"] = spec;
    }
    body["apiVersion"] = version(example.kind).into();
    body["kind"] = example.kind.into();
    let mut metadata = json!({ "name": example.name, "namespace": NAMESPACE });
    for (key, value) in body["metadata"].as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    body["metadata"] = metadata;
    body
}

/// The object that an entry is about.
pub fn named(entry: &Entry, text: &'static str) -> Value {
    let kind = entry.kinds[0];
    object(&Object {
        kind,
        name: if kind == "MetalLB" { "metallb" } else { NAME },
        text,
    })
}
