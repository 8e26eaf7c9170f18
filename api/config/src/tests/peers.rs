use std::time::Duration;

use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Cluster, cluster};
use crate::{Endpoint, MyAsnScope, Peer, RemoteAs};

fn only_peer(cluster: &Cluster) -> Peer {
    cluster.accepts().config.peers["p"].clone()
}

#[test]
fn the_defaults_of_a_peer() {
    let peer = only_peer(&cluster().peer("p", json!({})).node("n", json!({})));
    assert_eq!(
        (peer.my_asn, peer.remote, peer.port),
        (64500, RemoteAs::Asn(64501), 179)
    );
    assert_eq!(peer.endpoint, Endpoint::Address("10.0.0.1".parse().unwrap()));
    assert_eq!(
        (peer.hold_time, peer.keepalive_time, peer.connect_time),
        (None, None, None)
    );
    assert_eq!(peer.nodes, ["n".to_owned()].into());
    assert!(peer.password.is_none() && peer.vrf.is_none() && !peer.graceful_restart);
}

#[rstest]
#[case(json!({ "myASN": 0 }), "spec.myASN", "zero")] // B-1
#[case(json!({ "myASN": -1 }), "spec.myASN", "1 to 4294967295")]
#[case(json!({ "myASN": 4_294_967_296i64 }), "spec.myASN", "1 to 4294967295")]
#[case(json!({ "peerASN": null }), "spec.peerASN", "missing peerASN or dynamicASN")] // B-2
#[case(json!({ "peerASN": 0 }), "spec.peerASN", "missing peerASN or dynamicASN")] // B-2
#[case(json!({ "dynamicASN": "internal" }), "spec.dynamicASN", "both peerASN and dynamicASN")] // B-2
#[case(json!({ "peerASN": 64500, "ebgpMultiHop": true }), "spec.ebgpMultiHop", "iBGP")] // B-3
#[case(json!({ "peerASN": null, "dynamicASN": "internal", "ebgpMultiHop": true }), "spec.ebgpMultiHop", "iBGP")] // W-25
#[case(json!({ "peerAddress": null }), "spec.peerAddress", "invalid BGPPeer address")] // B-4
#[case(json!({ "interface": "eth0" }), "spec.peerAddress", "both peerAddress and interface")] // B-4
#[case(json!({ "peerAddress": "10.0.0.01" }), "spec.peerAddress", "invalid BGPPeer address \"10.0.0.01\"")] // B-5
#[case(json!({ "peerAddress": "fe80::1" }), "spec.peerAddress", "needs its interface")] // B-5
#[case(json!({ "peerAddress": "fe80::1%" }), "spec.peerAddress", "invalid BGPPeer address")] // B-5
#[case(json!({ "peerAddress": "fe80::1%a/b" }), "spec.peerAddress", "no slash")] // W-26
#[case(json!({ "peerAddress": "10.0.0.1%eth0" }), "spec.peerAddress", "invalid BGPPeer address")] // B-5
#[case(json!({ "peerAddress": "fc00::1%eth0" }), "spec.peerAddress", "invalid BGPPeer address")] // B-5
#[case(json!({ "peerAddress": "router" }), "spec.peerAddress", "invalid BGPPeer address")] // B-5
#[case(json!({ "routerID": "1.2.3" }), "spec.routerID", "invalid router ID")] // B-5
#[case(json!({ "routerID": "fc00::1" }), "spec.routerID", "must be an IPv4 address")] // W-22
#[case(json!({ "sourceAddress": "x" }), "spec.sourceAddress", "invalid source IP")] // B-5
#[case(json!({ "sourceAddress": "fc00::1" }), "spec.sourceAddress", "family")] // W-25
#[case(json!({ "holdTime": "2s" }), "spec.holdTime", "must be 0 or at least 3s")] // B-6
#[case(json!({ "holdTime": "500ms" }), "spec.holdTime", "must be 0 or at least 3s")] // W-20
#[case(json!({ "holdTime": "-3s" }), "spec.holdTime", "negative")] // B-6
#[case(json!({ "holdTime": "90" }), "spec.holdTime", "invalid duration")] // W-19
#[case(json!({ "holdTime": "65536s" }), "spec.holdTime", "at most 65535s")] // W-20
#[case(json!({ "holdTime": "9s", "keepaliveTime": "10s" }), "spec.keepaliveTime", "must be lower than")] // B-7
#[case(json!({ "holdTime": "0s", "keepaliveTime": "1s" }), "spec.keepaliveTime", "must be lower than")] // B-7
#[case(json!({ "nodeSelectors": [{}, {}] }), "spec.nodeSelectors[1]", "duplicate")] // B-8
#[case(json!({ "password": "a", "passwordSecret": { "name": "s" } }), "spec.passwordSecret", "both")] // B-9, W-2
#[case(json!({ "connectTime": "1500ms" }), "spec.connectTime", "whole seconds")] // B-14
#[case(json!({ "connectTime": "0s" }), "spec.connectTime", "from 1s to 65535s")] // B-14
#[case(json!({ "ttlSecurity": true, "ebgpMultiHop": true }), "spec.ttlSecurity", "crossed a router")] // W-25
#[case(json!({ "localASN": 64500 }), "spec.localASN", "must differ from myASN")] // W-25
#[case(json!({ "localASN": 7, "peerASN": 64500 }), "spec.localASN", "iBGP")] // W-25
#[case(json!({ "vrf": "a b" }), "spec.vrf", "invalid vrf name")] // W-26
#[case(json!({ "vrf": "0123456789abcdef" }), "spec.vrf", "at most 15 bytes")] // W-26
#[case(json!({ "peerAddress": null, "interface": "e\nth" }), "spec.interface", "invalid interface name")] // W-26
#[case(json!({ "password": "a\nb" }), "spec.password", "no control characters")] // W-26
#[case(json!({ "peerPort": 70000 }), "spec.peerPort", "1 to 65535")]
fn a_bad_peer_is_left_out_in_every_view(#[case] changes: Value, #[case] field: &str, #[case] words: &str) {
    for cluster in [cluster(), cluster().admission(), cluster().on("n")] {
        let cluster = cluster
            .peer("bad", changes.clone())
            .peer("good", json!({ "peerAddress": "10.9.9.9" }));
        cluster.refuses("BGPPeer bad", field, words);
        assert_eq!(cluster.parse().config.peers.keys().collect::<Vec<_>>(), ["good"]);
    }
}

