//! Failures as clients see them: a `Status` object with code, reason and message.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::resource::Resource;

/// A request that failed; becomes a `meta/v1` `Status`.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
    /// Another writer was faster; reading again may help.
    raced: bool,
}

pub(crate) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            raced: false,
        }
    }

    /// The same about an object.
    fn about(self, resource: &Resource, name: &str) -> Self {
        let details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        Self { details, ..self }
    }

    /// A verdict of a webhook: its own code and message.
    pub(crate) fn denied(code: u16, reason: Option<&str>, message: String) -> Self {
        let known = ["Invalid", "Forbidden", "NotFound"]
            .into_iter()
            .find(|known| reason == Some(*known));
        let reason = known.unwrap_or(if code == 403 { "Forbidden" } else { "BadRequest" });
        Self::new(code, reason, message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn method_not_allowed() -> Self {
        let why = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", why)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub(crate) fn exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self {
            raced: true,
            ..Self::conflict(resource, name, why)
        }
    }

    /// The client insists on a revision that is gone: trying again cannot help.
    pub(crate) fn final_conflict(self) -> Self {
        Self { raced: false, ..self }
    }

    /// Managers that own what another applies.
    pub(crate) fn apply_conflict(owners: &[String]) -> Self {
        let owners: Vec<String> = owners.iter().map(|owner| format!("conflict with {owner}")).collect();
        Self::new(409, "Conflict", format!("Apply failed: {}", owners.join(", ")))
    }

    /// An object with an invalid field.
    pub(crate) fn invalid(resource: &Resource, name: &str, field: &str, why: &str) -> Self {
        let kind = match resource.group.as_str() {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        let text = format!("{kind} {name:?} is invalid: {field}: Invalid value: {why}");
        let mut error = Self::new(422, "Invalid", text).about(resource, name);
        error.details["causes"] = json!([{"message": format!("Invalid value: {why}"), "field": field}]);
        error
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    pub(crate) fn unsupported_media(content_type: &str) -> Self {
        let message = format!("the lab takes application/json and application/yaml, not {content_type:?}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn is_lost_race(&self) -> bool {
        self.raced
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code, "details": self.details,
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(self.status())).into_response()
    }
}
