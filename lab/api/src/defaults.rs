//! The defaults of built-in kinds that somebody in the lab relies on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::meta;
use crate::resource::Resource;

/// Fills what the real server would fill, except for Services (see `service`).
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => namespace(object),
        ("", "Pod") => {
            pod_spec(&mut object["spec"]);
            unset(meta::member(object, "status"), "phase", "Pending");
        }
        ("", "Secret") => secret(object),
        ("apps", kind) => workload(kind, object),
        ("discovery.k8s.io", _) => each(&mut object["ports"], |port| set(port, "protocol", "TCP")),
        ("admissionregistration.k8s.io", _) => each(&mut object["webhooks"], webhook),
        ("apiextensions.k8s.io", _) => crate::crd::fill(object),
        _ => {}
    }
}

fn unset(map: &mut serde_json::Map<String, Value>, name: &str, value: impl Into<Value>) {
    map.entry(name.to_owned()).or_insert_with(|| value.into());
}

/// Sets a member of an object if it is absent.
pub(crate) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        unset(map, name, value);
    }
}

pub(crate) fn each(list: &mut Value, change: impl FnMut(&mut Value)) {
    list.as_array_mut().into_iter().flatten().for_each(change);
}

/// Changes a member that exists; does not make one.
fn with(object: &mut Value, name: &str, change: impl FnOnce(&mut Value)) {
    if let Some(value) = object.get_mut(name) {
        change(value);
    }
}

fn namespace(object: &mut Value) {
    let name = meta::name(object).to_owned();
    let metadata = object.get_mut("metadata").expect("every stored object has metadata");
    meta::member(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    if !meta::is_deleting(object) {
        unset(meta::member(object, "spec"), "finalizers", json!(["kubernetes"]));
    }
    unset(meta::member(object, "status"), "phase", "Active");
}

fn secret(object: &mut Value) {
    set(object, "type", "Opaque");
    let plain = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (name, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let encoded = BASE64.encode(value.as_str().unwrap_or(""));
        meta::member(object, "data").insert(name.clone(), encoded.into());
    }
}

fn workload(kind: &str, object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    with(spec, "template", |template| {
        if template.get("spec").is_some() {
            pod_spec(&mut template["spec"]);
        }
    });
    match kind {
        "Deployment" => {
            set(spec, "replicas", 1);
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "progressDeadlineSeconds", 600);
            set(spec, "strategy", json!({"type": "RollingUpdate"}));
            if spec["strategy"]["type"] == "RollingUpdate" {
                set(
                    &mut spec["strategy"],
                    "rollingUpdate",
                    json!({"maxUnavailable": "25%", "maxSurge": "25%"}),
                );
            }
        }
        "DaemonSet" => {
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "updateStrategy", json!({"type": "RollingUpdate"}));
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                set(
                    &mut spec["updateStrategy"],
                    "rollingUpdate",
                    json!({"maxUnavailable": 1, "maxSurge": 0}),
                );
            }
        }
        "ReplicaSet" | "StatefulSet" => set(spec, "replicas", 1),
        _ => {}
    }
}

fn pod_spec(spec: &mut Value) {
    set(spec, "restartPolicy", "Always");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        set(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        with(spec, list, |list| each(list, container));
    }
    with(spec, "volumes", |volumes| each(volumes, volume));
}

fn container(container: &mut Value) {
    let image = meta::text(container, "/image");
    let newest = image.ends_with(":latest") || !image.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    set(
        container,
        "imagePullPolicy",
        if newest { "Always" } else { "IfNotPresent" },
    );
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    with(container, "ports", |ports| {
        each(ports, |port| set(port, "protocol", "TCP"));
    });
    with(container, "env", |env| {
        each(env, |variable| {
            if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
                set(field, "apiVersion", "v1");
            }
        });
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        with(container, name, probe);
    }
}

fn probe(probe: &mut Value) {
    set(probe, "timeoutSeconds", 1);
    set(probe, "periodSeconds", 10);
    set(probe, "successThreshold", 1);
    set(probe, "failureThreshold", 3);
    with(probe, "httpGet", |get| {
        set(get, "path", "/");
        set(get, "scheme", "HTTP");
    });
}

fn volume(volume: &mut Value) {
    for name in ["secret", "configMap", "projected", "downwardAPI"] {
        with(volume, name, |source| set(source, "defaultMode", 420));
    }
    if let Some(sources) = volume.pointer_mut("/projected/sources") {
        each(sources, |source| {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
        });
    }
}

fn webhook(webhook: &mut Value) {
    set(webhook, "failurePolicy", "Fail");
    set(webhook, "matchPolicy", "Equivalent");
    set(webhook, "timeoutSeconds", 10);
    set(webhook, "namespaceSelector", json!({}));
    set(webhook, "objectSelector", json!({}));
    with(webhook, "rules", |rules| each(rules, |rule| set(rule, "scope", "*")));
    if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
        set(service, "port", 443);
    }
}
