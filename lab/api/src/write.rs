//! Creating and changing objects: everything between a decoded body and the store.

use serde_json::{Value, json};

use crate::admission::{self, Review};
use crate::apply::{self, Manager};
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

impl Call {
    fn field_manager<'a>(&'a self, api_version: &'a str) -> Manager<'a> {
        Manager {
            name: &self.manager,
            api_version,
            subresource: self.subresource.as_deref(),
        }
    }
}

/// Stores a new object.
pub(crate) async fn create(call: &Call, body: Value) -> Result<Value> {
    make(call, body, false).await
}

async fn make(call: &Call, mut object: Value, applied: bool) -> Result<Value> {
    let resource = &call.resource;
    identify(call, &mut object)?;
    let name = meta::name(&object).to_owned();
    if !meta::text(&object, "/metadata/resourceVersion").is_empty() && !applied {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
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
    let api_version = call.api_version();
    if !applied {
        object["metadata"].as_object_mut().map(|m| m.remove("managedFields"));
        apply::record_update(
            &json!({}),
            &mut object,
            &call.field_manager(&api_version),
            Shape::root(call.schema()),
        );
    }
    complete(call, &mut object, None)?;
    finish_create(call, &key, object).await.map_err(|(error, object)| {
        // Addresses that were taken for an object that did not come to be.
        if resource.is("", "services") {
            call.server.nets().release(&object);
        }
        error
    })
}

async fn finish_create(call: &Call, key: &Key, object: Value) -> std::result::Result<Value, (ApiError, Value)> {
    let attempt = async {
        accept::validated(call, &object, None)?;
        let review = Review {
            operation: "CREATE",
            name: &key.name,
            object: Some(&object),
            old: None,
        };
        admission::admit(call, &review).await?;
        convert::storable(&call.server, &call.resource, object.clone()).await
    };
    let storable = match attempt.await {
        Ok(storable) => storable,
        Err(error) => return Err((error, object)),
    };
    if call.params.dry_run() {
        if call.resource.is("", "services") {
            call.server.nets().release(&object);
        }
        return Ok(object);
    }
    let Some(stored) = call.server.commit(&call.resource, key, None, storable) else {
        return Err((ApiError::exists(&call.resource, &key.name), object));
    };
    let presented = read::presented(call, stored).await;
    presented
        .map(|o| Value::clone(&o))
        .map_err(|error| (error, Value::Null))
}

/// Checks kind, name and namespace against the path, and makes up a name if one is to be generated.
fn identify(call: &Call, object: &mut Value) -> Result<()> {
    let resource = &call.resource;
    let (api_version, kind) = (call.api_version(), resource.kind.as_str());
    for (field, wanted) in [("apiVersion", api_version.as_str()), ("kind", kind)] {
        let sent = meta::text(object, &format!("/{field}")).to_owned();
        if !sent.is_empty() && sent != wanted {
            return Err(ApiError::bad_request(format!(
                "the object provided is unrecognized: {field} {sent:?} does not match {wanted:?}"
            )));
        }
        object[field] = wanted.into();
    }
    let namespace = meta::namespace(object).to_owned();
    if resource.namespaced && !namespace.is_empty() && namespace != call.namespace {
        let message = format!(
            "the namespace of the provided object does not match the namespace sent on the request ({namespace} != {})",
            call.namespace
        );
        return Err(ApiError::bad_request(message));
    }
    let metadata = meta::metadata(object);
    if resource.namespaced {
        if call.namespace.is_empty() {
            return Err(ApiError::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        metadata.insert("namespace".into(), call.namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let (name, prefix) = (text("name"), text("generateName"));
    let name = if name.is_empty() && !prefix.is_empty() {
        format!("{prefix}{}", meta::suffix(5))
    } else {
        name
    };
    if let Some(why) = meta::name_error(&name, resource.group.starts_with("rbac.")) {
        let cause = crate::error::Cause::invalid("metadata.name", &name.as_str().into(), why);
        return Err(ApiError::invalid(resource, &name, &[cause]));
    }
    metadata.insert("name".into(), name.into());
    Ok(())
}

fn namespace_accepts(call: &Call, name: &str) -> Result<()> {
    if !call.resource.namespaced {
        return Ok(());
    }
    let namespaces = call
        .server
        .registry(|r| r.get("", "namespaces"))
        .ok_or_else(ApiError::no_such_path)?;
    let namespace = call.server.store().get("namespaces", &Key::new("", &call.namespace));
    let namespace = namespace.ok_or_else(|| ApiError::not_found(&namespaces, &call.namespace))?;
    if meta::is_deleting(&namespace) {
        let (resource, namespace) = (call.resource.qualified(), &call.namespace);
        let message = format!(
            "{resource} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(ApiError::new(403, "Forbidden", message));
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
    if meta::name(&body) != key.name {
        let message = format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            meta::name(&body),
            key.name
        );
        return Err(ApiError::bad_request(message));
    }
    let sent = meta::text(&body, "/metadata/resourceVersion").to_owned();
    if sent.is_empty() && call.resource.custom.is_some() {
        let cause =
            crate::error::Cause::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
        return Err(ApiError::invalid(&call.resource, &key.name, &[cause]));
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
    let api_version = call.api_version();
    patch.check(&api_version, &call.resource.kind, &key.name)?;
    let applied = matches!(patch, Patch::Apply(_));
    if applied && call.params.get("fieldManager").is_empty() {
        let message =
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
        return Err(ApiError::bad_request(message));
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
        let api_version = call.api_version();
        apply::record_update(
            old,
            &mut object,
            &call.field_manager(&api_version),
            Shape::root(call.schema()),
        );
    }
    accept::validated(call, &object, Some(old))?;
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
    let stored = call
        .server
        .commit(resource, key, Some(stored), storable)
        .ok_or_else(raced)?;
    Ok(Value::clone(&*read::presented(call, stored).await?))
}

fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<()> {
    let sent = meta::text(new, "/metadata/resourceVersion");
    if !sent.is_empty() && sent != meta::text(old, "/metadata/resourceVersion") {
        return Err(ApiError::modified(&call.resource, meta::name(old)).final_conflict());
    }
    let uid = meta::uid(new);
    if !uid.is_empty() && uid != meta::uid(old) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::uid(old)
        );
        return Err(ApiError::conflict(&call.resource, meta::name(old), &why));
    }
    Ok(())
}

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
    for name in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        metadata.remove(name);
        if let Some(value) = old["metadata"].get(name) {
            metadata.insert(name.into(), value.clone());
        }
    }
    Ok(())
}

/// The `Status` that tells of a success without an object.
pub(crate) fn success(call: &Call, object: &Value) -> Value {
    let mut details = json!({"group": call.resource.group, "kind": call.resource.plural});
    // A deleted collection has neither name nor uid, and clients refuse a null.
    if let Some(name) = &call.name {
        details["name"] = name.as_str().into();
        details["uid"] = meta::uid(object).into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
