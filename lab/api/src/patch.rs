//! The four kinds of PATCH.

use serde_json::Value;

use crate::apply;
use crate::body::yaml;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::shape::Shape;
use crate::strategic;

/// A decoded patch.
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<Self> {
        let media = content_type.split(';').next().unwrap_or("").trim();
        let json = || {
            serde_json::from_slice::<Value>(body)
                .map_err(|e| ApiError::bad_request(format!("the patch is no JSON: {e}")))
        };
        match media {
            "application/json-patch+json" => {
                let patch = serde_json::from_slice(body)
                    .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => Ok(Self::Merge(json()?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(json()?)),
            "application/apply-patch+yaml" => {
                let mut config = json().or_else(|_| yaml(body))?;
                // Or a float that is stored as an integer would look like a change by another manager.
                meta::whole_numbers(&mut config);
                Ok(Self::Apply(config))
            }
            other => Err(ApiError::unsupported_media(other)),
        }
    }

    /// The patched object.
    pub(crate) fn run(&self, live: &Value, manager: &apply::Manager<'_>, force: bool, schema: &Value) -> Result<Value> {
        let shape = Shape::root(schema);
        let mut object = live.clone();
        match self {
            Self::Json(patch) => {
                json_patch::patch(&mut object, patch).map_err(|error| {
                    ApiError::new(
                        422,
                        "Invalid",
                        format!("the server rejected our request due to an error in our request: {error}"),
                    )
                })?;
            }
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(_) if !schema.is_null() => {
                return Err(ApiError::unsupported_media("application/strategic-merge-patch+json"));
            }
            Self::Strategic(patch) => strategic::merge(&mut object, patch, shape),
            Self::Apply(config) => {
                if config["metadata"]["managedFields"].is_array() {
                    return Err(ApiError::bad_request("metadata.managedFields must be nil"));
                }
                object = apply::apply(live, config, manager, force, shape).map_err(|c| ApiError::apply_conflict(&c))?;
            }
        }
        Ok(object)
    }
}
