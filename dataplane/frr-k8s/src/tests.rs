use std::time::Duration;

use metallb_api::SecretReference;
use metallb_frr::word::{Device, Password, ProfileName};
use metallb_frr::{Attributes, BfdProfile, Community, Endpoint, Neighbour, RemoteAs, Router, Timers};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Desired, Made, Session, is_settled, left_out, spec};

fn router() -> Router {
    Router {
        asn: 64500,
        id: None,
        vrf: None,
    }
}

fn address(address: &str) -> Endpoint {
    Endpoint::Address(address.parse().unwrap())
}

fn session(peer: &str, endpoint: Endpoint) -> Session {
    Session {
        peer: peer.to_owned(),
        session: metallb_frr::Session::new(router(), Neighbour::new(endpoint, RemoteAs::Asn(64501))),
        secret: None,
    }
}

fn telling(mut session: Session, routes: &[(&str, u32, &[Community])]) -> Session {
    for (prefix, local_pref, communities) in routes {
        let attributes = Attributes {
            local_pref: *local_pref,
            communities: communities.iter().copied().collect(),
        };
        session.session.routes.insert(prefix.parse().unwrap(), attributes);
    }
    session
}

fn made(sessions: Vec<Session>) -> Made {
    let desired = Desired {
        sessions,
        ..Desired::default()
    };
    spec("node-a", &desired)
}

fn json_of(made: &Made) -> Value {
    serde_json::to_value(&made.spec).unwrap()
}

fn first_neighbor(made: &Made) -> Value {
    json_of(made)["bgp"]["routers"][0]["neighbors"][0].clone()
}

// FRR-47
#[test]
fn routes_are_told_with_their_attributes() {
    let large = Community::Large {
        global: 64500,
        data1: 1,
        data2: 2,
    };
    let told = telling(
        session("tor", address("192.0.2.1")),
        &[
            ("198.51.100.2/32", 100, &[Community::Standard(64500 << 16 | 7)]),
            ("198.51.100.10/32", 100, &[]),
            ("203.0.113.0/24", 0, &[large, Community::Standard(0xffff_ff02)]),
        ],
    );
    let made = made(vec![told]);
    let wanted = json!({
        "nodeSelector": { "matchLabels": { "kubernetes.io/hostname": "node-a" } },
        "bgp": { "routers": [{
            "asn": 64500,
            "prefixes": ["198.51.100.10/32", "198.51.100.2/32", "203.0.113.0/24"],
            "neighbors": [{
                "address": "192.0.2.1",
                "asn": 64501,
                "port": 179,
                "toAdvertise": {
                    "allowed": { "prefixes": ["198.51.100.10/32", "198.51.100.2/32", "203.0.113.0/24"] },
                    "withCommunity": [
                        { "community": "64500:7", "prefixes": ["198.51.100.2/32"] },
                        { "community": "65535:65282", "prefixes": ["203.0.113.0/24"] },
                        { "community": "large:64500:1:2", "prefixes": ["203.0.113.0/24"] },
                    ],
                    "withLocalPref": [{ "localPref": 100, "prefixes": ["198.51.100.10/32", "198.51.100.2/32"] }],
                },
            }],
        }] },
    });
    assert_eq!(json_of(&made), wanted);
    assert_eq!((made.errors, made.doubts), (vec![], vec![]));
}

