//! What a request asks for: its path, its parameters, and the form of answer it accepts.

use std::collections::HashMap;

use http::{HeaderMap, Uri};

use crate::error::{ApiError, Result};

/// A path below `/api/v1` or `/apis/<group>/<version>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Parses the segments after group and version.
    pub(crate) fn parse(group: &str, version: &str, segments: &[&str]) -> Option<Self> {
        let mut target = Self {
            group: group.into(),
            version: version.into(),
            ..Self::default()
        };
        let rest = match segments {
            // `namespaces/x/status` is a Namespace, `namespaces/x/pods` is a collection inside one.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => segments,
            ["namespaces", namespace, rest @ ..] => {
                target.namespace = Some((*namespace).to_owned());
                rest
            }
            all => all,
        };
        let owned = |s: &str| Some(s.to_owned());
        match rest {
            [plural] => target.plural = (*plural).to_owned(),
            [plural, name] => (target.plural, target.name) = ((*plural).to_owned(), owned(name)),
            [plural, name, sub] => {
                (target.plural, target.name, target.subresource) = ((*plural).to_owned(), owned(name), owned(sub));
            }
            _ => return None,
        }
        Some(target)
    }
}

/// The query parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    pub(crate) fn parse(uri: &Uri) -> Result<Self> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let pairs = query.map_err(|error| ApiError::bad_request(error.to_string()))?.0;
        Ok(Self(pairs.into_iter().collect()))
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True")
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.get("dryRun") == "All"
    }
}

/// The form of an answer. Who asks for metadata only gets whole objects, which hold them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Full,
    Table,
}

impl Form {
    /// Takes the first form of the `Accept` header that this server has.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(http::header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let table = |media: &str| {
            media.starts_with("application/json;") && media.contains("as=Table") && media.contains("v=v1")
        };
        match accept.split(',').next().is_some_and(table) {
            true => Self::Table,
            false => Self::Full,
        }
    }
}
