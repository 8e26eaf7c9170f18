//! Built-in kinds: create, change, apply, delete, garbage, watches, tokens.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::{from, over_the_network, refusal, server};

fn config_map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"a": "1"}}))
}

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let waiting = async {
        while api.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("{name} did not go away"));
}

#[tokio::test]
async fn a_service_gets_addresses_families_and_node_ports_and_loses_them_with_its_type() {
    let (server, _dir) = server().await;
    let services = Api::<Service>::default_namespaced(server.client());
    let object = from(json!({"metadata": {"name": "a"}, "spec": {"type": "LoadBalancer",
        "ipFamilyPolicy": "PreferDualStack", "loadBalancerClass": "x.y/z", "ports": [{"port": 80}]}}));
    let mut service = services.create(&PostParams::default(), &object).await.unwrap();
    let spec = service.spec.clone().unwrap();
    assert_eq!(spec.ip_families.unwrap(), ["IPv4", "IPv6"]);
    assert_eq!(spec.cluster_ips.unwrap().len(), 2);
    assert!(spec.ports.unwrap()[0].node_port.is_some());
    service.status = from(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    service.spec.as_mut().unwrap().external_name = Some("ignored".into());
    let stored = services
        .replace_status("a", &PostParams::default(), &service)
        .await
        .unwrap();
    assert_eq!(stored.spec.unwrap().external_name, None);
    let ingress = stored.status.unwrap().load_balancer.unwrap().ingress.unwrap();
    assert_eq!(ingress[0].ip_mode.as_deref(), Some("VIP"));
    let patch = Patch::Merge(json!({"spec": {"type": "ClusterIP"}}));
    let left = services.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let spec = left.spec.unwrap();
    assert_eq!(
        (spec.load_balancer_class, spec.ports.unwrap()[0].node_port),
        (None, None)
    );
    assert_eq!(left.status.unwrap().load_balancer.unwrap().ingress, None);
}

#[tokio::test]
async fn owned_objects_follow_their_owner_and_namespaces_take_their_contents_along() {
    let (server, _dir) = server().await;
    let namespaces = Api::<Namespace>::all(server.client());
    let namespace = from(json!({"metadata": {"name": "x"}}));
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(server.client(), "x");
    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let mut child = config_map("child");
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}]);
    child.metadata.owner_references = from(reference);
    maps.create(&PostParams::default(), &child).await.unwrap();
    maps.create(&PostParams::default(), &config_map("other")).await.unwrap();
    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    gone(&maps, "child").await;
    assert!(maps.get_opt("other").await.unwrap().is_some());
    namespaces.delete("x", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        refusal(maps.create(&PostParams::default(), &config_map("late")).await).0,
        403
    );
    gone(&namespaces, "x").await;
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn only_known_tokens_get_in() {
    use k8s_openapi::api::authentication::v1::TokenRequest;
    let (server, _dir) = server().await;
    let accounts = Api::<ServiceAccount>::default_namespaced(server.client());
    let account = from(json!({"metadata": {"name": "speaker"}}));
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request: TokenRequest = from(json!({"spec": {"audiences": []}}));
    let made = accounts
        .create_token_request("speaker", &PostParams::default(), &request)
        .await;
    let token = made.unwrap().status.unwrap().token;
    for (token, fine) in [(token.as_str(), true), ("guess", false)] {
        let maps = Api::<ConfigMap>::default_namespaced(over_the_network(&server, token).await);
        assert_eq!(maps.list(&ListParams::default()).await.is_ok(), fine);
    }
}

fn shown(event: &WatchEvent<ConfigMap>) -> String {
    let name = |o: &ConfigMap| o.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(o) => format!("+{}", name(o)),
        WatchEvent::Modified(o) => format!("~{}", name(o)),
        WatchEvent::Deleted(o) => format!("-{}", name(o)),
        WatchEvent::Bookmark(_) => "bookmark".into(),
        WatchEvent::Error(status) => format!("error {}", status.code),
    }
}

#[tokio::test]
async fn a_watch_replays_the_past_as_its_selector_sees_it_and_ends_with_the_server() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(over_the_network(&server, server.token()).await);
    let start = maps
        .list(&Default::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    for labels in [json!({"x": "1"}), json!({"x": "1", "y": "1"}), json!({"x": null})] {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    }
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let selected = WatchParams::default().labels("x=1");
    for (params, wanted) in [(WatchParams::default(), "+a ~a ~a ~a -a"), (selected, "+a ~a -a")] {
        let stream = maps.watch(&params, &start).await.unwrap();
        let stream = stream
            .take(wanted.split(' ').count())
            .map(|event| shown(&event.unwrap()));
        let seen = tokio::time::timeout(Duration::from_secs(60), stream.collect::<Vec<_>>()).await;
        assert_eq!(seen.unwrap().join(" "), wanted);
    }
    let mut late = maps.watch(&WatchParams::default(), "999999").await.unwrap().boxed();
    assert_eq!(shown(&late.next().await.unwrap().unwrap()), "error 410");
    let mut stream = maps.watch(&WatchParams::default(), &start).await.unwrap().boxed();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(Ok(_)) = stream.next().await {}
    });
    let (ended, ()) = tokio::join!(ended, server.shutdown());
    assert!(ended.is_ok());
}