// FRR-47, FRR-55
#[test]
fn every_setting_of_a_session_reaches_the_object() {
    let mut whole = session("tor", address("192.0.2.1"));
    whole.session.router = Router {
        asn: 64500,
        id: Some("192.0.2.8".parse().unwrap()),
        vrf: Some(Device::new("vrf", "red").unwrap()),
    };
    whole.session.neighbour = Neighbour {
        local_asn: Some(64999),
        port: 1790,
        timers: Some(Timers {
            keepalive: 30,
            hold: 90,
        }),
        connect: Some(7),
        password: Some(Password::new("s3cret").unwrap()),
        source: Some("192.0.2.9".parse().unwrap()),
        graceful_restart: true,
        bfd_profile: Some(ProfileName::new("fast").unwrap()),
        ebgp_multihop: true,
        dual_stack: true,
        ..whole.session.neighbour
    };
    let profile = |name: &str, receive| BfdProfile {
        receive_interval: Some(Duration::from_millis(receive)),
        transmit_interval: Some(Duration::from_millis(300)),
        detect_multiplier: Some(3),
        echo_interval: Some(Duration::from_millis(60)),
        echo_mode: true,
        minimum_ttl: Some(253),
        ..BfdProfile::new(ProfileName::new(name).unwrap())
    };
    let desired = Desired {
        sessions: vec![whole],
        bfd_profiles: vec![profile("slow", 300), profile("fast", 100)],
    };
    let made = spec("node-a", &desired);
    let wanted = json!({
        "bfdProfiles": [
            { "name": "fast", "receiveInterval": 100, "echoInterval": 60, "echoMode": true, "passiveMode": false, "minimumTtl": 253 },
            { "name": "slow", "echoInterval": 60, "echoMode": true, "passiveMode": false, "minimumTtl": 253 },
        ],
        "routers": [{
            "asn": 64500, "id": "192.0.2.8", "vrf": "red",
            "neighbors": [{
                "address": "192.0.2.1", "asn": 64501, "localASN": 64999, "port": 1790,
                "holdTime": "1m30s", "keepaliveTime": "30s", "connectTime": "7s",
                "password": "s3cret", "sourceaddress": "192.0.2.9",
                "enableGracefulRestart": true, "bfdProfile": "fast", "ebgpMultiHop": true, "dualStackAddressFamily": true,
                "toAdvertise": { "allowed": {} },
            }],
        }],
    });
    assert_eq!(json_of(&made)["bgp"], wanted);
}

#[test]
fn an_unnumbered_neighbor_of_any_as_has_both_families() {
    let mut unnumbered = session("tor", Endpoint::Interface(Device::new("interface", "eth1").unwrap()));
    unnumbered.session.neighbour.remote = RemoteAs::External;
    let neighbor = first_neighbor(&made(vec![telling(
        unnumbered,
        &[("198.51.100.1/32", 0, &[]), ("2001:db8::1/128", 0, &[])],
    )]));
    let wanted = json!({
        "interface": "eth1", "dynamicASN": "external", "port": 179,
        "toAdvertise": { "allowed": { "prefixes": ["198.51.100.1/32", "2001:db8::1/128"] } },
    });
    assert_eq!(neighbor, wanted);
}

// FRR-51
#[test]
fn a_secret_is_named_and_its_content_is_nowhere() {
    let mut one = session("tor", address("192.0.2.1"));
    one.secret = Some(SecretReference {
        name: Some("bgp".to_owned()),
        namespace: None,
    });
    let neighbor = first_neighbor(&made(vec![one]));
    assert_eq!(neighbor["passwordSecret"], json!({ "name": "bgp" }));
    assert_eq!(neighbor["password"], Value::Null);
}

// FRR-52: frr-k8s refuses a node's whole configuration for one such prefix.
#[test]
fn prefixes_of_a_family_that_no_neighbor_carries_are_nowhere() {
    let six = [Community::Standard(7)];
    let made = made(vec![telling(
        session("tor", address("192.0.2.1")),
        &[("2001:db8::1/128", 100, &six), ("198.51.100.1/32", 0, &[])],
    )]);
    assert!(!json_of(&made).to_string().contains("2001:db8"), "{made:?}");
}

