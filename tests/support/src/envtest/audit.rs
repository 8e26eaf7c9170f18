//! What service accounts asked a real API server for, from its audit log.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One request of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// `namespace/name` of the service account.
    pub account: String,
    /// get, list, watch, create, update, patch, delete or deletecollection.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The resource, with its subresource: `services/status`.
    pub resource: String,
    /// The namespace; empty for all, and for what has none.
    pub namespace: String,
    /// The object; empty for all.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// The HTTP status.
    pub code: u16,
    /// Why it was allowed or refused.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Reads the log: finished requests, and watches as they begin.
///
/// # Errors
/// When it cannot be read, or a line is no audit event.
pub fn read(log: &Path) -> Result<Vec<Request>> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Request>> {
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines: serde_json::Result<Vec<Line>> = whole.lines().map(serde_json::from_str).collect();
    let lines = lines.context("the audit log has a line that is no event")?;
    Ok(lines.into_iter().filter_map(request).collect())
}

fn request(line: Line) -> Option<Request> {
    let code = line.response_status.map_or(0, |status| status.code);
    // A watch is told when it begins, with 200, and again when it ends.
    let begins = line.stage == "ResponseStarted";
    if line.verb == "watch" && code == 200 && !begins || line.verb != "watch" && begins {
        return None;
    }
    let account = line
        .user
        .username
        .strip_prefix("system:serviceaccount:")?
        .replace(':', "/");
    let object = line.object_ref;
    let object = object.unwrap_or_default();
    let resource = match object.subresource.as_str() {
        "" => object.resource,
        sub => format!("{}/{sub}", object.resource),
    };
    Some(Request {
        account,
        verb: line.verb,
        group: object.api_group,
        resource,
        namespace: object.namespace,
        name: object.name,
        uri: line.request_uri,
        code,
        reason: line
            .annotations
            .get("authorization.k8s.io/reason")
            .cloned()
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/services/s/status","verb":"update","user":{"username":"system:serviceaccount:metallb-system:controller"},"objectRef":{"resource":"services","namespace":"a","name":"s","apiVersion":"v1","subresource":"status"},"responseStatus":{"code":403}}
{"stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"system:serviceaccount:m:s"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200},"annotations":{"authorization.k8s.io/reason":"RBAC: yes"}}
{"stage":"ResponseComplete","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"system:serviceaccount:m:s"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","requestURI":"/version","verb":"get","user":{"username":"system:serviceaccount:m:s"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","requ"#;

    #[test]
    fn requests_are_read_once_each() {
        let all = parse(LINES).unwrap();
        let short: Vec<_> = all
            .iter()
            .map(|r| {
                (
                    r.account.as_str(),
                    r.verb.as_str(),
                    r.resource.as_str(),
                    &*r.uri,
                    r.code,
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                (
                    "metallb-system/controller",
                    "update",
                    "services/status",
                    "/api/v1/namespaces/a/services/s/status",
                    403
                ),
                ("m/s", "watch", "pods", "/api/v1/pods?watch=1", 200),
                ("m/s", "get", "", "/version", 200),
            ]
        );
        assert_eq!(all[1].reason, "RBAC: yes");
    }
}
