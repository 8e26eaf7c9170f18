//! The envelope of answers.

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

/// What comes in front of the items of an answer in pieces.
pub(super) fn opening(head: &Head) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(head)?;
    // The envelope goes on.
    text.pop();
    Ok(text + ",\"data\":[")
}

/// What comes behind them.
pub(super) fn closing(more: Option<&str>) -> String {
    // Texts are always JSON.
    let more = serde_json::to_string(&more).unwrap_or_else(|_| "null".to_owned());
    format!("],\"continue\":{more}}}")
}
