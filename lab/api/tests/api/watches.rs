//! Watches from the past, from now, with selectors, and over the network.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::{from, load_balancer, server};

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
async fn a_watch_replays_the_past_and_selectors_turn_changes_into_additions_and_deletions() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let start = maps
        .list(&Default::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let map = |name: &str| from::<ConfigMap>(json!({"metadata": {"name": name}}));
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    for labels in [json!({"x": "1"}), json!({"x": "1", "y": "1"}), json!({"x": null})] {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    }
    maps.create(&PostParams::default(), &map("b")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let events = |params: WatchParams, n: usize| {
        let (maps, start) = (maps.clone(), start.clone());
        async move {
            let stream = maps
                .watch(&params, &start)
                .await
                .unwrap()
                .take(n)
                .map(|e| shown(&e.unwrap()));
            tokio::time::timeout(Duration::from_secs(5), stream.collect::<Vec<_>>())
                .await
                .unwrap()
        }
    };
    assert_eq!(
        events(WatchParams::default(), 6).await,
        ["+a", "~a", "~a", "~a", "+b", "-a"]
    );
    assert_eq!(
        events(WatchParams::default().labels("x=1"), 3).await,
        ["+a", "~a", "-a"]
    );
    assert_eq!(
        events(WatchParams::default().fields("metadata.name=b"), 1).await,
        ["+b"]
    );
}

#[tokio::test]
async fn a_watch_from_the_future_or_a_forgotten_past_is_told_410() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let mut stream = maps.watch(&WatchParams::default(), "999999").await.unwrap().boxed();
    assert_eq!(shown(&stream.next().await.unwrap().unwrap()), "error 410");
    for n in 0..5100 {
        let patch = Patch::Merge(json!({"data": {"n": n.to_string()}}));
        maps.patch("kube-root-ca.crt", &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
    let mut stream = maps.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    assert_eq!(shown(&stream.next().await.unwrap().unwrap()), "error 410");
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_bookmark() {
    let (server, _dir) = server().await;
    let maps = Api::<ConfigMap>::default_namespaced(server.client());
    let params = WatchParams::default().initial_events();
    let stream = maps
        .watch(&params, "")
        .await
        .unwrap()
        .take(2)
        .map(|e| shown(&e.unwrap()));
    assert_eq!(stream.collect::<Vec<_>>().await, ["+kube-root-ca.crt", "bookmark"]);
}

#[tokio::test]
async fn a_watch_over_the_network_is_live_and_ends_with_the_server() {
    let (server, _dir) = server().await;
    let config = kube::config::Kubeconfig::read_from(server.kubeconfig_path()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .unwrap();
    let services = Api::<Service>::default_namespaced(kube::Client::try_from(config).unwrap());
    let mut stream = services.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert!(matches!(stream.next().await, Some(Ok(WatchEvent::Added(_)))));
    services
        .create(&PostParams::default(), &load_balancer("a"))
        .await
        .unwrap();
    assert!(matches!(stream.next().await, Some(Ok(WatchEvent::Added(_)))));
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(Ok(_)) = stream.next().await {}
    });
    let (ended, ()) = tokio::join!(ended, server.shutdown());
    assert!(ended.is_ok());
}
