//! The form of an answer: the object, its metadata only, or a table.

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::call::{self, Call};
use crate::request::Form;
use crate::store::Object;
use crate::table;

pub(crate) fn ok(value: Value) -> Response {
    call::json(StatusCode::OK, value)
}

pub(crate) fn created(value: Value) -> Response {
    call::json(StatusCode::CREATED, value)
}

fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// One object in the form that the client accepts.
pub(crate) fn one(call: &Call, object: &Value) -> Value {
    match call.form {
        Form::Full => object.clone(),
        Form::Metadata => metadata_only(object),
        Form::Table => {
            let revision = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table::table(call, &[object], &revision)
        }
    }
}

/// A list in the form that the client accepts.
pub(crate) fn many(call: &Call, objects: &[Object], metadata: &Value) -> Response {
    let body = match call.form {
        Form::Full => {
            let kind = format!(
                "\"kind\":{:?},\"apiVersion\":{:?}",
                call.resource.list_kind,
                call.api_version()
            );
            list(&kind, metadata, objects.iter().map(AsRef::as_ref))
        }
        Form::Metadata => {
            let partial: Vec<Value> = objects.iter().map(|o| metadata_only(o)).collect();
            list(
                "\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\"",
                metadata,
                partial.iter(),
            )
        }
        Form::Table => {
            let rows: Vec<&Value> = objects.iter().map(AsRef::as_ref).collect();
            table::table(call, &rows, metadata).to_string()
        }
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// Written by hand, so that a list of ten thousand objects is not copied first.
fn list<'a>(kind: &str, metadata: &Value, items: impl Iterator<Item = &'a Value>) -> String {
    let mut text = format!("{{{kind},\"metadata\":{metadata},\"items\":[");
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&item.to_string());
    }
    text.push_str("]}");
    text
}