#[test]
fn all_errors_of_a_peer_are_reported() {
    let bad = json!({ "myASN": 0, "peerAddress": "x", "holdTime": "1s", "vrf": "a/b" });
    let fields: Vec<_> = cluster()
        .peer("p", bad)
        .parse()
        .refused
        .into_iter()
        .map(|refused| refused.field)
        .collect();
    assert_eq!(fields, ["spec.holdTime", "spec.myASN", "spec.peerAddress", "spec.vrf"]);
}

fn seconds(value: u64) -> Option<Duration> {
    Some(Duration::from_secs(value))
}

#[rstest]
#[case(json!({ "holdTime": "90s" }), seconds(90), seconds(30))]
#[case(json!({ "holdTime": "0s" }), seconds(0), seconds(0))]
#[case(json!({ "holdTime": "0s", "keepaliveTime": "0s" }), seconds(0), seconds(0))]
#[case(json!({ "holdTime": "1m30s", "keepaliveTime": "10s" }), seconds(90), seconds(10))]
#[case(json!({ "holdTime": "65535s" }), seconds(65535), seconds(21845))]
fn a_missing_timer_follows_from_the_other(
    #[case] changes: Value,
    #[case] hold: Option<Duration>,
    #[case] keepalive: Option<Duration>,
) {
    let peer = only_peer(&cluster().admission().peer("p", changes));
    assert_eq!((peer.hold_time, peer.keepalive_time), (hold, keepalive));
}

