use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// One Secret and one webhook configuration behind an API server that knows what a resourceVersion is.
#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    secret: Value,
    configuration: Value,
    version: u64,
    writes: usize,
}

impl Fake {
    fn new(secret: Value) -> Self {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "w", "resourceVersion": "1" },
            "webhooks": [{ "name": "a", "clientConfig": {} }],
        });
        Self(Arc::new(Mutex::new(State {
            secret,
            configuration,
            version: 1,
            writes: 0,
        })))
    }

    fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                // Lets the other replica run between any two requests.
                tokio::task::yield_now().await;
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = fake.answer(&head.method, head.uri.path(), &body);
                Ok::<_, Infallible>(
                    Response::builder()
                        .status(status)
                        .body(Body::from(answer.to_string().into_bytes()))
                        .unwrap(),
                )
            }
        });
        Client::new(service, "metallb-system")
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let mut state = self.0.lock().unwrap();
        let failure = |code: StatusCode| {
            let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
            (
                code,
                json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16() }),
            )
        };
        let secret = path.contains("/secrets/");
        match *method {
            Method::GET if secret && state.secret.is_null() => failure(StatusCode::NOT_FOUND),
            Method::GET if secret => (StatusCode::OK, state.secret.clone()),
            Method::GET => (StatusCode::OK, state.configuration.clone()),
            Method::PUT if body["metadata"]["resourceVersion"] != state.secret["metadata"]["resourceVersion"] => {
                failure(StatusCode::CONFLICT)
            }
            Method::PUT => {
                state.version += 1;
                state.writes += 1;
                state.secret = body.clone();
                state.secret["metadata"]["resourceVersion"] = state.version.to_string().into();
                (StatusCode::OK, state.secret.clone())
            }
            Method::PATCH => {
                state.writes += 1;
                state.configuration["webhooks"][0]["clientConfig"]["caBundle"] = body[1]["value"].clone();
                (StatusCode::OK, state.configuration.clone())
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }
}

fn empty_secret() -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "resourceVersion": "1" } })
}

fn rotation() -> Rotation {
    Rotation {
        namespace: "metallb-system".to_owned(),
        secret: "s".to_owned(),
        service: "metallb-webhook-service".to_owned(),
        targets: vec![Target::Webhooks("w".to_owned())],
    }
}

fn time(days: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 + days * 24 * 60 * 60))
}

#[tokio::test]
async fn an_empty_secret_is_filled_once_and_then_left_alone() {
    let fake = Fake::new(empty_secret());
    let first = secure(&fake.client(), &rotation(), time(0), None).await.unwrap();
    let second = secure(&fake.client(), &rotation(), time(1), None).await.unwrap();
    assert_eq!((first == second, fake.writes()), (true, 1));
}

#[tokio::test]
async fn replicas_agree_on_the_certificates_of_the_first_writer() {
    let fake = Fake::new(empty_secret());
    let replica = || async { secure(&fake.client(), &rotation(), time(0), None).await.unwrap() };
    let (a, b, c) = tokio::join!(replica(), replica(), replica());
    assert_eq!((a == b, b == c, fake.writes()), (true, true, 1));
}

#[tokio::test]
async fn certificates_are_renewed_when_time_has_passed() {
    let fake = Fake::new(empty_secret());
    let first = secure(&fake.client(), &rotation(), time(0), None).await.unwrap();
    let second = secure(&fake.client(), &rotation(), time(300), None).await.unwrap();
    assert_eq!(first.ca_certificate, second.ca_certificate);
    assert_ne!(first.serving, second.serving);
}

#[tokio::test]
async fn a_missing_secret_is_an_error_and_is_not_created() {
    let fake = Fake::new(Value::Null);
    let error = secure(&fake.client(), &rotation(), time(0), None).await.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), fake.writes()),
        ("Secret s does not exist", 0)
    );
}

#[tokio::test]
async fn a_round_publishes_and_injects_and_a_second_one_writes_nothing() {
    let fake = Fake::new(empty_secret());
    let (sender, receiver) = watch::channel(None);
    round(&fake.client(), &rotation(), &sender, &mut None, None)
        .await
        .unwrap();
    assert!(receiver.borrow().is_some());
    assert!(fake.0.lock().unwrap().configuration["webhooks"][0]["clientConfig"]["caBundle"].is_string());
    round(&fake.client(), &rotation(), &sender, &mut None, None)
        .await
        .unwrap();
    assert_eq!(fake.writes(), 2);
    // Somebody takes it away.
    fake.0.lock().unwrap().configuration["webhooks"][0]["clientConfig"] = json!({});
    round(&fake.client(), &rotation(), &sender, &mut None, None)
        .await
        .unwrap();
    assert_eq!(fake.writes(), 3);
}

#[test]
fn the_key_is_never_printed() {
    let bundle = renew(time(0), Plan::RenewAll, None, "a.b.svc").unwrap();
    assert_eq!(format!("{bundle:?}"), "Bundle { .. }");
}
