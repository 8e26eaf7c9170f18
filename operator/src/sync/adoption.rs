//! Taking over what another operator left: its objects stay, its bookkeeping goes.
//!
//! Names, labels, selectors and the field manager are upstream's, so that applying to a running installation changes
//! what differs and recreates nothing. Objects that upstream deployed and we do not want are found by their names.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use metallb_api::names::field_manager;
use metallb_manifests::MANAGED_BY;
use serde_json::{Map, Value, json};

use crate::sync::kinds::kinds;

/// Who wrote with plain updates, in upstream's releases from before server-side apply.
const UPDATERS: [&str; 2] = [field_manager::OPERATOR, "manager"];

/// Makes the fields that upstream once wrote with updates ours, so that applying removes what is not wanted any more.
///
/// Returns the object's revision, none if it does not exist.
pub(crate) async fn take_over(api: &Api<DynamicObject>, name: &str) -> kube::Result<Option<String>> {
    let Some(found) = api.get_metadata_opt(name).await? else {
        return Ok(None);
    };
    let entries = found.metadata.managed_fields.clone().unwrap_or_default();
    let Some(merged) = as_applied(entries) else {
        return Ok(found.resource_version());
    };
    let body = json!({ "metadata": { "managedFields": merged, "resourceVersion": found.resource_version() } });
    let patched = api
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(body))
        .await?;
    Ok(patched.resource_version())
}

/// Turns the entries of updates into one of apply; none if there are no such entries.
fn as_applied(entries: Vec<ManagedFieldsEntry>) -> Option<Vec<ManagedFieldsEntry>> {
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry
                .manager
                .as_deref()
                .is_some_and(|manager| UPDATERS.contains(&manager))
    };
    let (ours, mut others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_ours);
    if ours.iter().all(|entry| entry.operation.as_deref() == Some("Apply")) {
        return None;
    }
    let mut fields = Value::Object(Map::new());
    for entry in &ours {
        union(
            &mut fields,
            entry.fields_v1.as_ref().map_or(&Value::Null, |fields| &fields.0),
        );
    }
    let mut applied = ours.into_iter().next()?;
    applied.manager = Some(field_manager::OPERATOR.to_owned());
    applied.operation = Some("Apply".to_owned());
    applied.fields_v1 = Some(FieldsV1(fields));
    others.push(applied);
    Some(others)
}

fn union(fields: &mut Value, more: &Value) {
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else {
        return;
    };
    for (key, value) in more {
        union(fields.entry(key.clone()).or_insert_with(|| json!({})), value);
    }
}

/// What upstream's operator deploys, and where: kind, name. What of it we do not want has to go with upstream.
const UPSTREAM: [(&str, &str); 15] = [
    (
        "ValidatingWebhookConfiguration",
        "frr-k8s-validating-webhook-configuration",
    ),
    ("DaemonSet", "frr-k8s"),
    ("Deployment", "statuscleaner"),
    ("ConfigMap", "frr-startup"),
    ("NetworkPolicy", "controller"),
    ("PodMonitor", "metallb-controller"),
    ("PodMonitor", "metallb-speaker"),
    ("Secret", "frr-k8s-webhook-server-cert"),
    ("Service", "controller-monitor-service"),
    ("Service", "frr-k8s-monitor-service"),
    ("Service", "frr-k8s-webhook-service"),
    ("Service", "speaker-monitor-service"),
    ("ServiceMonitor", "controller-monitor"),
    ("ServiceMonitor", "frr-k8s-monitor"),
    ("ServiceMonitor", "speaker-monitor"),
];

/// Finds what upstream's operator deployed here, as `Kind/name` with what it takes to delete it.
///
/// Only what upstream's operator applied itself counts; what cannot be looked at is left alone.
pub(crate) async fn leftovers(client: &Client, namespace: &str) -> Vec<(String, Arc<Value>)> {
    let kinds = kinds();
    let questions = UPSTREAM.iter().filter_map(|(kind, name)| {
        let known = kinds.iter().find(|known| known.resource.kind == *kind)?;
        let api: Api<DynamicObject> = if known.namespaced {
            Api::namespaced_with(client.clone(), namespace, &known.resource)
        } else {
            Api::all_with(client.clone(), &known.resource)
        };
        let question = async move {
            let found = api.get_metadata_opt(name).await.ok().flatten()?;
            is_upstreams(&found.metadata).then(|| {
                let live = json!({ "metadata": { "uid": found.metadata.uid, "name": name } });
                (format!("{kind}/{name}"), Arc::new(live))
            })
        };
        Some(question.boxed())
    });
    let questions: Vec<_> = questions.collect();
    let answers: Vec<_> = stream::iter(questions).buffered(crate::AT_A_TIME).collect().await;
    answers.into_iter().flatten().collect()
}

/// Tells whether upstream's operator applied the object. What we applied carries our label.
fn is_upstreams(meta: &ObjectMeta) -> bool {
    let labels = meta.labels.as_ref();
    let ours = labels
        .and_then(|labels| labels.get(MANAGED_BY.0))
        .is_some_and(|by| by == MANAGED_BY.1);
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let applied = entries.iter().any(|entry| {
        entry.manager.as_deref() == Some(field_manager::OPERATOR) && entry.operation.as_deref() == Some("Apply")
    });
    applied && !ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
        }))
        .unwrap()
    }

    // OP-47
    #[test]
    fn fields_of_updates_become_applied_ones() {
        let entries = vec![
            entry("manager", "Update", &json!({ "f:spec": { "f:replicas": {} } })),
            entry("metallb-operator", "Apply", &json!({ "f:spec": { "f:template": {} } })),
            entry("kubectl", "Update", &json!({ "f:metadata": {} })),
        ];
        let merged = as_applied(entries).unwrap();
        let text = serde_json::to_value(&merged).unwrap();
        assert_eq!(merged.len(), 2);
        assert_eq!(text[0]["manager"], "kubectl");
        assert_eq!(
            (&text[1]["manager"], &text[1]["operation"]),
            (&json!("metallb-operator"), &json!("Apply"))
        );
        assert_eq!(
            text[1]["fieldsV1"],
            json!({ "f:spec": { "f:replicas": {}, "f:template": {} } })
        );
    }

    // OP-47
    #[test]
    fn what_upstream_applied_is_told_from_what_others_did() {
        let meta = |manager: &str, label: &str| ObjectMeta {
            managed_fields: Some(vec![entry(manager, "Apply", &json!({}))]),
            labels: Some([(MANAGED_BY.0.to_owned(), label.to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert!(is_upstreams(&meta("metallb-operator", "Helm")));
        assert!(!is_upstreams(&meta("metallb-operator", "metallb-operator")));
        assert!(!is_upstreams(&meta("helm", "Helm")));
    }

    #[test]
    fn nothing_is_done_where_all_is_applied_already() {
        assert_eq!(as_applied(vec![entry("metallb-operator", "Apply", &json!({}))]), None);
        assert_eq!(as_applied(vec![entry("kubectl", "Update", &json!({}))]), None);
        assert_eq!(as_applied(Vec::new()), None);
    }
}
