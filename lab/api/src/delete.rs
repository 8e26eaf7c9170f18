//! DELETE: preconditions, grace, finalizers and propagation.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admission::{self, Review};
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::read;
use crate::resource::Resource;
use crate::state::lingers;
use crate::store::Key;
use crate::view;
use crate::write::success;

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
    let (objects, _) = read::selected(call, None)?;
    for object in objects {
        let mut one = call.with_params(call.params.clone());
        one.name = Some(meta::name(&object).to_owned());
        one.namespace = meta::namespace(&object).to_owned();
        delete(&one, options).await?;
    }
    Ok(success(call, &Value::Null))
}

fn dry_run(call: &Call, options: &Value) -> bool {
    call.params.dry_run() || options["dryRun"] == json!(["All"])
}

fn check_preconditions(call: &Call, options: &Value, stored: &Value) -> Result<()> {
    for (field, actual) in [
        ("uid", meta::uid(stored)),
        ("resourceVersion", meta::text(stored, "/metadata/resourceVersion")),
    ] {
        if let Some(wanted) = options["preconditions"][field].as_str().filter(|w| *w != actual) {
            let why =
                format!("Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {actual}");
            return Err(ApiError::conflict(&call.resource, meta::name(stored), &why));
        }
    }
    Ok(())
}

fn mark(resource: &Resource, object: &mut Value, call: &Call, options: &Value) {
    let given = options["gracePeriodSeconds"]
        .as_u64()
        .or_else(|| call.params.number("gracePeriodSeconds"));
    let grace = if resource.is("", "pods") {
        pod_grace(object, given)
    } else {
        0
    };
    let policy = [
        meta::text(options, "/propagationPolicy"),
        call.params.get("propagationPolicy"),
    ];
    let orphan = options["orphanDependents"] == true || policy.contains(&"Orphan");
    let deleting = meta::is_deleting(object);
    let metadata = meta::metadata(object);
    if !deleting {
        let at = k8s_openapi::jiff::Timestamp::now() + Duration::from_secs(grace);
        metadata.insert("deletionTimestamp".into(), format!("{at:.0}").into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        if resource.generation {
            let next = metadata.get("generation").and_then(Value::as_u64).unwrap_or(0) + 1;
            metadata.insert("generation".into(), next.into());
        }
        let waits = if orphan {
            Some("orphan")
        } else {
            policy.contains(&"Foreground").then_some("foregroundDeletion")
        };
        let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let (Some(finalizer), Some(list)) = (waits, list.as_array_mut())
            && !list.iter().any(|f| f == finalizer)
        {
            list.push(finalizer.into());
        }
        if list.as_array().is_some_and(Vec::is_empty) {
            metadata.remove("finalizers");
        }
    } else if metadata["deletionGracePeriodSeconds"]
        .as_u64()
        .is_some_and(|left| grace < left)
    {
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    if resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
}

/// Pods that no node runs, or that have ended, need no grace.
fn pod_grace(pod: &Value, given: Option<u64>) -> u64 {
    let idle = meta::text(pod, "/spec/nodeName").is_empty()
        || matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed");
    if idle {
        0
    } else {
        given.unwrap_or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }
}

/// Deletes an object as a controller of the cluster does: no admission, in the background.
pub(crate) fn delete_internally(server: &crate::state::Server, resource: &Resource, key: &Key) {
    loop {
        let Some(stored) = server.store().get(&resource.bucket(), key) else {
            return;
        };
        if meta::is_deleting(&stored) {
            return;
        }
        let mut object = Value::clone(&stored);
        let grace = if resource.is("", "pods") {
            pod_grace(&object, None)
        } else {
            0
        };
        let at = k8s_openapi::jiff::Timestamp::now() + Duration::from_secs(grace);
        let metadata = meta::metadata(&mut object);
        metadata.insert("deletionTimestamp".into(), format!("{at:.0}").into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
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
