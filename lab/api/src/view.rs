//! The form of an answer: the object, its metadata only, or a table.

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::call::Call;
use crate::request::Form;
use crate::store::Object;
use crate::table;

pub(crate) fn ok(value: Value) -> Response {
    (StatusCode::OK, axum::Json(value)).into_response()
}

pub(crate) fn created(value: Value) -> Response {
    (StatusCode::CREATED, axum::Json(value)).into_response()
}

/// One object in the form that the client accepts.
pub(crate) fn one(call: &Call, object: &Value) -> Value {
    match call.form {
        Form::Full => object.clone(),
        Form::Table => {
            let revision = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table::table(call, &[object], &revision)
        }
    }
}

/// A list in the form that the client accepts.
pub(crate) fn many(call: &Call, objects: &[Object], metadata: &Value) -> Response {
    let body = match call.form {
        // Written by hand, so that a list of ten thousand objects is not copied first.
        Form::Full => {
            let items: Vec<String> = objects.iter().map(ToString::to_string).collect();
            let (kind, version, items) = (&call.resource.list_kind, call.api_version(), items.join(","));
            format!("{{\"kind\":{kind:?},\"apiVersion\":{version:?},\"metadata\":{metadata},\"items\":[{items}]}}")
        }
        Form::Table => {
            let rows: Vec<&Value> = objects.iter().map(AsRef::as_ref).collect();
            table::table(call, &rows, metadata).to_string()
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
