//! A client whose API server is a function, and a record of what it was asked.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

pub(crate) type Answer = (StatusCode, Value);

impl Call {
    pub(crate) fn ok(body: &Value) -> Answer {
        (StatusCode::OK, body.clone())
    }

    /// An answer that is not one JSON value: the lines of a watch.
    pub(crate) fn text(body: impl Into<String>) -> Answer {
        (StatusCode::OK, Value::String(body.into()))
    }

    pub(crate) fn not_found() -> Answer {
        Self::failure(404, "NotFound")
    }

    pub(crate) fn failure(code: u16, reason: &str) -> Answer {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason,
        });
        (StatusCode::from_u16(code).unwrap(), body)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

/// Builds a client that `answer` serves.
pub(crate) fn client(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> (Client, Calls) {
    let calls = Calls::default();
    let (seen, answer) = (calls.clone(), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let call = Call {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            let (status, body) = answer(&call);
            seen.0.lock().unwrap().push(call);
            let body = match body {
                Value::String(text) => text,
                value => value.to_string(),
            };
            let response = Response::builder()
                .status(status)
                .body(Body::from(body.into_bytes()))
                .unwrap();
            Ok::<_, tower::BoxError>(response)
        }
    });
    (Client::new(service, "default"), calls)
}
