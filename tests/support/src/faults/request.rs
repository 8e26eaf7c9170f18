//! What was asked: the path of a request in the words of Kubernetes.

use std::fmt;
use std::time::Instant;

/// What a request does, by the names that Roles use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the verbs of Kubernetes")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// Whether it may change something.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        })
    }
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// The pod's first container: `manager` (the operator), `webhook-server`, `controller`, `speaker`. For callers with
    /// credentials of their own, their user agent up to the slash.
    pub component: String,
    /// The node of the pod.
    pub node: String,
    /// The pod; a restart gives a new one.
    pub pod: String,
}

/// One request, as the proxy saw it.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its head was there.
    pub at: Instant,
    /// Who asked.
    pub caller: Caller,
    /// What for.
    pub verb: Verb,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, with `/subresource`; the path of what is no resource.
    pub resource: String,
    /// The namespace, if any.
    pub namespace: String,
    /// The object, if it names one.
    pub name: String,
    /// Label and field selectors, as given.
    pub selector: String,
    /// `resourceVersion`, if given.
    pub resource_version: Option<String>,
    /// Whether only metadata are asked for.
    pub metadata_only: bool,
    /// `limit`, if given.
    pub limit: Option<u32>,
    /// Whether a watch asks for bookmarks.
    pub bookmarks: bool,
    /// The status of the answer; `None` while there is none.
    pub status: Option<u16>,
}

impl Request {
    pub(super) fn read(caller: Caller, head: &http::request::Parts) -> Self {
        let path = Path::read(head.uri.path());
        let query = head.uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        let flag = |name| parameter(name).is_some_and(|value| value == "true" || value == "1");
        let verb = match head.method.as_str() {
            "POST" => Verb::Create,
            "PUT" => Verb::Update,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            _ if flag("watch") => Verb::Watch,
            _ if path.name.is_empty() && path.is_resource => Verb::List,
            _ => Verb::Get,
        };
        Self {
            at: Instant::now(),
            caller,
            verb,
            group: path.group.into(),
            resource: path.resource,
            namespace: path.namespace.into(),
            name: path.name.into(),
            selector: [parameter("labelSelector"), parameter("fieldSelector")]
                .map(Option::unwrap_or_default)
                .concat(),
            resource_version: parameter("resourceVersion"),
            metadata_only: accept(head).contains("as=PartialObjectMetadata"),
            limit: parameter("limit").and_then(|limit| limit.parse().ok()),
            bookmarks: flag("allowWatchBookmarks"),
            status: None,
        }
    }
}

fn accept(head: &http::request::Parts) -> &str {
    let value = head.headers.get(http::header::ACCEPT);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Path<'a> {
    group: &'a str,
    resource: String,
    namespace: &'a str,
    name: &'a str,
    is_resource: bool,
}

impl<'a> Path<'a> {
    fn read(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                return Self {
                    resource: path.into(),
                    ..Self::default()
                };
            }
        };
        // A namespace is a resource itself, unless something in it is meant.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && rest[0] != "status" && rest[0] != "finalize" =>
            {
                (*namespace, rest)
            }
            _ => ("", rest),
        };
        let sub = rest.get(2..).unwrap_or_default();
        Self {
            group,
            resource: [&rest[..1], sub].concat().join("/"),
            namespace,
            name: rest.get(1).copied().unwrap_or_default(),
            is_resource: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str) -> (Verb, String, String) {
        let (head, ()) = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        let request = Request::read(Caller::default(), &head);
        (request.verb, request.resource, request.name)
    }

    #[test]
    fn a_path_is_read_as_kubernetes_does() {
        let cases = [
            ("GET", "/api/v1/services?limit=500", Verb::List, "services", ""),
            ("GET", "/api/v1/services?watch=true", Verb::Watch, "services", ""),
            ("GET", "/api/v1/namespaces/a/services/b", Verb::Get, "services", "b"),
            (
                "PUT",
                "/api/v1/namespaces/a/services/b/status",
                Verb::Update,
                "services/status",
                "b",
            ),
            ("GET", "/api/v1/namespaces/a", Verb::Get, "namespaces", "a"),
            (
                "PATCH",
                "/apis/metallb.io/v1beta1/namespaces/n/metallbs/m/status?force=true",
                Verb::Patch,
                "metallbs/status",
                "m",
            ),
            ("GET", "/readyz", Verb::Get, "/readyz", ""),
        ];
        for (method, uri, verb, resource, name) in cases {
            assert_eq!(read(method, uri), (verb, resource.into(), name.into()), "{uri}");
        }
    }
}