#[rstest] // mission rule, and B-7: what upstream took keeps working
#[case(json!({ "keepaliveTime": "10s" }), "keepaliveTime needs holdTime", 30)]
#[case(json!({ "holdTime": "10s", "keepaliveTime": "10s" }), "must be lower than holdTime", 10)]
fn keepalive_needs_a_greater_hold_time(#[case] changes: Value, #[case] words: &str, #[case] hold: u64) {
    cluster()
        .admission()
        .peer("p", changes.clone())
        .refuses("BGPPeer p", "spec.keepaliveTime", words);
    let loaded = cluster().peer("p", changes);
    assert_eq!(only_peer(&loaded).hold_time, seconds(hold));
    assert!(loaded.parse().warnings[0].reason.contains(words));
}

#[test] // B-20 to B-23: our native back-end does all of it
fn native_refuses_no_feature() {
    let cluster = cluster().admission().bfd("fast", json!({})).peer(
        "p",
        json!({ "peerASN": null, "dynamicASN": "external", "peerAddress": null, "interface": "eth0", "vrf": "red",
            "holdTime": "9s", "keepaliveTime": "3s", "connectTime": "10s", "enableGracefulRestart": true,
            "dualStackAddressFamily": true, "localASN": 64999, "bfdProfile": "fast", "ebgpMultiHop": true }),
    );
    let peer = only_peer(&cluster);
    assert_eq!(
        (peer.remote, peer.endpoint),
        (RemoteAs::External, Endpoint::Interface("eth0".to_owned()))
    );
    assert!(peer.graceful_restart && peer.dual_stack && peer.ebgp_multihop);
    assert_eq!(
        (peer.local_asn, peer.connect_time, peer.vrf.as_deref()),
        (Some(64999), seconds(10), Some("red"))
    );
}

#[test] // BGP-41
fn a_link_local_peer_is_named_with_its_interface() {
    let peer = only_peer(&cluster().peer("p", json!({ "peerAddress": "fe80::1%eth0" })));
    let endpoint = Endpoint::LinkLocal("fe80::1".parse().unwrap(), "eth0".to_owned());
    assert_eq!(
        (peer.endpoint.to_string().as_str(), peer.endpoint),
        ("fe80::1%eth0", endpoint)
    );
    let two = cluster()
        .peer("p", json!({ "peerAddress": "fe80::1%eth0" }))
        .peer("q", json!({ "peerAddress": "fe80::1%eth1" }));
    assert_eq!(two.accepts().config.peers.len(), 2);
    // FRR would take the zone for a part of the address.
    cluster().frr().peer("p", json!({ "peerAddress": "fe80::1%eth0" })).refuses(
        "BGPPeer p",
        "spec.peerAddress",
        "the back-end frr takes no interface in an address; set `interface: eth0` instead of peerAddress, or use the back-end native",
    );
    cluster()
        .frr()
        .peer("p", json!({ "peerAddress": "10.0.0.1%eth0" }))
        .refuses(
            "BGPPeer p",
            "spec.peerAddress",
            "invalid BGPPeer address \"10.0.0.1%eth0\"",
        );
}

#[test] // B-23, W-1
fn disable_mp_is_warned_of_and_everything_else_is_still_checked() {
    let cluster = cluster()
        .admission()
        .peer("p", json!({ "disableMP": true, "myASN": 0 }));
    cluster.refuses("BGPPeer p", "spec.myASN", "zero");
    assert!(cluster.parse().warnings[0].reason.contains("disableMP is deprecated"));
}

const BASIC: &str = "kubernetes.io/basic-auth";

fn with_secret() -> Cluster {
    cluster().peer("p", json!({ "passwordSecret": { "name": "s" } }))
}

#[rstest] // B-10, with upstream's texts
#[case(
    with_secret(),
    "parsing peer p secret ref not found for peer config \"metallb-system\"/\"p\"\nfailed to parse peer p password secret"
)]
#[case(
    with_secret().secret("s", "Opaque", json!({})),
    "parsing peer p secret type mismatch on \"metallb-system\"/\"s\", type \"kubernetes.io/basic-auth\" is expected \nfailed to parse peer p password secret"
)]
#[case(
    with_secret().secret("s", BASIC, json!({})),
    "parsing peer p password not specified in the secret \"metallb-system\"/\"s\"\nfailed to parse peer p password secret"
)]
fn a_secret_that_does_not_serve_is_refused_at_load_only(#[case] cluster: Cluster, #[case] summary: &str) {
    let refused = cluster.parse().refused;
    assert_eq!(
        refused.iter().map(crate::Refused::summary).collect::<Vec<_>>(),
        [summary]
    );
    cluster.admission().accepts();
}

