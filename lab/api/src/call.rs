//! One request on one resource, and where each verb and subresource goes.

use std::sync::Mutex;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::auth::User;
use crate::error::{ApiError, Result};
use crate::patch::Patch;
use crate::protobuf;
use crate::request::{Form, Params, Target};
use crate::resource::{Resource, Version};
use crate::state::Shared;
use crate::store::Key;
use crate::{delete, read, scale, view, watch, write};

/// Everything that is known about a request before its body is read.
pub(crate) struct Call {
    pub(crate) server: Shared,
    pub(crate) resource: std::sync::Arc<Resource>,
    pub(crate) version: String,
    /// Empty for cluster-scoped kinds and for lists over all namespaces.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) params: Params,
    pub(crate) form: Form,
    pub(crate) user: User,
    pub(crate) manager: String,
    warnings: Mutex<Vec<String>>,
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
        let manager = match params.get("fieldManager") {
            "" => agent
                .split('/')
                .next()
                .filter(|s| !s.is_empty())
                .unwrap_or("unknown")
                .to_owned(),
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
            warnings: Mutex::default(),
        })
    }

    /// The same request with other parameters, and without the warnings so far.
    pub(crate) fn with_params(&self, params: Params) -> Self {
        Self {
            server: self.server.clone(),
            resource: self.resource.clone(),
            version: self.version.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            subresource: self.subresource.clone(),
            params,
            form: self.form,
            user: self.user.clone(),
            manager: self.manager.clone(),
            warnings: Mutex::default(),
        }
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
        let mut warnings = self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !warnings.iter().any(|w| w == text) {
            warnings.push(text.to_owned());
        }
    }

    /// Runs the verb and puts the warnings on its answer.
    pub(crate) async fn run(self, method: &Method, headers: &HeaderMap, body: Bytes) -> Response {
        if let Some(text) = self.served().ok().and_then(|v| v.deprecation.clone()) {
            self.warn(&text);
        }
        let mut response = self
            .dispatch(method, headers, body)
            .await
            .unwrap_or_else(ApiError::into_response);
        for text in self
            .warnings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
        {
            let quoted = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace(['\n', '\r'], " ");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }

    async fn dispatch(&self, method: &Method, headers: &HeaderMap, body: Bytes) -> Result<Response> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("application/json");
        match self.subresource.as_deref() {
            None => {}
            Some("status") if self.served()?.status => {}
            Some("scale") if self.served()?.scale.is_some() => {
                return scale::run(self, method, content_type, &body).await;
            }
            Some("token") if self.resource.is("", "serviceaccounts") => {
                return self.token(&decode(content_type, &body)?);
            }
            Some("eviction") if self.resource.is("", "pods") && *method == Method::POST => {
                let options = decode(content_type, &body)?["deleteOptions"].clone();
                delete::delete(self, &options).await?;
                return Ok(view::created(write::success(self, &Value::Null)));
            }
            Some("finalize") if self.resource.is("", "namespaces") => {}
            Some(_) => return Err(ApiError::no_such_path()),
        }
        let named = self.name.is_some();
        match method.as_str() {
            "GET" if self.params.flag("watch") => watch::watch(self),
            "GET" if named => read::get(self).await,
            "GET" => read::list(self).await,
            "POST" if !named => {
                let object = write::create(self, decode(content_type, &body)?).await?;
                Ok(view::created(view::one(self, &object)))
            }
            "PUT" if named => write::replace(self, decode(content_type, &body)?)
                .await
                .map(|o| view::ok(view::one(self, &o))),
            "PATCH" if named => {
                let patch = Patch::parse(content_type, &body)?;
                let (object, made) = write::patch(self, &patch).await?;
                let answer = view::one(self, &object);
                Ok(if made { view::created(answer) } else { view::ok(answer) })
            }
            "DELETE" => {
                let options = if body.is_empty() {
                    Value::Null
                } else {
                    decode(content_type, &body)?
                };
                let answer = if named {
                    delete::delete(self, &options).await?
                } else {
                    delete::collection(self, &options).await?
                };
                Ok(view::ok(answer))
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    fn token(&self, request: &Value) -> Result<Response> {
        let key = self.key()?;
        let account = self.server.store().get("serviceaccounts", &key);
        let account = account.ok_or_else(|| ApiError::not_found(&self.resource, &key.name))?;
        Ok(view::created(self.server.tokens().request(&account, request)))
    }
}

/// Decodes a body in JSON or YAML (or the little protobuf that `kubectl create` sends).
pub(crate) fn decode(content_type: &str, body: &[u8]) -> Result<Value> {
    let media = content_type.split(';').next().unwrap_or("").trim();
    let object: Value = match media {
        "application/json" | "" => {
            serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("the body is no JSON: {e}")))?
        }
        "application/yaml" => yaml(body)?,
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(body).map_err(|why| ApiError::new(415, "UnsupportedMediaType", why))?
        }
        _ => return Err(ApiError::unsupported_media(media)),
    };
    if object.is_object() {
        Ok(object)
    } else {
        Err(ApiError::bad_request("the body is no object"))
    }
}

/// Decodes YAML (of which JSON is a part).
pub(crate) fn yaml(body: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|e| ApiError::bad_request(format!("the body is no YAML: {e}")))
}

/// An answer with a JSON body.
pub(crate) fn json(code: StatusCode, value: Value) -> Response {
    (code, axum::Json(value)).into_response()
}
