//! The `scale` subresource, for `kubectl scale`.

use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use crate::call::{Call, decode};
use crate::error::{ApiError, Result};
use crate::meta;
use crate::patch::Patch;
use crate::read;
use crate::resource::Scale;
use crate::{view, write};

pub(crate) async fn run(call: &Call, method: &Method, content_type: &str, body: &[u8]) -> Result<Response> {
    let scale = call.served()?.scale.clone().unwrap_or_default();
    let object = read::presented(call, read::stored(call)?).await?;
    let current = scale_of(&object, &scale);
    let wanted = match method.as_str() {
        "GET" => return Ok(view::ok(current)),
        "PUT" => decode(content_type, body)?,
        "PATCH" => {
            let manager = crate::apply::Manager {
                name: &call.manager,
                api_version: "autoscaling/v1",
                subresource: Some("scale"),
            };
            Patch::parse(content_type, body)?.run(&current, &manager, true, &Value::Null)?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let mut patch = json!(wanted["spec"]["replicas"]);
    for name in scale.spec.split('.').filter(|s| !s.is_empty()).rev() {
        patch = json!({name: patch});
    }
    let mut main = call.with_params(call.params.clone());
    main.subresource = None;
    let (object, _) = write::patch(&main, &Patch::Merge(patch)).await?;
    Ok(view::ok(scale_of(&object, &scale)))
}

fn scale_of(object: &Value, scale: &Scale) -> Value {
    let number = |path: &str| {
        object
            .pointer(&path.replace('.', "/"))
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let metadata = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {"replicas": number(&scale.spec)},
        "status": {"replicas": number(&scale.status), "selector": selector(object, scale)},
    })
}

fn selector(object: &Value, scale: &Scale) -> String {
    if let Some(path) = &scale.selector {
        return meta::text(object, &path.replace('.', "/")).to_owned();
    }
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")));
    pairs.collect::<Vec<_>>().join(",")
}
