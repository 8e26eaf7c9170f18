//! The envelopes of admission and conversion: decode the question, encode the answer.
//!
//! Only what is needed is read, and the version of the review is echoed, so that `v1` and `v1beta1` both work.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::convert::convert;
use crate::verdict::{Kind, Operation, Request, Verdict};

/// The versions of both reviews; each pair has one shape.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Why a body is no review.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReviewError {
    /// Not JSON.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// Another kind, or another group.
    #[error("the body is no {0}")]
    Kind(&'static str),
    /// Not one of the versions that we speak.
    #[error("unknown version {version:?} of {kind}: must be v1 or v1beta1")]
    Version {
        /// Kind of the review.
        kind: &'static str,
        /// The version.
        version: String,
    },
    /// A review of something that is none of our kinds.
    #[error("the review is about {0:?}, which is none of our kinds")]
    Foreign(String),
    /// A review without question.
    #[error("the review has no request with a uid")]
    NoRequest,
}

/// A decoded review: what to answer with besides the answer.
#[derive(Clone, Debug)]
pub struct Envelope {
    api_version: Value,
    kind: &'static str,
    uid: Value,
    request: Map<String, Value>,
}

impl Envelope {
    fn open(body: &[u8], kind: &'static str, group: &str) -> Result<Self, ReviewError> {
        let review: Value = serde_json::from_slice(body).map_err(|error| ReviewError::Json(error.to_string()))?;
        let Value::Object(mut review) = review else {
            return Err(ReviewError::Kind(kind));
        };
        let api_version = review.remove("apiVersion").unwrap_or_default();
        let version = api_version
            .as_str()
            .and_then(|text| text.strip_prefix(group)?.strip_prefix('/'));
        let Some(version) = version.filter(|_| review.get("kind").and_then(Value::as_str) == Some(kind)) else {
            return Err(ReviewError::Kind(kind));
        };
        if !VERSIONS.contains(&version) {
            let version = version.to_owned();
            return Err(ReviewError::Version { kind, version });
        }
        let Some(Value::Object(request)) = review.remove("request") else {
            return Err(ReviewError::NoRequest);
        };
        let uid = request
            .get("uid")
            .filter(|uid| uid.is_string())
            .cloned()
            .ok_or(ReviewError::NoRequest)?;
        Ok(Self {
            api_version,
            kind,
            uid,
            request,
        })
    }

    #[allow(clippy::needless_pass_by_value)]
    fn seal(self, mut response: Value) -> Value {
        response["uid"] = self.uid;
        json!({ "apiVersion": self.api_version, "kind": self.kind, "response": response })
    }
}

/// Reads an AdmissionReview, about the given kind or else about the kind that it names.
///
/// # Errors
/// When the body is none.
pub fn open_admission(body: &[u8], kind: Option<Kind>) -> Result<(Envelope, Request), ReviewError> {
    let mut envelope = Envelope::open(body, "AdmissionReview", "admission.k8s.io")?;
    let request = &mut envelope.request;
    let kind = match kind {
        Some(kind) => kind,
        None => {
            let named = request.get("kind").and_then(|kind| kind.get("kind")?.as_str());
            let named = named.unwrap_or_default();
            Kind::named(named).ok_or_else(|| ReviewError::Foreign(named.to_owned()))?
        }
    };
    let operation = match request.get("operation").and_then(Value::as_str) {
        Some("CREATE") => Operation::Create,
        Some("UPDATE") => Operation::Update,
        Some("DELETE") => Operation::Delete,
        _ => Operation::Other,
    };
    let decoded = Request {
        kind,
        operation,
        namespace: request.get("namespace").and_then(Value::as_str).map(ToOwned::to_owned),
        object: request.get_mut("object").map(Value::take).unwrap_or_default(),
        old: request.get_mut("oldObject").map(Value::take).unwrap_or_default(),
    };
    Ok((envelope, decoded))
}

/// Writes the answer to an AdmissionReview.
#[must_use]
pub fn seal_admission(envelope: Envelope, verdict: &Verdict) -> Value {
    let mut response = json!({ "allowed": verdict.allowed() });
    if !verdict.allowed() {
        let (code, reason) = if verdict.undecodable {
            (400, "BadRequest")
        } else {
            (403, "Forbidden")
        };
        let message = format!("{}{}", subject(&envelope.request), verdict.message());
        response["status"] = json!({ "status": "Failure", "message": message, "reason": reason, "code": code });
    }
    if !verdict.warnings.is_empty() {
        let texts: Vec<String> = verdict.warnings.iter().map(ToString::to_string).collect();
        response["warnings"] = json!(texts);
    }
    envelope.seal(response)
}

/// The object as a person names it: `kubectl` tells only the file, which may hold many.
fn subject(request: &Map<String, Value>) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text(request.get("kind").and_then(|kind| kind.get("kind")));
    match (kind, text(request.get("name"))) {
        (kind, name) if kind.is_empty() || name.is_empty() => String::new(),
        (kind, name) => format!("{kind} {name}: "),
    }
}

/// Writes the answer that nothing could be decided.
#[must_use]
pub fn seal_failure(envelope: Envelope, message: &str) -> Value {
    let status = json!({ "status": "Failure", "message": message, "reason": "InternalError", "code": 500 });
    envelope.seal(json!({ "allowed": false, "status": status }))
}

/// Answers a ConversionReview. One object that cannot be converted fails the whole batch, as the protocol demands.
///
/// # Errors
/// When the body is none.
pub fn answer_conversion(body: &[u8]) -> Result<Value, ReviewError> {
    let mut envelope = Envelope::open(body, "ConversionReview", "apiextensions.k8s.io")?;
    let to = envelope
        .request
        .get("desiredAPIVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let objects = envelope.request.remove("objects").unwrap_or_default();
    let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
    let converted: Result<Vec<Value>, String> = objects.iter().map(|object| convert_named(object, &to)).collect();
    let response = match converted {
        Ok(objects) => json!({ "convertedObjects": objects, "result": { "status": "Success" } }),
        Err(message) => json!({ "convertedObjects": [], "result": { "status": "Failure", "message": message } }),
    };
    Ok(envelope.seal(response))
}

fn convert_named(object: &Value, to: &str) -> Result<Value, String> {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    convert(object, to).map_err(|error| format!("{name}: {error}"))
}