fn with_password(base64: &str) -> Cluster {
    with_secret().secret("s", BASIC, json!({ "password": base64 }))
}

#[rstest] // W-29
#[case::none("aHVudGVyMg==", None)]
#[case::newline("aHVudGVyMgo=", Some("W-29"))]
#[case::windows("aHVudGVyMg0K", Some("W-29"))]
fn a_password_is_read_from_the_secret_without_its_final_line_break_which_is_told(
    #[case] base64: &str,
    #[case] rule: Option<&str>,
) {
    let cluster = with_password(base64);
    let peer = only_peer(&cluster);
    assert_eq!(peer.password.as_ref().unwrap().expose_secret(), "hunter2");
    assert!(!format!("{peer:?}").contains("hunter2"));
    let warnings = cluster.parse().warnings;
    assert_eq!(warnings.first().map(|warning| warning.rule.id()), rule);
    assert!(
        warnings.iter().all(|warning| warning.reason.contains("Secret \"s\"")),
        "{warnings:?}"
    );
}

#[rstest] // bgp: the one break is all that is forgiven
#[case::two_breaks("aHVudGVyMgoK")]
#[case::carriage_return("aHVudGVyMg0=")]
#[case::inside("aHVuCnRlcjI=")]
#[case::nul("aHVudGVyMgA=")]
#[case::nothing_else("Cg==")]
fn other_control_characters_in_a_secret_are_refused_without_telling_the_password(#[case] base64: &str) {
    for cluster in [with_password(base64), with_password(base64).frr()] {
        cluster.refuses("BGPPeer p", "spec.passwordSecret", "the password in Secret \"s\"");
        let said = cluster.refused().join("");
        assert!(!said.contains("hun"), "{said}");
    }
}

#[test] // B-10: the words of upstream are for those who compare them
fn a_secret_of_another_type_is_refused_with_both_types() {
    let cluster = with_secret().secret("s", "Opaque", json!({}));
    let words = "Secret \"s\" is of type Opaque, must be of type kubernetes.io/basic-auth";
    cluster.refuses("BGPPeer p", "spec.passwordSecret", words);
}

#[test] // B-10: an frr-k8s in another namespace reads it there
fn a_secret_that_is_elsewhere_is_not_looked_for() {
    let mut cluster = with_secret();
    cluster.options.secrets = crate::Secrets::Elsewhere;
    let peer = only_peer(&cluster);
    assert!(peer.password.is_none());
    assert_eq!(peer.password_secret.unwrap().name, "s");
}

#[test] // B-11, with upstream's text
fn a_missing_bfd_profile_takes_out_its_peer_only() {
    let cluster = cluster()
        .peer("p", json!({ "bfdProfile": "none" }))
        .peer("q", json!({ "peerAddress": "10.0.0.2" }));
    let parsed = cluster.parse();
    assert_eq!(
        parsed.refused[0].summary(),
        "peer p referencing non existing bfd profile none"
    );
    assert_eq!(parsed.config.peers.keys().collect::<Vec<_>>(), ["q"]);
    cluster.admission().accepts();
}

#[rstest] // F-1
#[case(json!({ "receiveInterval": 9 }), "spec.receiveInterval", "10-60000 range")]
#[case(json!({ "transmitInterval": 60001 }), "spec.transmitInterval", "10-60000 range")]
#[case(json!({ "echoInterval": 0 }), "spec.echoInterval", "10-60000 range")]
#[case(json!({ "detectMultiplier": 1 }), "spec.detectMultiplier", "2-255 range")]
#[case(json!({ "minimumTtl": 255 }), "spec.minimumTtl", "1-254 range")]
fn bfd_values_have_ranges(#[case] spec: Value, #[case] field: &str, #[case] words: &str) {
    cluster().bfd("b", spec).refuses("BFDProfile b", field, words);
}

