//! From the stored form of an object to the version a request wants, and back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{ApiError, Result};
use crate::meta;
use crate::resource::Resource;
use crate::schema;
use crate::state::Server;
use crate::store::Object;
use crate::webhook;

/// Core name, `events.k8s.io` name of each field that differs between the two Event kinds.
const EVENT_FIELDS: [(&str, &str); 4] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// Stored objects in the form of `version`.
pub(crate) async fn present(
    server: &Server,
    resource: &Resource,
    version: &str,
    objects: Vec<Object>,
) -> Result<Vec<Object>> {
    if resource.is("events.k8s.io", "events") {
        let events = objects.iter();
        let events = events.map(|o| Arc::new(event(o, "events.k8s.io/v1", |(old, new)| (old, new))));
        return Ok(events.collect());
    }
    convert(server, resource, version, objects).await
}

/// An object of a request in the form in which it is stored.
pub(crate) async fn storable(server: &Server, resource: &Resource, object: Value) -> Result<Value> {
    if resource.is("events.k8s.io", "events") {
        return Ok(event(&object, "v1", |(old, new)| (new, old)));
    }
    let converted = convert(server, resource, &resource.storage, vec![Arc::new(object)]).await?;
    let object = converted.into_iter().next();
    Ok(object.map(Arc::unwrap_or_clone).unwrap_or_default())
}

type Pair = (&'static str, &'static str);

fn event(object: &Value, api_version: &str, direction: impl Fn(Pair) -> Pair) -> Value {
    let rename = |name: &String| {
        let mut pairs = EVENT_FIELDS.into_iter().map(&direction);
        let pair = pairs.find(|(from, _)| from == name);
        pair.map_or_else(|| name.clone(), |(_, to)| to.to_owned())
    };
    let fields = object.as_object().into_iter().flatten();
    let mut result: Map<_, _> = fields.map(|(name, value)| (rename(name), value.clone())).collect();
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
    let foreign = |object: &&Object| object["apiVersion"] != wanted.as_str();
    let sent: Vec<&Value> = objects.iter().filter(foreign).map(AsRef::as_ref).collect();
    if sent.is_empty() {
        return Ok(objects);
    }
    let converted = match &custom.conversion {
        None => sent.into_iter().cloned().collect(),
        Some(webhook) => ask(server, resource, webhook, &wanted, &sent).await?,
    };
    let mut converted = converted.into_iter();
    let schema = resource.version(version).map_or(&Value::Null, |v| &v.schema);
    let finished = objects.iter().map(|object| {
        if !foreign(&object) {
            return object.clone();
        }
        let mut result = converted.next().unwrap_or_default();
        // Only labels and annotations of the metadata may be converted.
        let mut metadata = object["metadata"].clone();
        for name in ["labels", "annotations"] {
            match result["metadata"].get(name) {
                Some(value) => metadata[name] = value.clone(),
                None => drop(metadata.as_object_mut().map(|m| m.remove(name))),
            }
        }
        result["metadata"] = metadata;
        result["apiVersion"] = wanted.as_str().into();
        schema::prune(&mut result, schema);
        schema::default(&mut result, schema);
        Arc::new(result)
    });
    Ok(finished.collect())
}

/// What the conversion webhook makes of the objects.
async fn ask(server: &Server, resource: &Resource, hook: &Value, wanted: &str, sent: &[&Value]) -> Result<Vec<Value>> {
    let uid = meta::new_uid();
    let body = json!({
        "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": sent},
    });
    let failed = |why: &str| {
        let from = sent.first().map_or("", |o| meta::text(o, "/apiVersion"));
        let what = format!("conversion webhook for {from}, Kind={}", resource.kind);
        ApiError::internal(format!("{what} failed: {why}"))
    };
    let answer = webhook::post(server, &hook["clientConfig"], &body, Duration::from_secs(30)).await;
    let answer = answer.map_err(|why| failed(&why))?;
    let response = &answer["response"];
    if response["uid"] != uid.as_str() || response["result"]["status"] != "Success" {
        return Err(failed(meta::text(response, "/result/message")));
    }
    let converted = meta::array(&response["convertedObjects"]);
    if converted.len() != sent.len() || converted.iter().any(|o| o["apiVersion"] != wanted) {
        return Err(failed("the response has not all objects in the desired version"));
    }
    Ok(converted.to_vec())
}
