//! The defaults of built-in kinds that somebody in the lab relies on; those of Services are in `service`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::meta::{self, each, set};
use crate::resource::Resource;

/// Fills what the real server would fill.
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => namespace(object),
        ("", "Pod") => {
            pod_spec(&mut object["spec"]);
            set(meta::child(object, "status"), "phase", "Pending");
        }
        ("", "Secret") => secret(object),
        ("apps", kind) => workload(kind, object),
        ("discovery.k8s.io", _) => each(object, "ports", |port| set(port, "protocol", "TCP")),
        ("admissionregistration.k8s.io", _) => each(object, "webhooks", webhook),
        ("apiextensions.k8s.io", _) => crate::crd::fill(object),
        _ => {}
    }
}

fn namespace(object: &mut Value) {
    let name = meta::name(object).to_owned();
    let metadata = meta::child(object, "metadata");
    meta::child(metadata, "labels")["kubernetes.io/metadata.name"] = name.into();
    if !meta::is_deleting(object) {
        set(meta::child(object, "spec"), "finalizers", json!(["kubernetes"]));
    }
    set(meta::child(object, "status"), "phase", "Active");
}

fn secret(object: &mut Value) {
    set(object, "type", "Opaque");
    let plain = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (name, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        meta::child(object, "data")[name] = BASE64.encode(value.as_str().unwrap_or("")).into();
    }
}

fn workload(kind: &str, object: &mut Value) {
    if let Some(template) = object.pointer_mut("/spec/template/spec") {
        pod_spec(template);
    }
    if kind == "Deployment" {
        set(&mut object["spec"], "replicas", 1);
    }
}

fn pod_spec(spec: &mut Value) {
    set(spec, "restartPolicy", "Always");
    set(spec, "terminationGracePeriodSeconds", 30);
    for list in ["containers", "initContainers"] {
        each(spec, list, |container| {
            each(container, "ports", |port| set(port, "protocol", "TCP"));
        });
    }
}

fn webhook(webhook: &mut Value) {
    set(webhook, "failurePolicy", "Fail");
    set(webhook, "matchPolicy", "Equivalent");
    set(webhook, "namespaceSelector", json!({}));
    set(webhook, "objectSelector", json!({}));
    set(webhook, "timeoutSeconds", 10);
    each(webhook, "rules", |rule| set(rule, "scope", "*"));
    if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
        set(service, "port", 443);
    }
}
