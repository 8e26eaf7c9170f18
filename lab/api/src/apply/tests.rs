use serde_json::{Value, json};

use super::*;

fn manager(name: &str) -> Manager<'_> {
    Manager {
        name,
        api_version: "v1",
        subresource: None,
    }
}

fn applied(live: &Value, config: &Value, name: &str, force: bool) -> Result<Value, Vec<String>> {
    apply(live, config, &manager(name), force, Shape::root(&Value::Null))
}

#[test]
fn a_field_stays_until_all_who_apply_it_let_go() {
    let first = applied(&json!({}), &json!({"spec": {"a": 1}}), "m", false).unwrap();
    let both = applied(&first, &json!({"spec": {"a": 1, "b": 1}}), "n", false).unwrap();
    let one = applied(&both, &json!({}), "m", false).unwrap();
    assert_eq!(one["spec"], json!({"a": 1, "b": 1}));
    let none = applied(&one, &json!({}), "n", false).unwrap();
    assert_eq!(none.get("spec"), None);
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_forced() {
    let first = applied(&json!({}), &json!({"spec": {"a": 1}}), "m", false).unwrap();
    let conflicts = applied(&first, &json!({"spec": {"a": 2}}), "n", false).unwrap_err();
    assert_eq!(conflicts, ["\"m\" using v1"]);
    let forced = applied(&first, &json!({"spec": {"a": 2}}), "n", true).unwrap();
    assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    assert_eq!(forced["metadata"]["managedFields"][0]["manager"], "n");
}

#[test]
fn list_elements_are_matched_by_their_keys_and_an_unchanged_apply_changes_nothing() {
    let ports = |ports: &Value| json!({"apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"ports": ports}});
    let config = ports(&json!([{"port": 80}, {"port": 81}]));
    let first = applied(&json!({}), &config, "m", false).unwrap();
    let mut defaulted = first.clone();
    defaulted["spec"]["ports"][0]["protocol"] = "TCP".into();
    assert_eq!(applied(&defaulted, &config, "m", false).unwrap(), defaulted);
    let other = applied(&first, &ports(&json!([{"port": 443, "protocol": "UDP"}])), "n", false).unwrap();
    let fewer = applied(&other, &ports(&json!([{"port": 81, "name": "x"}])), "m", false).unwrap();
    let wanted = json!([{"port": 81, "name": "x"}, {"port": 443, "protocol": "UDP"}]);
    assert_eq!(fewer["spec"]["ports"], wanted);
}

#[test]
fn an_update_takes_ownership_of_what_it_changes() {
    let before = applied(&json!({}), &json!({"spec": {"a": 1, "b": 1}}), "m", false).unwrap();
    let mut updated = before.clone();
    updated["spec"]["a"] = 2.into();
    record_update(&before, &mut updated, &manager("n"), Shape::root(&Value::Null));
    let list = &updated["metadata"]["managedFields"];
    assert_eq!(list[0]["fieldsV1"], json!({"f:spec": {"f:b": {}}}));
    assert_eq!(
        (&list[1]["operation"], &list[1]["fieldsV1"]),
        (&json!("Update"), &json!({"f:spec": {"f:a": {}}}))
    );
}
