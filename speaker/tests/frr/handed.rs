use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use metallb_api::{BGPAdvertisement, BGPPeer, FRRConfiguration};
use metallb_test_runner::in_namespace;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::node::{Node, make};
use crate::whole::{connections, gone, settled, summary};

const OBJECT: &str = "metallb-n";

/// Waits until the object of the node is as wanted.
async fn handed(
    node: &Node,
    what: &str,
    wanted: impl Fn(Option<&FRRConfiguration>) -> bool,
) -> Option<FRRConfiguration> {
    for _ in 0..600 {
        let object = node.ours::<FRRConfiguration>().get_opt(OBJECT).await.unwrap();
        if wanted(object.as_ref()) {
            return object;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(node.path("speaker.log")).unwrap_or_default();
    panic!("{what}\n{log}");
}

fn tells(object: Option<&FRRConfiguration>, prefix: &str) -> bool {
    object.is_some_and(|object| serde_json::to_string(&object.spec).unwrap().contains(prefix))
}

/// A FRRConfiguration of a user's own, for our neighbor.
fn of_a_user(neighbor: &Value) -> Value {
    let mut whole = json!({ "address": "10.0.0.2", "asn": 64501, "port": 179, "connectTime": "1s" });
    for (field, value) in neighbor.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let spec = json!({ "bgp": { "routers": [{ "asn": 64500, "neighbors": [whole] }] } });
    json!({ "metadata": { "name": "user" }, "spec": spec })
}

// FRR-48, FRR-49, FRR-50, FRR-54, FRR-57
pub(crate) fn frr_k8s_announces_what_it_is_handed() {
    in_namespace(async {
        let node = Node::new().await;
        let _frr_k8s = node.frr_k8s().await;
        node.service("a", "198.51.100.1").await;
        let speaker = node.speaker_with("frr-k8s");
        let colours = ["64500:7", "Large Community: 64500:1:2", "10.0.0.1 from 10.0.0.1"];
        node.router_shows("show bgp ipv4 unicast 198.51.100.1/32", &colours);
        let connections_before = settled(&node);
        let written = handed(&node, "no object", |object| object.is_some()).await.unwrap();
        let hostname = serde_json::to_value(&written.spec).unwrap();
        assert_eq!(
            hostname["nodeSelector"]["matchLabels"],
            json!({ "kubernetes.io/hostname": "host-n" })
        );

        // Another speaker takes over, and what a user adds to our neighbor goes along with it.
        drop(speaker);
        let speaker = node.speaker_with("frr-k8s");
        let receiving = of_a_user(&json!({ "toReceive": { "allowed": { "mode": "all" } } }));
        make(&node.ours::<FRRConfiguration>(), receiving).await;
        sleep(Duration::from_secs(5)).await;
        let now = handed(&node, "no object", |object| object.is_some()).await.unwrap();
        assert_eq!(
            now.resource_version(),
            written.resource_version(),
            "it is written again"
        );
        node.service("b", "198.51.100.2").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32", "198.51.100.2/32"]);
        assert_eq!(connections(&node), connections_before);
        summary(&node, str::is_empty).await;

        // What somebody makes of the object does not last.
        let objects = node.ours::<FRRConfiguration>();
        let edit = json!({ "spec": { "raw": { "rawConfig": "no router bgp 64500" } } });
        objects
            .patch(OBJECT, &PatchParams::default(), &Patch::Merge(&edit))
            .await
            .unwrap();
        handed(&node, "the edit stays", |object| {
            object.is_some_and(|it| it.spec.raw.is_none())
        })
        .await;
        objects.delete(OBJECT, &DeleteParams::default()).await.unwrap();
        handed(&node, "it stays away", |object| tells(object, "198.51.100.2/32")).await;

        let services: Api<Service> = Api::namespaced(node.client.clone(), "default");
        services.delete("a", &DeleteParams::default()).await.unwrap();
        gone(&node, "show bgp ipv4 unicast", "198.51.100.1/32");

        // The end of the speaker is not that of its sessions; that of the peer is.
        drop(speaker);
        sleep(Duration::from_secs(2)).await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.2/32"]);
        let _speaker = node.speaker_with("frr-k8s");
        node.ours::<BGPPeer>()
            .delete("four", &DeleteParams::default())
            .await
            .unwrap();
        handed(&node, "it stays without a peer", |object| object.is_none()).await;
        gone(&node, "show bgp ipv4 unicast", "198.51.100.2/32");
        assert!(
            objects.get_opt("user").await.unwrap().is_some(),
            "another's was deleted"
        );
    });
}

/// What frr-k8s does not take beside our neighbor.
fn other_timers() -> Value {
    json!({ "holdTime": "9s", "keepaliveTime": "3s" })
}

// FRR-52, FRR-55, FRR-60
pub(crate) fn the_webhook_of_frr_k8s_takes_all_that_it_is_handed() {
    in_namespace(async {
        let node = Node::without_frr().await;
        let _webhook = node.frr_k8s_webhook().await;
        let all = [
            ("six", "fd00::2", json!({ "bfdProfile": "patient" })),
            ("both", "10.0.0.3", json!({ "dualStackAddressFamily": true })),
            ("red", "10.0.0.2", json!({ "vrf": "red", "password": "s3cret" })),
            (
                "far",
                "10.9.0.2",
                json!({ "ebgpMultiHop": true, "sourceAddress": "10.0.0.1" }),
            ),
            (
                "restarting",
                "10.0.0.4",
                json!({ "enableGracefulRestart": true, "disableMP": true }),
            ),
            (
                "timed",
                "10.0.0.5",
                json!({ "holdTime": "90s", "keepaliveTime": "30s" }),
            ),
            ("other", "10.0.0.6", json!({ "localASN": 64999, "peerPort": 1790 })),
            ("inside", "10.0.0.7", json!({ "peerASN": 64500 })),
        ];
        for (name, address, more) in &all {
            node.peer_with(name, address, more.clone()).await;
        }
        let link = json!({ "myASN": 64500, "dynamicASN": "external", "interface": "eth7" });
        make(
            &node.ours::<BGPPeer>(),
            json!({ "metadata": { "name": "link" }, "spec": link }),
        )
        .await;
        // Of the aggregate each peer has one family, of the preferred one some have none.
        let spec =
            json!({ "localPref": 100, "aggregationLength": 28, "aggregationLengthV6": 120, "peers": ["six", "both"] });
        make(
            &node.ours::<BGPAdvertisement>(),
            json!({ "metadata": { "name": "preferred" }, "spec": spec }),
        )
        .await;
        node.service("a", "198.51.100.1").await;
        node.service("c", "2001:db8::1").await;
        let _speaker = node.speaker_with("frr-k8s");
        let told = [
            "198.51.100.1/32",
            "198.51.100.0/28",
            "2001:db8::1/128",
            "2001:db8::/120",
            "eth7",
            "\"red\"",
        ];
        let object = handed(&node, "the webhook does not take it", |object| {
            let addresses = all.iter().map(|(_, address, _)| *address);
            told.into_iter().chain(addresses).all(|text| tells(object, text))
        })
        .await;
        summary(&node, str::is_empty).await;
        assert!(tells(object.as_ref(), "\"localPref\":100"));
        // It does judge: what does not go together with ours it refuses.
        let other = serde_json::from_value(of_a_user(&other_timers())).unwrap();
        let refused = node
            .ours::<FRRConfiguration>()
            .create(&PostParams::default(), &other)
            .await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("multiple hold times"), "{refused}");
        // A change is judged as well.
        let services: Api<Service> = Api::namespaced(node.client.clone(), "default");
        services.delete("a", &DeleteParams::default()).await.unwrap();
        handed(&node, "the webhook does not take a change", |object| {
            !tells(object, "198.51.100.1/32")
        })
        .await;
    });
}

// FRR-58, FRR-65
pub(crate) fn what_frr_k8s_refuses_is_told_in_its_words() {
    in_namespace(async {
        let node = Node::new().await;
        let _speaker = node.speaker_with("frr-k8s");
        summary(&node, |summary| {
            summary.contains("there is no FRRConfiguration in this cluster")
        })
        .await;
        let _frr_k8s = node.frr_k8s().await;
        node.service("a", "198.51.100.1").await;
        node.router_shows("show bgp ipv4 unicast", &["198.51.100.1/32"]);
        summary(&node, str::is_empty).await;
        make(&node.ours::<FRRConfiguration>(), of_a_user(&other_timers())).await;
        let words = "frr-k8s does not take the FRRConfigurations of this node: failed: multiple hold times";
        summary(&node, |summary| summary.contains(words)).await;
        node.ours::<FRRConfiguration>()
            .delete("user", &DeleteParams::default())
            .await
            .unwrap();
        summary(&node, str::is_empty).await;
        node.extras("hello\n").await;
        summary(&node, |summary| {
            summary.contains("ConfigMap bgpextras: with frr-k8s its lines are not used")
        })
        .await;
    });
}
