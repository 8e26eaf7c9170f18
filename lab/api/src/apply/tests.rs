use serde_json::{Value, json};

use super::*;

fn manager(name: &str) -> Manager<'_> {
    Manager {
        name,
        api_version: "v1",
        subresource: None,
    }
}

fn shape() -> Shape<'static> {
    Shape::root(&Value::Null)
}

fn service(ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}})
}

#[test]
fn a_field_that_is_no_longer_applied_is_removed() {
    let first = apply(
        &json!({}),
        &json!({"spec": {"a": 1, "b": {"c": 2}}}),
        &manager("m"),
        false,
        shape(),
    )
    .unwrap();
    let second = apply(&first, &json!({"spec": {"a": 1}}), &manager("m"), false, shape()).unwrap();
    assert_eq!(second["spec"], json!({"a": 1}));
}

#[test]
fn a_field_that_two_managers_apply_stays_until_both_let_go() {
    let first = apply(&json!({}), &json!({"spec": {"a": 1}}), &manager("m"), false, shape()).unwrap();
    let both = apply(
        &first,
        &json!({"spec": {"a": 1, "b": 1}}),
        &manager("n"),
        false,
        shape(),
    )
    .unwrap();
    let one = apply(&both, &json!({}), &manager("m"), false, shape()).unwrap();
    assert_eq!(one["spec"], json!({"a": 1, "b": 1}));
    let none = apply(&one, &json!({}), &manager("n"), false, shape()).unwrap();
    assert_eq!(none.get("spec"), None);
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_forced() {
    let first = apply(&json!({}), &json!({"spec": {"a": 1}}), &manager("m"), false, shape()).unwrap();
    let conflicts = apply(&first, &json!({"spec": {"a": 2}}), &manager("n"), false, shape()).unwrap_err();
    assert_eq!(conflicts, [("\"m\" using v1".to_owned(), ".spec.a".to_owned())]);
    let forced = apply(&first, &json!({"spec": {"a": 2}}), &manager("n"), true, shape()).unwrap();
    assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    assert_eq!(forced["metadata"]["managedFields"][0]["manager"], "n");
}

#[test]
fn an_unchanged_apply_changes_nothing() {
    let config = service(&json!([{"port": 80}]));
    let first = apply(&json!({}), &config, &manager("m"), false, shape()).unwrap();
    let mut defaulted = first.clone();
    defaulted["spec"]["ports"][0]["protocol"] = "TCP".into();
    defaulted["spec"]["type"] = "ClusterIP".into();
    let again = apply(&defaulted, &config, &manager("m"), false, shape()).unwrap();
    assert_eq!(again, defaulted);
}

#[test]
fn list_elements_are_matched_by_their_keys() {
    let first = apply(
        &json!({}),
        &service(&json!([{"port": 80}, {"port": 81}])),
        &manager("m"),
        false,
        shape(),
    )
    .unwrap();
    let other = apply(
        &first,
        &service(&json!([{"port": 443, "protocol": "UDP"}])),
        &manager("n"),
        false,
        shape(),
    )
    .unwrap();
    let fewer = apply(
        &other,
        &service(&json!([{"port": 81, "name": "x"}])),
        &manager("m"),
        false,
        shape(),
    )
    .unwrap();
    assert_eq!(
        fewer["spec"]["ports"],
        json!([{"port": 81, "name": "x"}, {"port": 443, "protocol": "UDP"}])
    );
    let fields = &fewer["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        *fields,
        json!({"f:spec": {"f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}})
    );
}

#[test]
fn an_update_takes_ownership_of_what_it_changes() {
    let applied = apply(
        &json!({}),
        &json!({"spec": {"a": 1, "b": 1}}),
        &manager("m"),
        false,
        shape(),
    )
    .unwrap();
    let mut updated = applied.clone();
    updated["spec"] = json!({"a": 2});
    record_update(&applied, &mut updated, &manager("n"), shape());
    let list = updated["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["operation"], "Update");
    assert_eq!(list[0]["fieldsV1"], json!({"f:spec": {"f:a": {}}}));
}

#[test]
fn a_schema_says_which_lists_are_keyed() {
    let schema = json!({"properties": {"spec": {"properties": {
        "keyed": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"properties": {"k": {}}}},
        "plain": {"items": {}},
    }}}});
    let shape = Shape::root(&schema);
    let one = apply(
        &json!({}),
        &json!({"spec": {"keyed": [{"k": 1}], "plain": [1]}}),
        &manager("m"),
        false,
        shape,
    )
    .unwrap();
    let two = apply(
        &one,
        &json!({"spec": {"keyed": [{"k": 2}], "plain": [1]}}),
        &manager("n"),
        false,
        shape,
    )
    .unwrap();
    assert_eq!(two["spec"]["keyed"], json!([{"k": 1}, {"k": 2}]));
    assert!(apply(&two, &json!({"spec": {"plain": [2]}}), &manager("n"), false, shape).is_err());
}