#[test]
fn routers_and_neighbors_are_in_upstreams_order_and_share_prefixes() {
    let mut other_vrf = session("red", address("192.0.2.1"));
    other_vrf.session.router.vrf = Some(Device::new("vrf", "red").unwrap());
    let made = made(vec![
        other_vrf,
        telling(session("b", address("192.0.2.2")), &[("198.51.100.2/32", 0, &[])]),
        telling(
            session("a", address("192.0.2.10")),
            &[("198.51.100.1/32", 0, &[]), ("198.51.100.2/32", 0, &[])],
        ),
    ]);
    let spec = json_of(&made);
    let routers = &spec["bgp"]["routers"];
    assert_eq!((&routers[0]["vrf"], &routers[1]["vrf"]), (&Value::Null, &json!("red")));
    assert_eq!(routers[0]["prefixes"], json!(["198.51.100.1/32", "198.51.100.2/32"]));
    let addresses = [
        &routers[0]["neighbors"][0]["address"],
        &routers[0]["neighbors"][1]["address"],
    ];
    assert_eq!(addresses, ["192.0.2.10", "192.0.2.2"]);
}

#[test]
fn without_a_session_there_is_to_be_no_object() {
    let desired = Desired {
        bfd_profiles: vec![BfdProfile::new(ProfileName::new("fast").unwrap())],
        ..Desired::default()
    };
    assert_eq!(spec("node-a", &desired), Made::default());
}

#[test]
fn a_port_that_the_api_server_refuses_takes_its_session_out_and_no_other() {
    let mut high = session("high", address("192.0.2.1"));
    high.session.neighbour.port = 20_000;
    let made = made(vec![high, session("usual", address("192.0.2.2"))]);
    assert_eq!(first_neighbor(&made)["address"], "192.0.2.2");
    let wanted = "BGPPeer high: frr-k8s takes no peerPort above 16384, not 20000, there is no session";
    assert_eq!(made.errors, [wanted]);
}

// FRR-61
#[test]
fn timers_that_frr_k8s_drops_are_written_and_doubted() {
    let doubts = |hold, keepalive, connect| {
        let mut one = session("tor", address("192.0.2.1"));
        one.session.neighbour.timers = Some(Timers { keepalive, hold });
        one.session.neighbour.connect = connect;
        let made = made(vec![one]);
        let neighbor = first_neighbor(&made);
        assert!(neighbor["holdTime"].is_string() && neighbor["keepaliveTime"].is_string());
        made.doubts
    };
    assert!(doubts(180, 30, None)[0].starts_with("BGPPeer tor: frr-k8s takes a holdTime of 180s"));
    assert_eq!(doubts(90, 60, None).len(), 1);
    assert_eq!(doubts(90, 60, Some(60)).len(), 2);
    for (hold, keepalive) in [(180, 60), (90, 30), (0, 0)] {
        assert!(doubts(hold, keepalive, Some(5)).is_empty(), "{hold} {keepalive}");
    }
}

#[test]
fn a_local_preference_beyond_the_field_is_the_greatest_one_and_doubted() {
    let made = made(vec![telling(
        session("tor", address("192.0.2.1")),
        &[("198.51.100.1/32", u32::MAX, &[]), ("198.51.100.2/32", 1 << 31, &[])],
    )]);
    let wanted = json!([{ "localPref": i32::MAX, "prefixes": ["198.51.100.1/32", "198.51.100.2/32"] }]);
    assert_eq!(first_neighbor(&made)["toAdvertise"]["withLocalPref"], wanted);
    assert!(made.doubts[0].contains("localPref above 2147483647"), "{made:?}");
}

/// What the API server makes of a neighbor of ours, with the definition of 0.0.25 and with a later one.
fn defaulted(spec: &Value, later: bool) -> Value {
    let mut stored = spec.clone();
    let neighbor = &mut stored["bgp"]["routers"][0]["neighbors"][0];
    neighbor["disableMP"] = json!(false);
    neighbor["dualStackAddressFamily"] = json!(false);
    neighbor["toAdvertise"]["allowed"]["mode"] = json!("filtered");
    if later {
        neighbor["addressFamilies"] = json!(["unicast"]);
    }
    stored
}

fn usual() -> Value {
    json_of(&made(vec![telling(
        session("tor", address("192.0.2.1")),
        &[("198.51.100.1/32", 100, &[])],
    )]))
}

