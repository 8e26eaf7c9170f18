//! GET of one object and of collections.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::call::Call;
use crate::convert;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::selector::Selector;
use crate::store::{Key, Object};
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
    objects
        .into_iter()
        .next()
        .ok_or_else(|| ApiError::internal("the conversion lost the object"))
}

pub(crate) async fn get(call: &Call) -> Result<Response> {
    let object = presented(call, stored(call)?).await?;
    Ok(view::ok(view::one(call, &object)))
}

pub(crate) fn selector(call: &Call) -> Result<Selector> {
    Selector::parse(call.params.get("labelSelector"), call.params.get("fieldSelector"))
}

/// The selected objects of the collection with the revision at which they were read.
pub(crate) fn selected(call: &Call, start: Option<&Key>) -> Result<(Vec<Object>, u64)> {
    let selector = selector(call)?;
    let namespace = Some(call.namespace.as_str()).filter(|n| !n.is_empty());
    let store = call.server.store();
    let mut objects = store.list(&call.resource.bucket(), namespace, start);
    if !selector.is_empty() {
        objects.retain(|object| selector.matches(object));
    }
    Ok((objects, store.revision()))
}

pub(crate) async fn list(call: &Call) -> Result<Response> {
    let start = continued(call.params.get("continue"))?;
    let (mut objects, revision) = selected(call, start.as_ref())?;
    let limit = call
        .params
        .number("limit")
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0);
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some(limit) = limit.filter(|limit| objects.len() > *limit) {
        metadata["remainingItemCount"] = (objects.len() - limit).into();
        objects.truncate(limit);
        let last = objects
            .last()
            .map(|o| json!([meta::namespace(o), meta::name(o)]))
            .unwrap_or_default();
        metadata["continue"] = BASE64.encode(last.to_string()).into();
    }
    let objects = convert::present(&call.server, &call.resource, &call.version, objects).await?;
    Ok(view::many(call, &objects, &metadata))
}

/// The last object of the page before.
fn continued(token: &str) -> Result<Option<Key>> {
    if token.is_empty() {
        return Ok(None);
    }
    let decoded = BASE64
        .decode(token)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    match decoded.as_ref().map(meta::strings).as_deref() {
        Some([namespace, name]) => Ok(Some(Key::new(namespace, name))),
        _ => Err(ApiError::bad_request("continue key is not valid")),
    }
}
