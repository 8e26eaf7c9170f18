//! Creating and changing objects: everything between a decoded body and the store.

use serde_json::{Value, json};

use crate::admission::{self, Review};
use crate::apply;
use crate::call::Call;
use crate::convert;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::patch::Patch;
use crate::read;
use crate::shape::Shape;
use crate::state::{self, lingers};
use crate::store::{Key, Object};
use crate::{accept, defaults, service};

/// How often a patch is tried again when another writer was faster.
const ATTEMPTS: usize = 16;

/// Stores a new object.
pub(crate) async fn create(call: &Call, body: Value) -> Result<Value> {
    make(call, body, false).await
}

async fn make(call: &Call, mut object: Value, applied: bool) -> Result<Value> {
    let resource = &call.resource;
    identify(call, &mut object)?;
    let name = meta::name(&object).to_owned();
    namespace_accepts(call, &name)?;
    let key = Key::new(&call.namespace, &name);
    if call.server.store().get(&resource.bucket(), &key).is_some() {
        return Err(ApiError::exists(resource, &name));
    }
    state::initialise(resource, &mut object);
    if call.served()?.status {
        object.as_object_mut().map(|map| map.remove("status"));
    }
    let mut object = accept::decoded(call, object)?;
    if !applied {
        object["metadata"].as_object_mut().map(|m| m.remove("managedFields"));
        record(call, &json!({}), &mut object);
    }
    complete(call, &mut object, None)?;
    let made = finish_create(call, &key, &object).await;
    if resource.is("", "services") && (made.is_err() || call.params.dry_run()) {
        // Addresses that were taken for an object that did not come to be.
        call.server.nets().release(&object);
    }
    made
}

fn record(call: &Call, old: &Value, object: &mut Value) {
    let api_version = call.api_version();
    let manager = call.field_manager(&api_version);
    apply::record_update(old, object, &manager, Shape::root(call.schema()));
}

async fn finish_create(call: &Call, key: &Key, object: &Value) -> Result<Value> {
    let review = Review {
        operation: "CREATE",
        name: &key.name,
        object: Some(object),
        old: None,
    };
    admission::admit(call, &review).await?;
    let storable = convert::storable(&call.server, &call.resource, object.clone()).await?;
    if call.params.dry_run() {
        return Ok(object.clone());
    }
    let stored = call.server.commit(&call.resource, key, None, storable);
    let stored = stored.ok_or_else(|| ApiError::exists(&call.resource, &key.name))?;
    Ok(Value::clone(&*read::presented(call, stored).await?))
}