// FRR-49, FRR-63
#[test]
fn defaults_of_any_definition_are_no_difference() {
    let wanted = usual();
    for later in [false, true] {
        assert!(is_settled(&wanted, &defaulted(&wanted, later)));
    }
}

// A speaker of upstream wrote it.
#[test]
fn fields_without_content_are_no_difference() {
    let wanted = usual();
    let mut stored = defaulted(&wanted, false);
    stored["raw"] = json!({});
    let neighbor = &mut stored["bgp"]["routers"][0]["neighbors"][0];
    neighbor["passwordSecret"] = json!({});
    neighbor["toReceive"] = json!({ "allowed": { "mode": "filtered" } });
    neighbor["toAdvertise"]["withCommunity"] = json!([]);
    assert!(is_settled(&wanted, &stored));
}

// FRR-50, FRR-63
#[test]
fn whatever_else_somebody_wrote_is_a_difference() {
    let wanted = usual();
    let edits: [(&str, Value); 6] = [
        ("/raw", json!({ "rawConfig": "hello" })),
        ("/nodeSelector/matchLabels/zone", json!("b")),
        (
            "/bgp/routers/0/neighbors/0/toReceive",
            json!({ "allowed": { "mode": "all" } }),
        ),
        ("/bgp/routers/0/neighbors/0/dualStackAddressFamily", json!(true)),
        ("/bgp/routers/0/neighbors/0/toAdvertise/allowed/mode", json!("all")),
        ("/bgp/routers/0/neighbors/0/toAdvertise/allowed/prefixes", json!([])),
    ];
    for (path, value) in edits {
        let mut stored = defaulted(&wanted, false);
        let (parent, field) = path.rsplit_once('/').unwrap();
        stored.pointer_mut(parent).unwrap()[field] = value;
        assert!(!is_settled(&wanted, &stored), "{path}");
    }
}

// FRR-55, FRR-60
#[test]
fn fields_that_the_definition_does_not_know_are_named() {
    let mut one = session("tor", address("192.0.2.1"));
    one.session.neighbour.local_asn = Some(64999);
    let written = json_of(&made(vec![one]));
    let mut stored = defaulted(&written, false);
    let neighbor = stored["bgp"]["routers"][0]["neighbors"][0].as_object_mut().unwrap();
    neighbor.remove("localASN");
    assert_eq!(
        left_out(&written, &stored),
        ["spec.bgp.routers[0].neighbors[0].localASN"]
    );
    assert_eq!(left_out(&written, &defaulted(&written, true)), [""; 0]);
}

proptest! {
    // FRR-47: the order in which sessions came about is nobody's concern.
    #[test]
    fn equal_desires_give_equal_objects(order in Just((0..6).collect::<Vec<u8>>()).prop_shuffle()) {
        let one = |n: u8| telling(
            session(&n.to_string(), address(&format!("192.0.2.{n}"))),
            &[(&format!("198.51.100.{n}/32"), n.into(), &[Community::Standard(n.into())])],
        );
        let sorted = made((0..6).map(one).collect());
        prop_assert_eq!(json_of(&made(order.into_iter().map(one).collect())), json_of(&sorted));
    }

    // What is written is settled, with and without the defaults; one prefix more is not.
    #[test]
    fn what_is_written_is_settled(count in 1u8..40) {
        let routes: Vec<String> = (0..count).map(|n| format!("198.51.100.{n}/32")).collect();
        let told = |count: usize| {
            let routes: Vec<_> = routes[..count].iter().map(|prefix| (prefix.as_str(), 0, &[][..])).collect();
            json_of(&made(vec![telling(session("tor", address("192.0.2.1")), &routes)]))
        };
        let wanted = told(routes.len());
        prop_assert!(is_settled(&wanted, &defaulted(&wanted, true)));
        prop_assert!(!is_settled(&told(routes.len() - 1), &defaulted(&wanted, true)));
    }
}
