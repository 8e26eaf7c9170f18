//! Requests with what a typed client hides: the warnings of the answer.

use anyhow::{Context, Result};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

/// What the API server answered.
pub struct Answer {
    pub status: u16,
    pub warnings: Vec<String>,
    pub body: Value,
}

impl Answer {
    pub fn accepted(&self) -> bool {
        self.status < 300
    }

    /// The message of a refusal.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

pub async fn ask(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
    let type_ = match method {
        Method::PATCH => "application/apply-patch+yaml",
        _ => "application/json",
    };
    let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", type_)
        .body(Body::from(bytes))?;
    let response = client
        .send(request)
        .await
        .with_context(|| format!("no answer to {path}"))?;
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.filter_map(|value| text(value.to_str().ok()?));
    let (status, warnings) = (response.status().as_u16(), warnings.collect());
    let bytes = response.into_body().collect_bytes().await?;
    Ok(Answer {
        status,
        warnings,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    })
}

/// The text of `299 - "text"`.
fn text(warning: &str) -> Option<String> {
    let (text, _) = warning.split_once('"')?.1.rsplit_once('"')?;
    Some(text.replace("\\\"", "\""))
}
