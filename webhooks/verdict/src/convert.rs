//! Conversion between the served versions, as pure functions over JSON.
//!
//! BGPPeer v1beta1 lacks fields of v1beta2. They travel in an annotation, so that whoever reads and writes the old
//! version loses nothing.
//!
//! Upstream: drops them (W-40).

use serde_json::{Map, Value, json};
use thiserror::Error;

/// The old version.
pub const V1BETA1: &str = "metallb.io/v1beta1";
/// The stored version of BGPPeer.
pub const V1BETA2: &str = "metallb.io/v1beta2";
/// Served for AddressPool only.
const V1ALPHA1: &str = "metallb.io/v1alpha1";

/// Where the fields that v1beta1 lacks are kept.
pub const ANNOTATION: &str = "metallb.io/v1beta2-fields";

/// The fields of v1beta2 that v1beta1 lacks.
const NEWER_FIELDS: [&str; 10] = [
    "localASN",
    "dynamicASN",
    "interface",
    "connectTime",
    "passwordSecret",
    "enableGracefulRestart",
    "vrf",
    "disableMP",
    "dualStackAddressFamily",
    "ttlSecurity",
];

/// In v1beta1 a zero means the default, in v1beta2 it switches the timers off.
const TIMERS: [&str; 2] = ["holdTime", "keepaliveTime"];

/// Why an object cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// Not a JSON object, or without version and kind.
    #[error("not a Kubernetes object")]
    NotAnObject,
    /// Nothing known about this pair of versions.
    #[error("cannot convert {kind} from {from} to {to}")]
    Unknown {
        /// Kind of the object.
        kind: String,
        /// Its version.
        from: String,
        /// The version asked for.
        to: String,
    },
}

/// Converts one object to the version asked for.
///
/// # Errors
/// When it is no Kubernetes object or a version is not known.
pub fn convert(object: &Value, to: &str) -> Result<Value, ConvertError> {
    let text = |field| {
        object
            .get(field)
            .and_then(Value::as_str)
            .ok_or(ConvertError::NotAnObject)
    };
    let (kind, from) = (text("kind")?, text("apiVersion")?);
    let mut converted = object.clone();
    match (kind, from, to) {
        (_, from, to) if from == to => {}
        ("BGPPeer", V1BETA1, V1BETA2) => newer(&mut converted),
        ("BGPPeer", V1BETA2, V1BETA1) => older(&mut converted),
        // Both versions of the legacy pool have one schema.
        ("AddressPool", V1ALPHA1 | V1BETA1, V1ALPHA1 | V1BETA1) => {}
        _ => {
            let owned = str::to_owned;
            return Err(ConvertError::Unknown {
                kind: owned(kind),
                from: owned(from),
                to: owned(to),
            });
        }
    }
    converted["apiVersion"] = to.into();
    Ok(converted)
}

/// The spec as a map; what is no map is left as it is, for the schema to refuse.
fn spec(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("spec")?.as_object_mut()
}

fn older(object: &mut Value) {
    let mut kept = Map::new();
    if let Some(spec) = spec(object) {
        for field in NEWER_FIELDS {
            // False is what absent means, except where leaving it out could not be undone.
            let value = spec.remove(field).filter(|value| !value.is_null());
            if let Some(value) = value.filter(|value| field == "enableGracefulRestart" || *value != json!(false)) {
                kept.insert(field.to_owned(), value);
            }
        }
        for field in TIMERS {
            if let Some(value) = spec.get(field).filter(|value| is_zero(value)) {
                kept.insert(field.to_owned(), value.clone());
            }
        }
        spec.entry("peerAddress").or_insert_with(|| "".into());
        spec.entry("peerASN").or_insert_with(|| 0.into());
        for expression in expressions(spec) {
            // The old schema wants at least one value, whatever the operator.
            let values = expression.get("values").and_then(Value::as_array);
            if values.is_none_or(Vec::is_empty) {
                expression.insert("values".to_owned(), json!([""]));
            }
        }
    }
    annotate(object, (!kept.is_empty()).then(|| Value::Object(kept).to_string()));
}