/// Checks kind, name and namespace against the path, and makes up a name if one is to be generated.
fn identify(call: &Call, object: &mut Value) -> Result<()> {
    let resource = &call.resource;
    let (api_version, kind) = (call.api_version(), resource.kind.as_str());
    let namespace = call.namespace.as_str();
    let places = [
        ("/apiVersion", api_version.as_str()),
        ("/kind", kind),
        ("/metadata/namespace", namespace),
    ];
    for (place, wanted) in places.into_iter().take(if resource.namespaced { 3 } else { 2 }) {
        let sent = meta::text(object, place);
        if !sent.is_empty() && sent != wanted {
            let why = format!("the object does not match the request: {place} is {sent:?} and not {wanted:?}");
            return Err(ApiError::bad_request(why));
        }
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    let metadata = meta::metadata(object);
    metadata.remove("namespace");
    if resource.namespaced {
        metadata.insert("namespace".into(), namespace.into());
    }
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let (mut name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && !prefix.is_empty() {
        name = format!("{prefix}{}", meta::suffix(5));
    }
    if name.is_empty() || name.contains(['/', '%']) {
        return Err(ApiError::invalid(resource, &name, "metadata.name", "is no name"));
    }
    metadata.insert("name".into(), name.into());
    Ok(())
}

fn namespace_accepts(call: &Call, name: &str) -> Result<()> {
    if !call.resource.namespaced {
        return Ok(());
    }
    let place = &call.namespace;
    let namespaces = call.server.registry(|r| r.get("", "namespaces"));
    let namespaces = namespaces.ok_or_else(ApiError::no_such_path)?;
    let namespace = call.server.store().get("namespaces", &Key::new("", place));
    let namespace = namespace.ok_or_else(|| ApiError::not_found(&namespaces, place))?;
    if meta::is_deleting(&namespace) {
        let what = format!("{} {name:?} is forbidden", call.resource.qualified());
        let why = format!("unable to create new content in namespace {place} because it is being terminated");
        return Err(ApiError::new(403, "Forbidden", format!("{what}: {why}")));
    }
    Ok(())
}

/// Fills in what the server adds.
fn complete(call: &Call, object: &mut Value, old: Option<&Value>) -> Result<()> {
    defaults::fill(&call.resource, object);
    if call.resource.is("", "services") {
        service::complete(&call.resource, object, old, &mut call.server.nets())?;
    }
    Ok(())
}

/// Replaces an object (PUT).
pub(crate) async fn replace(call: &Call, mut body: Value) -> Result<Value> {
    identify(call, &mut body)?;
    let key = call.key()?;
    let (sent, name) = (
        meta::text(&body, "/metadata/resourceVersion").to_owned(),
        meta::name(&body),
    );
    if name != key.name {
        let why = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(ApiError::bad_request(why));
    }
    if sent.is_empty() && call.resource.custom.is_some() {
        let why = "must be specified for an update";
        return Err(ApiError::invalid(
            &call.resource,
            &key.name,
            "metadata.resourceVersion",
            why,
        ));
    }
    for attempt in 1.. {
        match replace_once(call, &key, &body).await {
            // The client named no revision: whatever is there now may be replaced.
            Err(error) if sent.is_empty() && error.is_lost_race() && attempt < ATTEMPTS => {}
            done => return done,
        }
    }
    unreachable!("the last attempt returns")
}

async fn replace_once(call: &Call, key: &Key, body: &Value) -> Result<Value> {
    let stored = read::stored(call)?;
    let old = Value::clone(&*read::presented(call, stored.clone()).await?);
    change(call, key, &stored, &old, body.clone(), false).await
}

/// Patches an object; an apply makes it if there is none. The flag says whether it was made.
pub(crate) async fn patch(call: &Call, patch: &Patch) -> Result<(Value, bool)> {
    let key = call.key()?;
    let applied = matches!(patch, Patch::Apply(_));
    if applied && call.params.get("fieldManager").is_empty() {
        return Err(ApiError::bad_request("fieldManager: is required for apply patch"));
    }
    for attempt in 1.. {
        match patch_once(call, &key, patch).await {
            Err(error) if error.is_lost_race() && attempt < ATTEMPTS => {}
            done => return done,
        }
    }
    unreachable!("the last attempt returns")
}

async fn patch_once(call: &Call, key: &Key, patch: &Patch) -> Result<(Value, bool)> {
    let applied = matches!(patch, Patch::Apply(_));
    let api_version = call.api_version();
    let manager = call.field_manager(&api_version);
    let found = call.server.store().get(&call.resource.bucket(), key);
    let Some(stored) = found else {
        if !applied || call.subresource.is_some() {
            return Err(ApiError::not_found(&call.resource, &key.name));
        }
        let object = patch.run(&json!({"metadata": {"name": key.name}}), &manager, true, call.schema())?;
        return Ok((make(call, object, true).await?, true));
    };
    let old = Value::clone(&*read::presented(call, stored.clone()).await?);
    let mut object = patch.run(&old, &manager, call.params.flag("force"), call.schema())?;
    identify(call, &mut object)?;
    Ok((change(call, key, &stored, &old, object, applied).await?, false))
}

/// Brings `object` in place of `old` (both in the version of the request).
async fn change(
    call: &Call,
    key: &Key,
    stored: &Object,
    old: &Value,
    mut object: Value,
    applied: bool,
) -> Result<Value> {
    let resource = &call.resource;
    check_identity(call, old, &object)?;
    restrict(call, old, &mut object)?;
    let mut object = accept::decoded(call, object)?;
    complete(call, &mut object, Some(old))?;
    if resource.generation && accept::spec_changed(resource, old, &object) {
        let next = old["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = next.into();
    }
    if !applied {
        record(call, old, &mut object);
    }
    if accept::unchanged(old, &object) {
        return Ok(old.clone());
    }
    let review = Review {
        operation: "UPDATE",
        name: &key.name,
        object: Some(&object),
        old: Some(old),
    };
    admission::admit(call, &review).await?;
    if call.params.dry_run() {
        return Ok(object);
    }
    let storable = convert::storable(&call.server, resource, object).await?;
    let raced = || ApiError::modified(resource, &key.name);
    if meta::is_deleting(&storable) && meta::finalizers(&storable).is_empty() && !lingers(resource, &storable) {
        let last = call.server.remove(resource, key, stored).ok_or_else(raced)?;
        return Ok(Value::clone(&*read::presented(call, last).await?));
    }
    let stored = call.server.commit(resource, key, Some(stored), storable);
    Ok(Value::clone(&*read::presented(call, stored.ok_or_else(raced)?).await?))
}

fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<()> {
    let sent = meta::text(new, "/metadata/resourceVersion");
    if !sent.is_empty() && sent != meta::text(old, "/metadata/resourceVersion") {
        return Err(ApiError::modified(&call.resource, meta::name(old)).final_conflict());
    }
    let (uid, before) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != before {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {before}");
        return Err(ApiError::conflict(&call.resource, meta::name(old), &why));
    }
    Ok(())
}

const KEPT: &str = "uid creationTimestamp deletionTimestamp deletionGracePeriodSeconds generation resourceVersion";

/// Puts back what this request may not change.
fn restrict(call: &Call, old: &Value, object: &mut Value) -> Result<()> {
    let root = object
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("the body is no object"))?;
    match call.subresource.as_deref() {
        Some("status") => {
            let managed = root["metadata"].get("managedFields").cloned();
            let mut kept = old.clone();
            match root.get("status") {
                Some(status) => kept["status"] = status.clone(),
                None => drop(kept.as_object_mut().map(|m| m.remove("status"))),
            }
            if call.resource.custom.is_none() {
                kept["metadata"] = root["metadata"].clone();
            } else if let Some(managed) = managed {
                kept["metadata"]["managedFields"] = managed;
            }
            *object = kept;
        }
        Some("finalize") => {
            let finalizers = root.get("spec").map(|s| s["finalizers"].clone()).unwrap_or_default();
            *object = old.clone();
            object["spec"]["finalizers"] = finalizers;
        }
        _ if call.served()?.status => match old.get("status") {
            Some(status) => drop(root.insert("status".into(), status.clone())),
            None => drop(root.remove("status")),
        },
        _ => {}
    }
    let metadata = meta::metadata(object);
    for name in KEPT.split(' ') {
        metadata.remove(name);
        if let Some(value) = old["metadata"].get(name) {
            metadata.insert(name.into(), value.clone());
        }
    }
    Ok(())
}
