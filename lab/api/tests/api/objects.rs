//! Built-in kinds: create, change, apply, delete, garbage.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use crate::{from, load_balancer, refusal, server};

fn config_map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"a": "1"}}))
}

#[tokio::test]
async fn a_service_gets_addresses_families_and_node_ports() {
    let (server, _dir) = server().await;
    let services = Api::<Service>::default_namespaced(server.client());
    let one = services
        .create(&PostParams::default(), &load_balancer("a"))
        .await
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(one.ip_families.as_deref(), Some(&["IPv4".to_owned()][..]));
    assert_eq!(one.ip_family_policy.as_deref(), Some("SingleStack"));
    assert!(one.cluster_ip.unwrap().starts_with("10.96."));
    assert!(one.ports.unwrap()[0].node_port.is_some());
    let mut dual = load_balancer("b");
    dual.spec.as_mut().unwrap().ip_family_policy = Some("PreferDualStack".into());
    let dual = services
        .create(&PostParams::default(), &dual)
        .await
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(dual.ip_families.unwrap(), ["IPv4", "IPv6"]);
    assert_eq!(dual.cluster_ips.unwrap().len(), 2);
}

#[tokio::test]
async fn a_service_status_keeps_spec_defaults_the_mode_and_is_cleared_with_the_type() {
    let (server, _dir) = server().await;
    let services = Api::<Service>::default_namespaced(server.client());
    let mut service = load_balancer("a");
    service.spec.as_mut().unwrap().load_balancer_class = Some("x.y/z".into());
    let mut service = services.create(&PostParams::default(), &service).await.unwrap();
    service.status = from(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    service.metadata.annotations = from(json!({"metallb.io/ip-allocated-from-pool": "p"}));
    service.spec.as_mut().unwrap().external_name = Some("ignored".into());
    let stored = services
        .replace_status("a", &PostParams::default(), &service)
        .await
        .unwrap();
    assert_eq!(stored.metadata.annotations.as_ref().unwrap().len(), 1);
    assert_eq!(stored.spec.as_ref().unwrap().external_name, None);
    let ingress = stored.status.unwrap().load_balancer.unwrap().ingress.unwrap();
    assert_eq!(ingress[0].ip_mode.as_deref(), Some("VIP"));
    let patch = Patch::Merge(json!({"spec": {"type": "ClusterIP"}}));
    let left = services.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(left.spec.as_ref().unwrap().load_balancer_class, None);
    assert_eq!(left.spec.unwrap().ports.unwrap()[0].node_port, None);
    assert_eq!(left.status.unwrap().load_balancer.unwrap().ingress, None);
}

#[tokio::test]
async fn a_write_with_an_old_revision_is_a_conflict_and_one_without_change_is_none() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let first = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let same = maps.replace("a", &PostParams::default(), &first).await.unwrap();
    assert_eq!(same.metadata.resource_version, first.metadata.resource_version);
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"b": "2"}})))
        .await
        .unwrap();
    let (code, message) = refusal(maps.replace("a", &PostParams::default(), &first).await);
    assert_eq!(code, 409);
    assert!(message.contains("the object has been modified"), "{message}");
}

#[tokio::test]
async fn apply_owns_fields_reports_conflicts_and_is_quiet_when_nothing_changes() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let apply = |data: serde_json::Value| {
        Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}))
    };
    let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
    let first = maps
        .patch("a", &one, &apply(json!({"a": "1", "b": "1"})))
        .await
        .unwrap();
    let again = maps
        .patch("a", &one, &apply(json!({"a": "1", "b": "1"})))
        .await
        .unwrap();
    assert_eq!(first.metadata.resource_version, again.metadata.resource_version);
    let (code, message) = refusal(maps.patch("a", &two, &apply(json!({"a": "2"}))).await);
    assert_eq!(
        (code, message.as_str()),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"one\" using v1: .data.a"
        )
    );
    maps.patch("a", &two.clone().force(), &apply(json!({"a": "2"})))
        .await
        .unwrap();
    let last = maps.patch("a", &one, &apply(json!({}))).await.unwrap();
    assert_eq!(
        last.data.unwrap().into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), "2".to_owned())]
    );
}

