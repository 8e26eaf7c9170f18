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

/// One invalid field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    pub(crate) field: String,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn invalid(field: &str, value: &Value, why: impl std::fmt::Display) -> Self {
        let shown = match value {
            Value::Array(_) | Value::Object(_) => serde_json::to_string(value).unwrap_or_default(),
            other => other.to_string(),
        };
        Self {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {shown}: {why}"),
        }
    }

    pub(crate) fn required(field: &str, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {why}")
        };
        Self {
            field: field.into(),
            reason: "FieldValueRequired",
            message,
        }
    }

    pub(crate) fn unsupported(field: &str, value: &Value, supported: &[Value]) -> Self {
        let list: Vec<String> = supported.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self {
            field: field.into(),
            reason: "FieldValueNotSupported",
            message,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

fn details(resource: &Resource, name: &str) -> Value {
    json!({"name": name, "group": resource.group, "kind": resource.plural})
}

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

    /// A verdict of a webhook: its own code and message.
    pub(crate) fn denied(code: u16, reason: Option<&str>, message: String) -> Self {
        let reason = match (reason, code) {
            (Some("Invalid"), _) => "Invalid",
            (Some("Forbidden"), _) | (None, 403) => "Forbidden",
            (Some("NotFound"), _) => "NotFound",
            _ => "BadRequest",
        };
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
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self {
            details: details(resource, name),
            ..Self::new(404, "NotFound", message)
        }
    }

    pub(crate) fn exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self {
            details: details(resource, name),
            ..Self::new(409, "AlreadyExists", message)
        }
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self {
            details: details(resource, name),
            ..Self::new(409, "Conflict", message)
        }
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

    /// Fields that another manager owns: `(manager, path)` each.
    pub(crate) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let (noun, causes): (_, Vec<Value>) = (
            if conflicts.len() == 1 { "conflict" } else { "conflicts" },
            conflicts
                .iter()
                .map(|(manager, field)| {
                    json!({"reason": "FieldManagerConflict", "field": field, "message": format!("conflict with {manager}")})
                })
                .collect(),
        );
        let list: Vec<String> = conflicts
            .iter()
            .map(|(m, f)| format!("conflict with {m}: {f}"))
            .collect();
        let message = format!("Apply failed with {} {noun}: {}", conflicts.len(), list.join("\n"));
        Self {
            details: json!({"causes": causes}),
            ..Self::new(409, "Conflict", message)
        }
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let list: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let text = if let [one] = list.as_slice() {
            one.clone()
        } else {
            format!("[{}]", list.join(", "))
        };
        let kind = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        Self {
            details: json!({"name": name, "group": resource.group, "kind": resource.kind, "causes": causes}),
            ..Self::new(422, "Invalid", format!("{kind} {name:?} is invalid: {text}"))
        }
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    pub(crate) fn unsupported_media(content_type: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml; got {content_type:?}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn is_lost_race(&self) -> bool {
        self.raced
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(self.status())).into_response()
    }
}