#[rstest] // F-1, BGP-85
#[case("receiveInterval", 10, 60_000)]
#[case("transmitInterval", 10, 60_000)]
#[case("echoInterval", 10, 60_000)]
#[case("detectMultiplier", 2, 255)]
#[case("minimumTtl", 1, 254)]
fn schema_and_parser_have_the_same_ranges(#[case] field: &str, #[case] least: i64, #[case] most: i64) {
    let crd = serde_json::to_value(<metallb_api::BFDProfile as kube::CustomResourceExt>::crd()).unwrap();
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
    let limit = |end: &str| crd.pointer(&format!("{path}/{end}")).and_then(Value::as_f64);
    assert_eq!(
        (limit("minimum"), limit("maximum")),
        (Some(least as f64), Some(most as f64))
    );
    let profile = |value: i64| cluster().bfd("b", json!({ field: value }));
    for value in [least, most] {
        profile(value).accepts();
    }
    for value in [least - 1, most + 1, 0, -1, i64::MAX] {
        let words = format!("{least}-{most} range");
        profile(value).refuses("BFDProfile b", &format!("spec.{field}"), &words);
    }
}

#[test] // F-4, W-4: seen from every webhook, and no disaster at load
fn frr_cannot_echo_over_ipv6() {
    let cluster = cluster()
        .frr()
        .pool("six", &["fc00::/64"])
        .bgp("ad", json!({}))
        .bfd("echo", json!({ "echoMode": true }))
        .peer("p", json!({ "bfdProfile": "echo" }));
    cluster
        .clone()
        .admission()
        .refuses("BGPPeer p", "spec.bfdProfile", "echo");
    let involves: Vec<_> = cluster.clone().admission().parse().refused[0]
        .involves
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        involves,
        ["BFDProfile echo", "IPAddressPool six", "BGPAdvertisement ad"]
    );
    assert_eq!(cluster.accepts().warnings.len(), 1);
}

fn zone(name: &str) -> Value {
    json!([{ "matchLabels": { "zone": name } }])
}

fn two_zones() -> Cluster {
    cluster()
        .node("a", json!({ "zone": "a" }))
        .node("b", json!({ "zone": "b" }))
}

/// Peer `old`, then peer `new` that is the same but for some changes.
fn pair(cluster: Cluster, old: Value, new: Value) -> Cluster {
    cluster.peer("old", old).peer("new", new)
}

#[rstest] // mission rule; B-31
#[case(two_zones(), json!({}), json!({}), true)]
#[case(two_zones(), json!({}), json!({ "nodeSelectors": zone("a") }), true)]
#[case(two_zones(), json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": zone("b") }), false)]
#[case(two_zones(), json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": [{ "matchExpressions": [{ "key": "zone", "operator": "Exists" }] }] }), true)]
#[case(cluster(), json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": zone("a") }), true)] // equal selectors
#[case(cluster(), json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": zone("b") }), false)]
#[case(two_zones(), json!({ "vrf": "red" }), json!({}), false)]
#[case(two_zones(), json!({ "vrf": "red" }), json!({ "vrf": "red" }), true)]
#[case(two_zones(), json!({}), json!({ "peerPort": 1179 }), false)]
#[case(two_zones(), json!({}), json!({ "peerPort": 179 }), true)]
#[case(two_zones(), json!({ "peerAddress": "fc00::1" }), json!({ "peerAddress": "fc00:0::1" }), true)] // W-27
#[case(two_zones(), json!({ "peerAddress": null, "interface": "eth0" }), json!({ "peerAddress": null, "interface": "eth0" }), true)]
#[case(two_zones(), json!({ "peerAddress": null, "interface": "eth0", "vrf": "red" }), json!({ "peerAddress": null, "interface": "eth0-red" }), false)] // W-27
fn one_address_has_one_peer_where_they_meet(
    #[case] cluster: Cluster,
    #[case] old: Value,
    #[case] new: Value,
    #[case] conflict: bool,
) {
    for cluster in [cluster.clone(), cluster.admission()] {
        let cluster = pair(cluster, old.clone(), new.clone());
        if conflict {
            let field = if old.get("interface").is_some() {
                "spec.interface"
            } else {
                "spec.peerAddress"
            };
            cluster.refuses("BGPPeer new", field, "already exists: BGPPeer old");
        } else {
            cluster.accepts();
        }
    }
}

