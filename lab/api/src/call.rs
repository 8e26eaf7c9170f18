//! Everything that is known about a request on a resource before its body is read.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use crate::apply::Manager;
use crate::auth::User;
use crate::error::{ApiError, Result};
use crate::request::{Form, Params, Target};
use crate::resource::{Resource, Version};
use crate::state::Shared;
use crate::store::Key;

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) server: Shared,
    pub(crate) resource: Arc<Resource>,
    pub(crate) version: String,
    /// Empty for cluster-scoped kinds and for lists over all namespaces.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) params: Params,
    pub(crate) form: Form,
    pub(crate) user: User,
    pub(crate) manager: String,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Call {
    /// Finds the resource that a path names.
    pub(crate) fn new(server: Shared, target: Target, params: Params, headers: &HeaderMap, user: User) -> Result<Self> {
        let found = server.registry(|r| r.served(&target.group, &target.version, &target.plural));
        let resource = found.ok_or_else(ApiError::no_such_path)?;
        if target.namespace.is_some() && !resource.namespaced {
            return Err(ApiError::no_such_path());
        }
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let agent = agent.split('/').next().filter(|s| !s.is_empty()).unwrap_or("unknown");
        let manager = match params.get("fieldManager") {
            "" => agent.to_owned(),
            name => name.to_owned(),
        };
        Ok(Self {
            server,
            resource,
            version: target.version,
            namespace: target.namespace.unwrap_or_default(),
            name: target.name,
            subresource: target.subresource,
            params,
            form: Form::accepted(headers),
            user,
            manager,
            warnings: Arc::default(),
        })
    }

    /// The version of the request.
    pub(crate) fn served(&self) -> Result<&Version> {
        self.resource.version(&self.version).ok_or_else(ApiError::no_such_path)
    }

    pub(crate) fn api_version(&self) -> String {
        self.resource.api_version(&self.version)
    }

    pub(crate) fn schema(&self) -> &Value {
        self.resource.version(&self.version).map_or(&Value::Null, |v| &v.schema)
    }

    /// Who writes.
    pub(crate) fn field_manager<'a>(&'a self, api_version: &'a str) -> Manager<'a> {
        Manager {
            name: &self.manager,
            api_version,
            subresource: self.subresource.as_deref(),
        }
    }

    /// The key of the named object.
    pub(crate) fn key(&self) -> Result<Key> {
        let name = self.name.as_deref().ok_or_else(ApiError::method_not_allowed)?;
        if self.resource.namespaced && self.namespace.is_empty() {
            return Err(ApiError::no_such_path());
        }
        Ok(Key::new(&self.namespace, name))
    }

    /// Adds a `Warning` header to the answer.
    pub(crate) fn warn(&self, text: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.iter().any(|w| w == text) {
            warnings.push(text.to_owned());
        }
    }

    /// The warnings as headers.
    pub(crate) fn warnings(&self) -> Vec<HeaderValue> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let quoted = warnings.iter().map(|text| {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace(['\n', '\r'], " ");
            HeaderValue::from_str(&format!("299 - \"{text}\""))
        });
        quoted.flatten().collect()
    }
}