fn newer(object: &mut Value) {
    let annotation = annotate(object, None);
    let kept: Map<String, Value> = annotation
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let Some(spec) = spec(object) else { return };
    let absent = |spec: &Map<String, Value>, field: &str, nothing: &Value| {
        spec.get(field).is_none_or(|value| value.is_null() || value == nothing)
    };
    for (field, nothing) in [
        ("peerAddress", json!("")),
        ("peerASN", json!(0)),
        ("peerPort", json!(0)),
    ] {
        if absent(spec, field, &nothing) {
            spec.remove(field);
        }
    }
    for field in TIMERS {
        if spec.get(field).is_some_and(|value| value.is_null() || is_zero(value)) {
            spec.remove(field);
        }
    }
    for (field, value) in kept {
        // What the old version can say wins over what was kept.
        let overruled = match field.as_str() {
            "dynamicASN" => spec.contains_key("peerASN"),
            "interface" => spec.contains_key("peerAddress"),
            "passwordSecret" => spec.get("password").is_some_and(|password| *password != json!("")),
            timer if TIMERS.contains(&timer) => spec.contains_key(timer),
            other => !NEWER_FIELDS.contains(&other),
        };
        if !overruled {
            spec.insert(field, value);
        }
    }
    for expression in expressions(spec) {
        let operator = expression.get("operator").and_then(Value::as_str);
        let presence = matches!(operator, Some("Exists" | "DoesNotExist"));
        if presence && expression.get("values") == Some(&json!([""])) {
            expression.remove("values");
        }
    }
}

/// All match expressions of all node selectors.
fn expressions(spec: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let selectors = spec
        .get_mut("nodeSelectors")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    let lists = selectors.filter_map(|selector| selector.get_mut("matchExpressions").and_then(Value::as_array_mut));
    lists.flatten().filter_map(Value::as_object_mut)
}

/// Replaces our annotation and returns the old one.
fn annotate(object: &mut Value, text: Option<String>) -> Option<String> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    let old = annotations.and_then(|annotations| annotations.remove(ANNOTATION));
    match text {
        Some(text) => {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if annotations.is_null() {
                *annotations = json!({});
            }
            annotations.as_object_mut()?.insert(ANNOTATION.to_owned(), text.into());
        }
        None if metadata.get("annotations") == Some(&json!({})) => {
            metadata.remove("annotations");
        }
        None => {}
    }
    old?.as_str().map(ToOwned::to_owned)
}

