//! The envelopes of admission and conversion: decode the question, encode the answer.
//!
//! Only what is needed is read, and the version of the review is echoed, so that `v1` and `v1beta1` both work.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
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

/// A review whose request is still text: as values it would take many times as much memory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sealed<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

impl<'a> Sealed<'a> {
    /// Returns the version of the review, and its request.
    fn open<R: Deserialize<'a>>(body: &'a [u8], kind: &'static str, group: &str) -> Result<(String, R), ReviewError> {
        let review: Self = serde_json::from_slice(body).map_err(|error| ReviewError::Json(error.to_string()))?;
        let named = review.kind.as_deref() == Some(kind);
        let api_version = review.api_version.filter(|_| named).unwrap_or_default();
        let version = api_version.strip_prefix(group).and_then(|rest| rest.strip_prefix('/'));
        let version = version.ok_or(ReviewError::Kind(kind))?;
        if !VERSIONS.contains(&version) {
            let version = version.to_owned();
            return Err(ReviewError::Version { kind, version });
        }
        let request = review.request.ok_or(ReviewError::NoRequest)?;
        let request = serde_json::from_str(request.get()).map_err(|error| match error.is_data() {
            true => ReviewError::NoRequest,
            false => ReviewError::Json(error.to_string()),
        })?;
        Ok((api_version, request))
    }
}

/// A decoded review: what to answer with besides the answer. `Debug` shows no object: there may be a password in it.
#[derive(Clone)]
pub struct Envelope {
    api_version: String,
    kind: &'static str,
    uid: Value,
    request: Map<String, Value>,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("kind", &self.kind)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl Envelope {
    fn open(body: &[u8], kind: &'static str, group: &str) -> Result<Self, ReviewError> {
        let (api_version, request) = Sealed::open::<Map<String, Value>>(body, kind, group)?;
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

/// The question of a ConversionReview.
#[derive(Deserialize)]
struct Conversion<'a> {
    uid: String,
    #[serde(rename = "desiredAPIVersion")]
    to: Option<String>,
    #[serde(borrow)]
    objects: Option<Vec<&'a RawValue>>,
}

/// A ConversionReview with its answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Converted {
    api_version: String,
    kind: &'static str,
    response: ConversionResponse,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionResponse {
    uid: String,
    converted_objects: Vec<Box<RawValue>>,
    result: Value,
}

/// Answers a ConversionReview, with one object at a time in memory. One that cannot be converted fails the whole batch,
/// as the protocol demands.
///
/// # Errors
/// When the body is none.
pub fn answer_conversion(body: &[u8]) -> Result<String, ReviewError> {
    let kind = "ConversionReview";
    let (api_version, asked) = Sealed::open::<Conversion<'_>>(body, kind, "apiextensions.k8s.io")?;
    let to = asked.to.unwrap_or_default();
    let objects = asked.objects.unwrap_or_default();
    let converted: Result<Vec<_>, String> = objects.into_iter().map(|object| convert_named(object, &to)).collect();
    let (converted_objects, result) = match converted {
        Ok(objects) => (objects, json!({ "status": "Success" })),
        Err(message) => (Vec::new(), json!({ "status": "Failure", "message": message })),
    };
    let response = ConversionResponse {
        uid: asked.uid,
        converted_objects,
        result,
    };
    let answer = Converted {
        api_version,
        kind,
        response,
    };
    serde_json::to_string(&answer).map_err(|error| ReviewError::Json(error.to_string()))
}

fn convert_named(object: &RawValue, to: &str) -> Result<Box<RawValue>, String> {
    let object: Value = serde_json::from_str(object.get()).map_err(|error| error.to_string())?;
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let converted = convert(&object, to).map_err(|error| format!("{name}: {error}"))?;
    to_raw_value(&converted).map_err(|error| format!("{name}: {error}"))
}