#[tokio::test]
async fn owned_objects_follow_their_owner_and_namespaces_take_their_contents_along() {
    let (server, _dir) = server().await;
    let namespaces = Api::<Namespace>::all(server.client());
    namespaces
        .create(&PostParams::default(), &from(json!({"metadata": {"name": "x"}})))
        .await
        .unwrap();
    let maps = Api::<ConfigMap>::namespaced(server.client(), "x");
    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid});
    let mut child = config_map("child");
    child.metadata.owner_references = from(json!([reference]));
    maps.create(&PostParams::default(), &child).await.unwrap();
    maps.create(&PostParams::default(), &config_map("other")).await.unwrap();
    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    gone(&maps, "child").await;
    assert!(maps.get_opt("other").await.unwrap().is_some());
    namespaces.delete("x", &DeleteParams::default()).await.unwrap();
    // Who lives there may still end in order, as in Kubernetes.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(maps.get_opt("other").await.unwrap().is_some());
    let (code, _) = refusal(maps.create(&PostParams::default(), &config_map("late")).await);
    assert_eq!(code, 403);
    gone(&namespaces, "x").await;
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 0);
    let (code, _) = refusal(maps.create(&PostParams::default(), &config_map("late")).await);
    assert_eq!(code, 404);
}

#[tokio::test]
async fn orphans_stay_and_foreground_deletion_waits_for_dependents() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    for policy in [PropagationPolicy::Orphan, PropagationPolicy::Foreground] {
        let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
        let mut child = config_map("child");
        child.metadata.owner_references = from(
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "blockOwnerDeletion": true}]),
        );
        maps.create(&PostParams::default(), &child).await.unwrap();
        maps.delete(
            "owner",
            &DeleteParams {
                propagation_policy: Some(policy.clone()),
                ..DeleteParams::default()
            },
        )
        .await
        .unwrap();
        gone(&maps, "owner").await;
        let child = maps.get_opt("child").await.unwrap();
        assert_eq!(child.is_some(), matches!(policy, PropagationPolicy::Orphan));
        if child.is_some() {
            maps.delete("child", &DeleteParams::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn finalizers_hold_an_object_and_pods_wait_for_their_node() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let mut held = config_map("a");
    held.metadata.finalizers = Some(vec!["x.y/z".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    let going = maps
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    maps.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let pods = Api::<Pod>::default_namespaced(server.client());
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    pods.create(&PostParams::default(), &from(pod)).await.unwrap();
    let going = pods
        .delete("p", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    pods.delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_paged_selected_and_reduced_to_metadata() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    for name in ["a", "b", "c"] {
        let mut map = config_map(name);
        map.metadata.labels = from(json!({"name": name}));
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let page = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (2, Some(2)));
    let token = page.metadata.continue_.unwrap();
    assert_eq!(
        maps.list(&ListParams::default().continue_token(&token))
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(
        maps.list(&ListParams::default().labels("name in (a,b)"))
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(
        maps.list(&ListParams::default().fields("metadata.name=c"))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(maps.list_metadata(&ListParams::default()).await.unwrap().items.len(), 4);
}

#[tokio::test]
async fn both_event_groups_show_the_same_events() {
    use k8s_openapi::api::{core::v1::Event as Old, events::v1::Event as New};
    let (server, _dir) = server().await;
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "regarding": {"kind": "Service", "name": "s"},
        "note": "text", "reason": "R", "action": "A", "type": "Normal", "eventTime": "2026-01-02T03:04:05.000006Z",
        "reportingController": "c", "reportingInstance": "i"});
    Api::<New>::default_namespaced(server.client())
        .create(&PostParams::default(), &from(event))
        .await
        .unwrap();
    let events = Api::<Old>::default_namespaced(server.client());
    let found = events
        .list(&ListParams::default().fields("involvedObject.name=s"))
        .await
        .unwrap()
        .items;
    assert_eq!(found[0].message.as_deref(), Some("text"));
    assert_eq!(found[0].reporting_component.as_deref(), Some("c"));
}

#[tokio::test]
async fn only_known_tokens_get_in_and_reviews_know_them() {
    use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
    let (server, _dir) = server().await;
    let accounts = Api::<ServiceAccount>::default_namespaced(server.client());
    accounts
        .create(&PostParams::default(), &from(json!({"metadata": {"name": "speaker"}})))
        .await
        .unwrap();
    let request: TokenRequest = from(json!({"spec": {"audiences": [], "expirationSeconds": 3600}}));
    let token = accounts
        .create_token_request("speaker", &PostParams::default(), &request)
        .await
        .unwrap()
        .status
        .unwrap()
        .token;
    let reviews = Api::<TokenReview>::all(server.client());
    let review = reviews
        .create(&PostParams::default(), &from(json!({"spec": {"token": token}})))
        .await
        .unwrap();
    let user = review.status.unwrap().user.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:speaker"));
    for (token, fine) in [(token.as_str(), true), ("guess", false)] {
        let text = server
            .kubeconfig(&format!("https://{}", server.addresses()[0]))
            .replace(server.token(), token);
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let answer = Api::<ConfigMap>::default_namespaced(client)
            .list(&ListParams::default())
            .await;
        assert_eq!(answer.is_ok(), fine);
    }
}

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    for _ in 0..2000 {
        if api.get_opt(name).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{name} did not go away");
}
