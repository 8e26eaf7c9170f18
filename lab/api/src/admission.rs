//! Validating admission webhooks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::call::Call;
use crate::convert;
use crate::error::{ApiError, Result};
use crate::meta;
use crate::selector::label_selector_matches;
use crate::store::{Key, Object};
use crate::webhook;

/// One write that webhooks judge, in the version of the request.
pub(crate) struct Review<'a> {
    pub(crate) operation: &'static str,
    pub(crate) name: &'a str,
    pub(crate) object: Option<&'a Value>,
    pub(crate) old: Option<&'a Value>,
}

/// Asks every webhook that wants to know; the first refusal wins.
pub(crate) async fn admit(call: &Call, review: &Review<'_>) -> Result<()> {
    let resource = &call.resource;
    if resource.group == "admissionregistration.k8s.io" {
        return Ok(());
    }
    let configurations = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    let configurations = call.server.store().list(configurations, None);
    for configuration in configurations {
        for hook in meta::array(&configuration["webhooks"]) {
            if let Some(version) = wanted_version(call, hook, review.operation)
                && selected(call, hook, review)
            {
                ask(call, hook, &version, review).await?;
            }
        }
    }
    Ok(())
}

/// The version in which the webhook wants to see the object, if it wants to see it at all.
fn wanted_version(call: &Call, hook: &Value, operation: &str) -> Option<String> {
    let resource = &call.resource;
    let sub = call.subresource.as_deref();
    let path = sub.map_or_else(|| resource.plural.clone(), |sub| format!("{}/{sub}", resource.plural));
    let has = |list: &Value, value: &str| meta::strings(list).iter().any(|x| *x == "*" || *x == value);
    let named = |x: &str| {
        let any_sub = x.strip_suffix("/*").is_some_and(|plural| plural == resource.plural);
        any_sub || x == path || x == "*/*" || (x == "*" && sub.is_none())
    };
    let wanted = |rule: &&Value| {
        has(&rule["operations"], operation)
            && has(&rule["apiGroups"], &resource.group)
            && meta::strings(&rule["resources"]).into_iter().any(named)
    };
    let rules: Vec<&Value> = meta::array(&hook["rules"]).iter().filter(wanted).collect();
    if rules.iter().any(|rule| has(&rule["apiVersions"], &call.version)) {
        return Some(call.version.clone());
    }
    if hook["matchPolicy"] == "Exact" {
        return None;
    }
    let mut versions = resource.versions.iter().map(|version| &version.name);
    versions
        .find(|version| rules.iter().any(|rule| has(&rule["apiVersions"], version)))
        .cloned()
}

fn selected(call: &Call, hook: &Value, review: &Review<'_>) -> bool {
    let objects = [review.object, review.old];
    let labels = |o: &&Value| label_selector_matches(&hook["objectSelector"], &o["metadata"]["labels"]);
    let by_object = objects.iter().flatten().any(labels);
    let stored = call.server.store().get("namespaces", &Key::new("", &call.namespace));
    let selector = &hook["namespaceSelector"];
    by_object && stored.is_none_or(|namespace| label_selector_matches(selector, &namespace["metadata"]["labels"]))
}

async fn ask(call: &Call, hook: &Value, version: &str, review: &Review<'_>) -> Result<()> {
    let name = meta::text(hook, "/name");
    let uid = meta::new_uid();
    let body = body(call, version, review, &uid).await?;
    let timeout = Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10));
    if call.params.dry_run() && !matches!(meta::text(hook, "/sideEffects"), "None" | "NoneOnDryRun") {
        let why = format!("admission webhook {name:?} does not support dry run");
        return Err(ApiError::bad_request(why));
    }
    let answer = webhook::post(&call.server, &hook["clientConfig"], &body, timeout).await;
    let response = match answer {
        Ok(answer) if answer["response"]["uid"] == uid.as_str() => answer["response"].clone(),
        Ok(_) => return fail(hook, name, "the response has another uid"),
        Err(why) => return fail(hook, name, &format!("failed to call webhook: {why}")),
    };
    for warning in meta::strings(&response["warnings"]) {
        call.warn(warning);
    }
    if response["allowed"] == true {
        return Ok(());
    }
    let status = &response["status"];
    let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok());
    let code = code.filter(|c| *c >= 400).unwrap_or(400);
    let why = status["message"].as_str().unwrap_or("without explanation");
    let message = format!("admission webhook {name:?} denied the request: {why}");
    Err(ApiError::denied(code, status["reason"].as_str(), message))
}

fn fail(hook: &Value, name: &str, why: &str) -> Result<()> {
    if hook["failurePolicy"] == "Ignore" {
        tracing::warn!(webhook = name, why, "webhook failed and is ignored");
        return Ok(());
    }
    Err(ApiError::internal(format!("failed calling webhook {name:?}: {why}")))
}

async fn body(call: &Call, version: &str, review: &Review<'_>, uid: &str) -> Result<Value> {
    let resource = &call.resource;
    let object = in_version(call, version, review.object).await?;
    let old = in_version(call, version, review.old).await?;
    let kind = |version: &str| json!({"group": resource.group, "version": version, "kind": resource.kind});
    let plural = |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
    let options = match review.operation {
        "CREATE" => "CreateOptions",
        "DELETE" => "DeleteOptions",
        _ => "UpdateOptions",
    };
    let mut request = json!({
        "uid": uid, "kind": kind(version), "resource": plural(version),
        "requestKind": kind(&call.version), "requestResource": plural(&call.version),
        "name": review.name, "operation": review.operation, "userInfo": call.user,
        "object": object, "oldObject": old, "dryRun": call.params.dry_run(),
        "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
    });
    if resource.namespaced {
        request["namespace"] = call.namespace.as_str().into();
    }
    if let Some(subresource) = &call.subresource {
        request["subResource"] = subresource.as_str().into();
        request["requestSubResource"] = subresource.as_str().into();
    }
    Ok(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}))
}

async fn in_version(call: &Call, version: &str, object: Option<&Value>) -> Result<Option<Value>> {
    let Some(object) = object else { return Ok(None) };
    let converted = convert::convert(&call.server, &call.resource, version, vec![Object::new(object.clone())]).await?;
    Ok(converted.into_iter().next().map(std::sync::Arc::unwrap_or_clone))
}