#[test] // B-31, with upstream's text
fn frr_knows_neighbours_by_address_alone() {
    let cluster = pair(two_zones().frr(), json!({}), json!({ "peerPort": 1179 }));
    let summary = "peer 10.0.0.1 already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node";
    assert_eq!(cluster.parse().refused[0].summary(), summary);
    assert!(
        cluster.refused()[0].ends_with("(BGPPeer old)"),
        "{:?}",
        cluster.refused()
    );
}

#[rstest] // mission rule; B-32
#[case(MyAsnScope::Node, json!({}), json!({}), true)]
#[case(MyAsnScope::Node, json!({ "vrf": "red" }), json!({}), false)]
#[case(MyAsnScope::Node, json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": zone("b") }), false)]
#[case(MyAsnScope::Cluster, json!({ "nodeSelectors": zone("a") }), json!({ "nodeSelectors": zone("b") }), true)]
#[case(MyAsnScope::Off, json!({}), json!({}), false)]
fn my_asn_is_the_same_where_peers_meet(
    #[case] scope: MyAsnScope,
    #[case] old: Value,
    #[case] mut new: Value,
    #[case] conflict: bool,
) {
    new["myASN"] = 64777.into();
    new["peerAddress"] = "10.0.0.2".into();
    let admission = pair(two_zones().scope(scope), old, new).admission();
    if conflict {
        admission.refuses(
            "BGPPeer new",
            "spec.myASN",
            "myASN 64777 differs from 64500 of BGPPeer old",
        );
    } else {
        admission.accepts();
    }
}

#[test] // Upstream native ran such peers: an upgrade must not take a session away
fn what_native_can_do_stays_at_load_with_a_warning() {
    let cluster = pair(two_zones(), json!({}), json!({ "myASN": 7, "peerAddress": "10.0.0.2" }));
    assert_eq!(cluster.accepts().warnings.len(), 1);
    let cluster = pair(
        two_zones(),
        json!({ "sourceAddress": "10.0.0.8" }),
        json!({ "sourceAddress": "10.0.0.9" }),
    );
    assert_eq!(cluster.accepts().config.peers.len(), 2);
    assert_eq!(cluster.admission().refused().len(), 1);
}

#[test] // B-32: FRR has one AS number per VRF, whatever the setting says
fn frr_never_mixes_my_asn() {
    let new = json!({ "myASN": 7, "peerAddress": "10.0.0.2" });
    pair(two_zones().frr().scope(MyAsnScope::Off), json!({}), new).refuses("BGPPeer new", "spec.myASN", "differs");
}

#[rstest] // B-30
#[case(json!({ "routerID": "1.1.1.1" }), json!({}), true)]
#[case(json!({ "routerID": "1.1.1.1" }), json!({ "routerID": "1.1.1.1" }), false)]
#[case(json!({ "routerID": "1.1.1.1", "vrf": "red" }), json!({ "routerID": "2.2.2.2" }), true)]
fn frr_has_one_router_id(#[case] old: Value, #[case] mut new: Value, #[case] conflict: bool) {
    new["peerAddress"] = "10.0.0.2".into();
    pair(two_zones(), old.clone(), new.clone()).accepts();
    let frr = pair(two_zones().frr(), old, new);
    if conflict {
        frr.refuses("BGPPeer new", "spec.routerID", "same RouterID");
    } else {
        frr.accepts();
    }
}

#[test]
fn only_the_peers_of_the_node_are_loaded_and_judged() {
    let cluster = two_zones()
        .peer("a", json!({ "nodeSelectors": zone("a") }))
        .peer("b", json!({ "nodeSelectors": zone("b"), "holdTime": "1s" }));
    let a = cluster.clone().on("a").accepts();
    assert_eq!(a.config.peers.keys().collect::<Vec<_>>(), ["a"]);
    cluster
        .clone()
        .on("b")
        .refuses("BGPPeer b", "spec.holdTime", "at least 3s");
    // A Node that was not seen yet has no labels.
    assert_eq!(cluster.on("c").accepts().config.peers.len(), 0);
}
