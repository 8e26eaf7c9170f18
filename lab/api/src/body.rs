//! Bodies of requests.

use serde_json::Value;

use crate::error::{ApiError, Result};

/// Decodes an object in JSON or YAML.
pub(crate) fn decode(content_type: &str, body: &[u8]) -> Result<Value> {
    let media = content_type.split(';').next().unwrap_or("").trim();
    let object: Value = match media {
        "application/json" | "" => {
            serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("the body is no JSON: {e}")))?
        }
        "application/yaml" => yaml(body)?,
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
