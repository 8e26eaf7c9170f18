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
    let configurations = call.server.store().list(
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        None,
        None,
    );
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
    let path = call
        .subresource
        .as_ref()
        .map_or_else(|| resource.plural.clone(), |sub| format!("{}/{sub}", resource.plural));
    let has = |list: &Value, value: &str| meta::strings(list).iter().any(|x| *x == "*" || *x == value);
    let named = |list: &Value| {
        meta::strings(list).iter().any(|x| {
            let all = *x == "*/*" || (*x == "*" && call.subresource.is_none());
            let any_sub = x.strip_suffix("/*").is_some_and(|plural| plural == resource.plural);
            all || any_sub || *x == path
        })
    };
    let rules: Vec<&Value> = meta::array(&hook["rules"])
        .iter()
        .filter(|rule| {
            let scope = match meta::text(rule, "/scope") {
                "Namespaced" => resource.namespaced,
                "Cluster" => !resource.namespaced,
                _ => true,
            };
            scope
                && has(&rule["operations"], operation)
                && has(&rule["apiGroups"], &resource.group)
                && named(&rule["resources"])
        })
        .collect();
    if rules.iter().any(|rule| has(&rule["apiVersions"], &call.version)) {
        return Some(call.version.clone());
    }
    if hook["matchPolicy"] == "Exact" {
        return None;
    }
    let other = resource
        .versions
        .iter()
        .find(|v| rules.iter().any(|rule| has(&rule["apiVersions"], &v.name)));
    other.map(|v| v.name.clone())
}

fn selected(call: &Call, hook: &Value, review: &Review<'_>) -> bool {
    let objects = [review.object, review.old];
    let labels = |o: &&Value| label_selector_matches(&hook["objectSelector"], &o["metadata"]["labels"]);
    let by_object = objects.iter().flatten().any(labels);
    let namespace = if call.resource.is("", "namespaces") {
        review.name
    } else {
        &call.namespace
    };
    let stored = call.server.store().get("namespaces", &Key::new("", namespace));
    let by_namespace =
        stored.is_none_or(|n| label_selector_matches(&hook["namespaceSelector"], &n["metadata"]["labels"]));
    by_object && by_namespace
}

async fn ask(call: &Call, hook: &Value, version: &str, review: &Review<'_>) -> Result<()> {
    let name = meta::text(hook, "/name");
    let uid = meta::new_uid();
    let body = match body(call, version, review, &uid).await {
        Ok(body) => body,
        Err(error) => return Err(error),
    };
    let timeout = Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10));
    if call.params.dry_run() && !matches!(meta::text(hook, "/sideEffects"), "None" | "NoneOnDryRun") {
        return Err(ApiError::bad_request(format!(
            "admission webhook {name:?} does not support dry run"
        )));
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
    let code = status["code"]
        .as_u64()
        .and_then(|c| u16::try_from(c).ok())
        .filter(|c| *c >= 400)
        .unwrap_or(400);
    let why = [meta::text(status, "/message"), meta::text(status, "/reason")]
        .into_iter()
        .find(|s| !s.is_empty());
    let message = why.map_or_else(
        || format!("admission webhook {name:?} denied the request without explanation"),
        |why| format!("admission webhook {name:?} denied the request: {why}"),
    );
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
        "name": review.name, "operation": review.operation, "userInfo": call.user.to_json(),
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
