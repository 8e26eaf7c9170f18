//! From a path to its answer.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode};

use crate::auth;
use crate::body::decode;
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::request::{Params, Target};
use crate::state::{Server, Shared};
use crate::{discovery, dispatch, view};

/// The largest body that is read; etcd's limit is smaller.
const BODY: usize = 4 << 20;

/// The whole API.
pub(crate) fn router(server: Shared) -> Router {
    Router::new().fallback(handle).with_state(server)
}

async fn handle(State(server): State<Shared>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = answer(&server, request).await.unwrap_or_else(ApiError::into_response);
    tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    response
}

async fn answer(server: &Shared, request: Request) -> Result<Response> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    if let ["healthz" | "readyz" | "livez", ..] = segments[..] {
        return Ok((StatusCode::OK, "ok").into_response());
    }
    // No schema, in the protobuf that `kubectl` wants: it leaves validation to the server.
    if segments == ["openapi", "v2"] {
        return Ok(StatusCode::OK.into_response());
    }
    if segments == ["version"] {
        return Ok(view::ok(discovery::version()));
    }
    let user = server.tokens().authenticate(&head.headers)?;
    if head.method == Method::GET
        && let Some(document) = document(server, &segments)
    {
        return Ok(view::ok(document));
    }
    let (group, version, rest) = match &segments[..] {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(ApiError::no_such_path()),
    };
    let body = axum::body::to_bytes(body, BODY).await;
    let body = body.map_err(|_| ApiError::new(413, "RequestEntityTooLarge", "the body is too large"))?;
    if head.method == Method::POST
        && let Some(answer) = review(server, group, rest, &head.headers, &body)?
    {
        return Ok(answer);
    }
    let target = Target::parse(group, version, rest).ok_or_else(ApiError::no_such_path)?;
    let call = Call::new(server.clone(), target, Params::parse(&head.uri)?, &head.headers, user)?;
    Ok(dispatch::run(call, &head.method, &head.headers, body).await)
}

fn document(server: &Server, segments: &[&str]) -> Option<serde_json::Value> {
    match segments {
        ["api"] => Some(discovery::core_versions()),
        ["apis"] => Some(discovery::group_list(server)),
        ["api", "v1"] => discovery::resource_list(server, "", "v1"),
        ["apis", group] => discovery::one_group(server, group),
        ["apis", group, version] => discovery::resource_list(server, group, version),
        _ => None,
    }
}

/// Answers the kinds that are only asked and never kept.
fn review(server: &Server, group: &str, path: &[&str], headers: &HeaderMap, body: &[u8]) -> Result<Option<Response>> {
    let [plural] = path else { return Ok(None) };
    if !discovery::REVIEWS.iter().any(|(g, p, _)| *g == group && p == plural) {
        return Ok(None);
    }
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let review = decode(content_type.unwrap_or(""), body)?;
    let answer = match *plural {
        "tokenreviews" => server.tokens().review(review),
        "selfsubjectrulesreviews" => auth::rules_review(review),
        _ => auth::access_review(review),
    };
    Ok(Some(view::created(answer)))
}
