//! DELETE: preconditions, grace, finalizers and propagation.

use serde_json::{Value, json};

use crate::admission::{self, Review};
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::read;
use crate::resource::Resource;
use crate::state::{Server, lingers};
use crate::store::Key;
use crate::view;

/// Deletes the named object; answers with it if something still holds it.
pub(crate) async fn delete(call: &Call, options: &Value) -> Result<Value> {
    let key = call.key()?;
    loop {
        let stored = read::stored(call)?;
        check_preconditions(call, options, &stored)?;
        let old = read::presented(call, stored.clone()).await?;
        let review = Review {
            operation: "DELETE",
            name: &key.name,
            object: None,
            old: Some(&old),
        };
        admission::admit(call, &review).await?;
        if dry_run(call, options) {
            return Ok(success(call, &stored));
        }
        let mut object = Value::clone(&stored);
        mark(&call.resource, &mut object, call, options);
        if meta::finalizers(&object).is_empty() && !lingers(&call.resource, &object) {
            if call.server.remove(&call.resource, &key, &stored).is_some() {
                return Ok(success(call, &stored));
            }
        } else if object == *stored {
            return Ok(view::one(call, &old));
        } else if let Some(stored) = call.server.commit(&call.resource, &key, Some(&stored), object) {
            let object = read::presented(call, stored).await?;
            return Ok(view::one(call, &object));
        }
    }
}

/// Deletes every selected object of the collection.
pub(crate) async fn collection(call: &Call, options: &Value) -> Result<Value> {
    let (objects, _) = read::selected(call)?;
    for object in objects {
        let mut one = call.clone();
        one.name = Some(meta::name(&object).to_owned());
        one.namespace = meta::namespace(&object).to_owned();
        delete(&one, options).await?;
    }
    Ok(success(call, &Value::Null))
}

/// The `Status` that tells of a success without an object.
fn success(call: &Call, object: &Value) -> Value {
    let mut details = json!({"group": call.resource.group, "kind": call.resource.plural});
    // A deleted collection has neither name nor uid, and clients refuse a null.
    if let Some(name) = &call.name {
        details["name"] = name.as_str().into();
        details["uid"] = meta::uid(object).into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn dry_run(call: &Call, options: &Value) -> bool {
    call.params.dry_run() || options["dryRun"] == json!(["All"])
}

fn check_preconditions(call: &Call, options: &Value, stored: &Value) -> Result<()> {
    for field in ["uid", "resourceVersion"] {
        let actual = &stored["metadata"][field];
        let wanted = &options["preconditions"][field];
        if !wanted.is_null() && wanted != actual {
            let why = format!("Precondition failed: {field} in precondition: {wanted}, in object meta: {actual}");
            return Err(ApiError::conflict(&call.resource, meta::name(stored), &why));
        }
    }
    Ok(())
}

fn mark(resource: &Resource, object: &mut Value, call: &Call, options: &Value) {
    let given = options["gracePeriodSeconds"].as_u64();
    let given = given.or_else(|| call.params.number("gracePeriodSeconds"));
    let grace = grace(resource, object, given);
    if meta::is_deleting(object) {
        let left = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
        if left.is_some_and(|left| grace < left) {
            object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        }
        return;
    }
    begin(object, grace);
    let metadata = meta::metadata(object);
    if resource.generation {
        let next = metadata.get("generation").and_then(Value::as_u64).unwrap_or(0) + 1;
        metadata.insert("generation".into(), next.into());
    }
    let policy = [
        meta::text(options, "/propagationPolicy"),
        call.params.get("propagationPolicy"),
    ];
    if policy.contains(&"Orphan")
        && let Some(list) = metadata.entry("finalizers").or_insert_with(|| json!([])).as_array_mut()
    {
        list.push("orphan".into());
    }
    if resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
}

fn begin(object: &mut Value, grace: u64) {
    let metadata = meta::metadata(object);
    metadata.insert("deletionTimestamp".into(), meta::in_seconds(grace).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// Pods that no node runs, or that have ended, need no grace, nor does anything else.
fn grace(resource: &Resource, object: &Value, given: Option<u64>) -> u64 {
    let idle = meta::text(object, "/spec/nodeName").is_empty()
        || matches!(meta::text(object, "/status/phase"), "Succeeded" | "Failed");
    if idle || !resource.is("", "pods") {
        return 0;
    }
    given.unwrap_or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
}

/// Deletes an object as a controller of the cluster does: no admission, in the background.
pub(crate) fn delete_internally(server: &Server, resource: &Resource, key: &Key) {
    loop {
        let Some(stored) = server.store().get(&resource.bucket(), key) else {
            return;
        };
        if meta::is_deleting(&stored) {
            return;
        }
        let mut object = Value::clone(&stored);
        begin(&mut object, grace(resource, &stored, None));
        let done = if meta::finalizers(&object).is_empty() && !lingers(resource, &object) {
            server.remove(resource, key, &stored).is_some()
        } else {
            server.commit(resource, key, Some(&stored), object).is_some()
        };
        if done {
            return;
        }
    }
}
