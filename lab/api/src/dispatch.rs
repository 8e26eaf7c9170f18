//! Where each verb and subresource goes.

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, header};
use serde_json::Value;

use crate::body::decode;
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::patch::Patch;
use crate::{delete, read, view, watch, write};

/// Runs the verb and puts the warnings on its answer.
pub(crate) async fn run(call: Call, method: &Method, headers: &HeaderMap, body: Bytes) -> Response {
    let answer = dispatch(&call, method, headers, body).await;
    let mut response = answer.unwrap_or_else(ApiError::into_response);
    for warning in call.warnings() {
        response.headers_mut().append(header::WARNING, warning);
    }
    response
}

async fn dispatch(call: &Call, method: &Method, headers: &HeaderMap, body: Bytes) -> Result<Response> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content_type = content_type.unwrap_or("application/json");
    match call.subresource.as_deref() {
        None => {}
        Some("status") if call.served()?.status => {}
        Some("token") if call.resource.is("", "serviceaccounts") => {
            return token(call, &decode(content_type, &body)?);
        }
        Some("finalize") if call.resource.is("", "namespaces") => {}
        Some(_) => return Err(ApiError::no_such_path()),
    }
    let named = call.name.is_some();
    match method.as_str() {
        "GET" if call.params.flag("watch") => watch::watch(call),
        "GET" if named => read::get(call).await,
        "GET" => read::list(call).await,
        "POST" if !named => {
            let object = write::create(call, decode(content_type, &body)?).await?;
            Ok(view::created(view::one(call, &object)))
        }
        "PUT" if named => {
            let object = write::replace(call, decode(content_type, &body)?).await?;
            Ok(view::ok(view::one(call, &object)))
        }
        "PATCH" if named => {
            let (object, made) = write::patch(call, &Patch::parse(content_type, &body)?).await?;
            let answer = view::one(call, &object);
            Ok(if made { view::created(answer) } else { view::ok(answer) })
        }
        "DELETE" => {
            let options = match body.is_empty() {
                true => Value::Null,
                false => decode(content_type, &body)?,
            };
            let answer = match named {
                true => delete::delete(call, &options).await?,
                false => delete::collection(call, &options).await?,
            };
            Ok(view::ok(answer))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn token(call: &Call, request: &Value) -> Result<Response> {
    let key = call.key()?;
    let account = call.server.store().get("serviceaccounts", &key);
    let account = account.ok_or_else(|| ApiError::not_found(&call.resource, &key.name))?;
    Ok(view::created(call.server.tokens().request(&account, request)))
}
