//! ServiceBGPStatus, as upstream writes it.

use metallb_api::ServiceBGPStatus;

use super::rivals::Cluster;
use super::*;

fn told(peers: &[&str]) -> Option<StatusContent> {
    let peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>();
    Some(StatusContent::Peers(peers.into()))
}

async fn objects(cluster: &Cluster) -> Vec<ServiceBGPStatus> {
    // Long enough for every write, and for the watch to show it.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let api: Api<ServiceBGPStatus> = Api::namespaced(cluster.api.client(), "metallb-system");
    api.list(&ListParams::default()).await.unwrap().items
}

// BGP-98
#[tokio::test(start_paused = true)]
async fn each_node_has_its_own_object_which_follows_the_peers_and_goes_with_the_last() {
    let cluster = Cluster::start().await;
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    let long = "n".repeat(100);
    let near = cluster.speaker_of::<ServiceBGPStatus>("node-a", &mut tasks).await;
    let far = cluster.speaker_of::<ServiceBGPStatus>(&long, &mut tasks).await;
    near.set(key(), told(&["left", "right"]));
    far.set(key(), told(&["left"]));
    let mut all = objects(&cluster).await;
    all.sort_by_key(|object| object.status.as_ref().map(|status| status.peers.len()));
    let [other, own] = &all[..] else { panic!("{all:?}") };
    let says = |object: &ServiceBGPStatus| {
        let status = object.status.clone().unwrap();
        (status.node, status.service_namespace, status.service_name, status.peers)
    };
    let (namespace, name) = ("default".to_owned(), "web".to_owned());
    let both = vec!["left".to_owned(), "right".to_owned()];
    assert_eq!(says(own), ("node-a".to_owned(), namespace.clone(), name.clone(), both));
    assert_eq!(says(other), (long, namespace, name, vec!["left".to_owned()]));
    let meta = &own.metadata;
    assert!(meta.name.as_ref().unwrap().starts_with("bgp-"));
    let labels = meta.labels.as_ref().unwrap();
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("metallb.io/node", "node-a"),
        ("metallb.io/service-name", "web"),
        ("metallb.io/service-namespace", "default"),
    ];
    assert_eq!(labels, expected);
    let [owner] = &meta.owner_references.as_ref().unwrap()[..] else {
        panic!("{meta:?}")
    };
    assert_eq!((owner.kind.as_str(), owner.controller), ("Pod", None));

    near.set(key(), told(&["right"]));
    let now = objects(&cluster).await;
    let same = now.iter().find(|object| object.metadata.name == meta.name).unwrap();
    assert_eq!(same.status.as_ref().unwrap().peers, ["right"]);
    assert_eq!(cluster.created(), 2, "it is changed, not made anew");

    near.set(key(), None);
    let left = objects(&cluster).await;
    assert_eq!(
        (left.len(), left[0].metadata.name.as_ref()),
        (1, other.metadata.name.as_ref())
    );
    stop.cancel();
    tasks.join(Duration::from_secs(1)).await.unwrap();
}
