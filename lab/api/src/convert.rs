//! From the stored form of an object to the version a request wants, and back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{ApiError, Result};
use crate::meta;
use crate::resource::Resource;
use crate::schema;
use crate::state::Server;
use crate::store::Object;
use crate::webhook;

/// Core name, `events.k8s.io` name of each field that differs between the two Event kinds.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Stored objects in the form of `version`.
pub(crate) async fn present(
    server: &Server,
    resource: &Resource,
    version: &str,
    objects: Vec<Object>,
) -> Result<Vec<Object>> {
    if resource.is("events.k8s.io", "events") {
        return Ok(objects
            .into_iter()
            .map(|o| Arc::new(event(&o, "events.k8s.io/v1", |(old, new)| (old, new))))
            .collect());
    }
    convert(server, resource, version, objects).await
}

/// An object of a request in the form in which it is stored.
pub(crate) async fn storable(server: &Server, resource: &Resource, object: Value) -> Result<Value> {
    if resource.is("events.k8s.io", "events") {
        return Ok(event(&object, "v1", |(old, new)| (new, old)));
    }
    let converted = convert(server, resource, &resource.storage, vec![Arc::new(object)]).await?;
    Ok(converted
        .into_iter()
        .next()
        .map(Arc::unwrap_or_clone)
        .unwrap_or_default())
}

fn event(
    object: &Value,
    api_version: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let Some(map) = object.as_object() else {
        return object.clone();
    };
    let rename = |name: &str| {
        EVENT_FIELDS
            .iter()
            .map(|pair| direction(*pair))
            .find(|(from, _)| *from == name)
            .map(|(_, to)| to)
    };
    let mut result: serde_json::Map<String, Value> = map
        .iter()
        .map(|(name, value)| (rename(name).map_or_else(|| name.clone(), str::to_owned), value.clone()))
        .collect();
    result.insert("apiVersion".into(), api_version.into());
    Value::Object(result)
}

/// Converts custom resources; objects of the wanted version already pass as they are.
pub(crate) async fn convert(
    server: &Server,
    resource: &Resource,
    version: &str,
    objects: Vec<Object>,
) -> Result<Vec<Object>> {
    let Some(custom) = &resource.custom else {
        return Ok(objects);
    };
    let wanted = resource.api_version(version);
    let foreign = |object: &Object| object["apiVersion"] != wanted.as_str();
    if !objects.iter().any(foreign) {
        return Ok(objects);
    }
    let converted = match &custom.conversion {
        None => objects
            .into_iter()
            .map(|object| {
                if foreign(&object) {
                    Arc::new(relabelled(&object, &wanted))
                } else {
                    object
                }
            })
            .collect(),
        Some(webhook) => call(server, resource, webhook, &wanted, objects).await?,
    };
    let schema = resource.version(version).map_or(&Value::Null, |v| &v.schema);
    let defaulted = |object: Object| {
        let mut object = Arc::unwrap_or_clone(object);
        schema::prune(&mut object, schema);
        schema::default(&mut object, schema);
        Arc::new(object)
    };
    Ok(converted.into_iter().map(defaulted).collect())
}

fn relabelled(object: &Value, api_version: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = api_version.into();
    object
}

async fn call(
    server: &Server,
    resource: &Resource,
    webhook: &Value,
    wanted: &str,
    objects: Vec<Object>,
) -> Result<Vec<Object>> {
    let versions = meta::strings(&webhook["conversionReviewVersions"]);
    let review = versions
        .into_iter()
        .find(|v| matches!(*v, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let uid = meta::new_uid();
    let foreign: Vec<&Value> = objects
        .iter()
        .map(AsRef::as_ref)
        .filter(|o| o["apiVersion"] != wanted)
        .collect();
    let body = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{review}"),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": foreign},
    });
    let failed = |why: String| {
        ApiError::internal(format!(
            "conversion webhook for {}, Kind={} failed: {why}",
            foreign_version(&foreign),
            resource.kind
        ))
    };
    let answer = webhook::post(server, &webhook["clientConfig"], &body, Duration::from_secs(30))
        .await
        .map_err(&failed)?;
    let response = &answer["response"];
    if response["uid"] != uid.as_str() {
        return Err(failed("the response has another uid".into()));
    }
    if response["result"]["status"] != "Success" {
        return Err(failed(meta::text(response, "/result/message").to_owned()));
    }
    let converted = meta::array(&response["convertedObjects"]);
    if converted.len() != foreign.len() || converted.iter().any(|o| o["apiVersion"] != wanted) {
        return Err(failed("the response has not all objects in the desired version".into()));
    }
    let mut converted = converted.iter();
    Ok(objects
        .iter()
        .map(|object| {
            if object["apiVersion"] == wanted {
                return object.clone();
            }
            let mut result = converted.next().cloned().unwrap_or_default();
            // Only labels and annotations of the metadata may be converted.
            let mut metadata = object["metadata"].clone();
            for name in ["labels", "annotations"] {
                match result["metadata"].get(name) {
                    Some(value) => metadata[name] = value.clone(),
                    None => drop(metadata.as_object_mut().map(|m| m.remove(name))),
                }
            }
            result["metadata"] = metadata;
            Arc::new(result)
        })
        .collect())
}

fn foreign_version(objects: &[&Value]) -> String {
    objects
        .first()
        .map(|o| meta::text(o, "/apiVersion").to_owned())
        .unwrap_or_default()
}
