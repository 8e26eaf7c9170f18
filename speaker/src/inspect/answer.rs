//! The envelope of every answer.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metallb_inspect::{Answer, Head};
use serde::Serialize;

pub(super) const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// An answer in one piece.
pub(super) fn whole<T: Serialize + ?Sized>(head: &Head, data: &T) -> Response {
    let answer = Answer {
        head: head.clone(),
        data,
        more: None,
    };
    match serde_json::to_vec(&answer) {
        Ok(text) => (JSON, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The text before the items of a streamed answer.
pub(super) fn opening(head: &Head) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(head)?;
    // Without its closing brace: `data` and `continue` follow.
    text.pop();
    Ok(text + ",\"data\":[")
}

/// The text after the items.
pub(super) fn closing(more: Option<&str>) -> String {
    // A string can always be written as JSON.
    let more = serde_json::to_string(&more).unwrap_or_else(|_| "null".to_owned());
    format!("],\"continue\":{more}}}")
}