/// Go writes a zero duration as `0s`.
fn is_zero(value: &Value) -> bool {
    let parsed = value.as_str().map(|text| metallb_api::GoDuration::new(text).parse());
    parsed.is_some_and(|duration| duration.is_ok_and(|duration| duration.is_zero()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[allow(clippy::needless_pass_by_value)]
    fn peer(version: &str, spec: Value) -> Value {
        json!({ "apiVersion": version, "kind": "BGPPeer", "metadata": { "name": "p", "labels": { "a": "b" } }, "spec": spec })
    }

    fn full() -> Value {
        json!({
            "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "sourceAddress": "10.0.0.2", "peerPort": 1179,
            "holdTime": "9s", "keepaliveTime": "3s", "routerID": "1.1.1.1", "password": "x", "bfdProfile": "b",
            "ebgpMultiHop": true, "nodeSelectors": [
                { "matchLabels": { "a": "b" } },
                { "matchExpressions": [
                    { "key": "k", "operator": "Exists" }, { "key": "k", "operator": "In", "values": ["v"] }] },
            ],
        })
    }

    fn with(mut spec: Value, changes: &Value) -> Value {
        for (key, value) in changes.as_object().unwrap() {
            if value.is_null() {
                spec.as_object_mut().unwrap().remove(key);
            } else {
                spec[key] = value.clone();
            }
        }
        spec
    }

    #[rstest] // W-40
    #[case(json!({}))]
    #[case(json!({ "localASN": 7, "connectTime": "10s", "vrf": "red", "dualStackAddressFamily": true,
        "ttlSecurity": true }))]
    #[case(json!({ "peerASN": null, "dynamicASN": "external" }))]
    #[case(json!({ "peerAddress": null, "interface": "eth0" }))]
    #[case(json!({ "password": null, "passwordSecret": { "name": "s", "namespace": "n" } }))]
    #[case(json!({ "enableGracefulRestart": true }))]
    #[case(json!({ "enableGracefulRestart": false }))]
    #[case(json!({ "holdTime": "0s", "keepaliveTime": "0s" }))]
    #[case(json!({ "holdTime": null, "keepaliveTime": null }))]
    #[case(json!({ "peerPort": null, "nodeSelectors": null }))]
    fn there_and_back_nothing_is_lost(#[case] changes: Value) {
        let stored = peer(V1BETA2, with(full(), &changes));
        let old = convert(&stored, V1BETA1).unwrap();
        assert_eq!(old["apiVersion"], V1BETA1);
        assert_eq!(convert(&old, V1BETA2).unwrap(), stored);
    }

    #[test]
    fn what_the_old_version_shows_fits_its_schema() {
        let spec = with(
            full(),
            &json!({ "peerASN": null, "dynamicASN": "internal", "peerAddress": null, "interface": "e" }),
        );
        let old = convert(&peer(V1BETA2, spec), V1BETA1).unwrap();
        assert_eq!(
            (&old["spec"]["peerASN"], &old["spec"]["peerAddress"]),
            (&json!(0), &json!(""))
        );
        let expressions = &old["spec"]["nodeSelectors"][1]["matchExpressions"];
        assert_eq!(
            (&expressions[0]["values"], &expressions[1]["values"]),
            (&json!([""]), &json!(["v"]))
        );
        serde_json::from_value::<metallb_api::bgp_peer::v1beta1::BGPPeer>(old).unwrap();
    }

    #[test]
    fn an_object_that_the_old_version_can_say_carries_no_annotation() {
        let old = convert(&peer(V1BETA2, full()), V1BETA1).unwrap();
        assert_eq!(old["metadata"], json!({ "name": "p", "labels": { "a": "b" } }));
    }

    #[test] // W-40: zero meant the default, up to 0.14.8 and for everybody who wrote v1beta1
    fn zeroes_of_the_old_version_mean_the_default() {
        let old = peer(
            V1BETA1,
            with(
                full(),
                &json!({ "holdTime": "0s", "keepaliveTime": "0s", "peerPort": 0 }),
            ),
        );
        let new = convert(&old, V1BETA2).unwrap();
        for field in ["holdTime", "keepaliveTime", "peerPort"] {
            assert_eq!(new["spec"].get(field), None, "{field}");
        }
    }

    #[test]
    fn what_is_changed_in_the_old_version_wins() {
        let stored = peer(
            V1BETA2,
            with(
                full(),
                &json!({ "peerASN": null, "dynamicASN": "external", "holdTime": "0s", "vrf": "red" }),
            ),
        );
        let mut old = convert(&stored, V1BETA1).unwrap();
        old["spec"]["peerASN"] = 7.into();
        old["spec"]["holdTime"] = "30s".into();
        let new = convert(&old, V1BETA2).unwrap();
        let spec = &new["spec"];
        assert_eq!(
            (&spec["peerASN"], &spec["holdTime"], &spec["vrf"]),
            (&json!(7), &json!("30s"), &json!("red"))
        );
        assert_eq!(spec.get("dynamicASN"), None);
    }

    #[rstest]
    #[case(json!("{"))]
    #[case(json!("{\"myASN\": 9, \"unknown\": 1}"))]
    #[case(json!(7))]
    fn a_forged_annotation_changes_nothing(#[case] annotation: Value) {
        let mut old = peer(V1BETA1, full());
        old["metadata"]["annotations"] = json!({ ANNOTATION: annotation, "other": "stays" });
        let mut expected = peer(V1BETA2, full());
        expected["metadata"]["annotations"] = json!({ "other": "stays" });
        assert_eq!(convert(&old, V1BETA2).unwrap(), expected);
    }

    #[test]
    fn legacy_pools_are_copied() {
        let pool =
            json!({ "apiVersion": V1ALPHA1, "kind": "AddressPool", "metadata": {}, "spec": { "protocol": "bgp" } });
        let converted = convert(&pool, V1BETA1).unwrap();
        assert_eq!(
            (&converted["apiVersion"], &converted["spec"]),
            (&json!(V1BETA1), &pool["spec"])
        );
    }

    #[rstest]
    #[case(json!(7), V1BETA2)]
    #[case(json!({ "kind": "BGPPeer" }), V1BETA2)]
    #[case(json!({ "kind": "BGPPeer", "apiVersion": V1BETA1 }), "metallb.io/v1")]
    #[case(json!({ "kind": "Community", "apiVersion": V1BETA1 }), V1BETA2)]
    fn anything_else_is_an_error(#[case] object: Value, #[case] to: &str) {
        assert!(convert(&object, to).is_err());
    }

    #[rstest]
    #[case(json!({ "spec": 7, "metadata": 7 }))]
    #[case(json!({ "spec": { "nodeSelectors": [1, { "matchExpressions": [2, { "values": 3 }] }], "holdTime": 4 }, "metadata": { "annotations": 5 } }))]
    #[case(json!({}))]
    fn a_malformed_object_makes_nothing_panic(#[case] mut object: Value) {
        object["kind"] = "BGPPeer".into();
        for (from, to) in [(V1BETA1, V1BETA2), (V1BETA2, V1BETA1)] {
            object["apiVersion"] = from.into();
            convert(&object, to).unwrap();
        }
    }
}
