//! The guard of the looking glass: read-only answers about what the process does at this moment.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use metallb_inspect::{AUDIENCE, TOKEN_HEADER};
use tokio::sync::Semaphore;

use super::Authorizer;
use super::metrics::refusal;

/// Answers at the same time: whoever asks need not keep this process busy.
const ANSWERS: usize = 2;

#[derive(Clone)]
struct Gate {
    authorizer: Authorizer,
    places: Arc<Semaphore>,
}

/// Lets to each of `routes` whom `authorizer` allows that path, two at a time.
pub(super) fn guarded(routes: Router, authorizer: Authorizer) -> Router {
    let gate = Gate {
        authorizer,
        places: Arc::new(Semaphore::new(ANSWERS)),
    };
    routes.route_layer(from_fn_with_state(gate, pass))
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let token = text(request.headers(), TOKEN_HEADER);
    let authorization = text(request.headers(), header::AUTHORIZATION.as_str());
    let access = match token {
        Some(token) => gate.authorizer.judge_token(&token, Some(AUDIENCE), &path).await,
        None => gate.authorizer.judge(authorization.as_deref(), &path).await,
    };
    if let Some(refused) = refusal(access) {
        return refused;
    }
    let Ok(place) = gate.places.try_acquire_owned() else {
        let mut busy = (StatusCode::TOO_MANY_REQUESTS, "others are asking\n").into_response();
        busy.headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return busy;
    };
    // The place is taken until the last byte is sent.
    next.run(request).await.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |bytes| {
            let _ = &place;
            bytes
        }))
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::testing::{Call, client};

    fn glass(allowed: &'static str) -> Router {
        let (client, _) = client(move |call| match call.path.ends_with("/tokenreviews") {
            true => {
                let known = call.body["spec"]["token"] == "t";
                let status = json!({"authenticated": known, "user": {}, "audiences": ["metallb.io"]});
                Call::ok(&json!({"metadata": {}, "spec": {}, "status": status}))
            }
            false => {
                let path = &call.body["spec"]["nonResourceAttributes"]["path"];
                Call::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": *path == allowed}}))
            }
        });
        let endless = || futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x"));
        let routes = Router::new().route("/inspect/v1", get(|| async { "all" })).route(
            "/inspect/v1/endless",
            get(move || async move { Body::from_stream(endless()) }),
        );
        guarded(routes, Authorizer::new(client))
    }

    async fn ask(glass: &Router, method: &str, path: &str, header: (&str, &str)) -> Response {
        let request = Request::builder().method(method).uri(path).header(header.0, header.1);
        let request = request.body(Body::empty()).unwrap();
        glass.clone().oneshot(request).await.unwrap()
    }

    // CLI-57, CLI-59
    #[tokio::test]
    async fn each_path_is_judged_by_itself_and_nothing_is_written() {
        let glass = glass("/inspect/v1");
        for (method, path, header, status) in [
            ("GET", "/inspect/v1", ("x-metallb-token", "t"), 200),
            ("GET", "/inspect/v1", ("authorization", "Bearer t"), 200),
            ("GET", "/inspect/v1", ("x-metallb-token", "u"), 401),
            ("GET", "/inspect/v1", ("accept", "*/*"), 401),
            ("GET", "/inspect/v1/endless", ("x-metallb-token", "t"), 403),
            ("POST", "/inspect/v1", ("x-metallb-token", "t"), 405),
            ("GET", "/inspect/v2", ("x-metallb-token", "t"), 404),
        ] {
            let answer = ask(&glass, method, path, header).await;
            assert_eq!(answer.status().as_u16(), status, "{method} {path} {header:?}");
        }
    }

    // CLI-62
    #[tokio::test]
    async fn the_third_at_a_time_is_told_to_come_again() {
        let glass = glass("/inspect/v1/endless");
        let header = ("x-metallb-token", "t");
        let first = ask(&glass, "GET", "/inspect/v1/endless", header).await;
        let _second = ask(&glass, "GET", "/inspect/v1/endless", header).await;
        let third = ask(&glass, "GET", "/inspect/v1/endless", header).await;
        assert_eq!(
            (third.status().as_u16(), third.headers()["retry-after"].as_bytes()),
            (429, &b"1"[..])
        );
        drop(first);
        let fourth = ask(&glass, "GET", "/inspect/v1/endless", header).await;
        assert_eq!(fourth.status().as_u16(), 200);
    }
}
