//! Who else writes the status of a Service.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Api;
use kube::api::ListParams;
use metallb_api::names::field_manager;
use metallb_ipam::Key;
use tracing::debug;

use super::Shared;

/// Asks the API server who that is; watches leave it out of objects. Before we write the addresses again, since they are
/// ours then.
pub(super) async fn text(shared: &Shared, key: &Key) -> String {
    let api: Api<Service> = Api::namespaced(shared.client.clone(), key.namespace());
    // A list, since that is all that we may do.
    let only = ListParams::default().fields(&format!("metadata.name={}", key.name()));
    let found = api.list_metadata(&only).await;
    let found = found.inspect_err(|error| debug!(event = "rivalUnknown", service = %key, %error));
    let found = found.ok().and_then(|found| found.items.into_iter().next());
    let name = found.and_then(|found| foreign_manager(&found.metadata));
    let who = name.map_or_else(
        || "somebody whose field manager is not known".to_owned(),
        |name| format!("field manager {name:?}"),
    );
    format!(
        "{who} keeps overwriting the addresses of this service, which are restored every few seconds: \
         let one load balancer serve it, by its configuration or by spec.loadBalancerClass"
    )
}

/// The last one but us who wrote the addresses of a Service.
fn foreign_manager(metadata: &ObjectMeta) -> Option<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let foreign = entries.filter(|entry| entry.manager.as_deref() != Some(field_manager::CONTROLLER));
    let last = foreign.filter(|entry| writes_addresses(entry)).max_by_key(|entry| {
        let time = entry.time.as_ref();
        time.map(|time| time.0)
    });
    last?.manager.clone()
}

fn writes_addresses(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    fields.is_some_and(|fields| fields.pointer("/f:status/f:loadBalancer").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn metadata(entries: &[(&str, &str, Value)]) -> ObjectMeta {
        let entry = |(manager, time, fields): &(&str, &str, Value)| json!({ "manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields });
        let entries: Vec<_> = entries.iter().map(entry).collect();
        serde_json::from_value(json!({ "managedFields": entries })).unwrap()
    }

    #[test]
    fn the_last_foreign_writer_of_the_addresses_is_named() {
        // CTL-16
        let addresses = json!({ "f:status": { "f:loadBalancer": { "f:ingress": {} } } });
        let all = [
            ("metallb-controller", "2026-01-01T00:00:09Z", addresses.clone()),
            ("long-ago", "2026-01-01T00:00:01Z", addresses.clone()),
            ("kube-vip", "2026-01-01T00:00:05Z", addresses),
            (
                "kubectl",
                "2026-01-01T00:00:08Z",
                json!({ "f:metadata": { "f:labels": {} } }),
            ),
        ];
        assert_eq!(foreign_manager(&metadata(&all)).as_deref(), Some("kube-vip"));
        assert_eq!(foreign_manager(&metadata(&all[..1])), None);
        assert_eq!(foreign_manager(&ObjectMeta::default()), None);
    }
}
