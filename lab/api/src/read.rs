//! GET of one object and of collections. All of a collection comes at once, whatever `limit` says, as a server may.

use axum::response::Response;
use serde_json::json;

use crate::call::Call;
use crate::convert;
use crate::error::{ApiError, Result};
use crate::selector::Selector;
use crate::store::Object;
use crate::view;

/// The stored form of the named object.
pub(crate) fn stored(call: &Call) -> Result<Object> {
    let key = call.key()?;
    let found = call.server.store().get(&call.resource.bucket(), &key);
    found.ok_or_else(|| ApiError::not_found(&call.resource, &key.name))
}

/// One stored object in the version of the request.
pub(crate) async fn presented(call: &Call, object: Object) -> Result<Object> {
    let objects = convert::present(&call.server, &call.resource, &call.version, vec![object]).await?;
    let object = objects.into_iter().next();
    object.ok_or_else(|| ApiError::internal("the conversion lost the object"))
}

pub(crate) async fn get(call: &Call) -> Result<Response> {
    let object = presented(call, stored(call)?).await?;
    Ok(view::ok(view::one(call, &object)))
}

pub(crate) fn selector(call: &Call) -> Result<Selector> {
    Selector::parse(call.params.get("labelSelector"), call.params.get("fieldSelector"))
}

/// The selected objects of the collection with the revision at which they were read.
pub(crate) fn selected(call: &Call) -> Result<(Vec<Object>, u64)> {
    let selector = selector(call)?;
    let namespace = Some(call.namespace.as_str()).filter(|n| !n.is_empty());
    let store = call.server.store();
    let mut objects = store.list(&call.resource.bucket(), namespace);
    if !selector.is_empty() {
        objects.retain(|object| selector.matches(object));
    }
    Ok((objects, store.revision()))
}

pub(crate) async fn list(call: &Call) -> Result<Response> {
    let (objects, revision) = selected(call)?;
    let objects = convert::present(&call.server, &call.resource, &call.version, objects).await?;
    Ok(view::many(
        call,
        &objects,
        &json!({"resourceVersion": revision.to_string()}),
    ))
}
