//! Whatever an API server may have stored decodes, and is written back as it was.

use metallb_api::{
    AddressPool, BGPAdvertisement, BGPPeer, ConfigurationState, GoDuration, IPAddressPool, MetalLB, Protocol,
};
use serde_json::{Value, json};

/// Adds what every object has.
fn object(kind: &str, version: &str, body: &Value) -> Value {
    let mut object = body.clone();
    object["apiVersion"] = format!("metallb.io/{version}").into();
    object["kind"] = kind.into();
    object["metadata"] = json!({ "name": "a" });
    object
}

// OP-2
#[test]
fn a_metallb_without_spec_is_valid() {
    let metallb: MetalLB = serde_json::from_value(object("MetalLB", "v1beta1", &json!({}))).unwrap();
    assert_eq!(metallb.spec, Default::default());
    let metallb: MetalLB = serde_json::from_value(object("MetalLB", "v1beta1", &json!({ "spec": null }))).unwrap();
    assert_eq!(
        serde_json::to_value(&metallb).unwrap(),
        object("MetalLB", "v1beta1", &json!({ "spec": {} }))
    );
}

#[test]
fn a_peer_survives_a_round_trip() {
    let spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "holdTime": "90s",
        "password": "hunter2", "disableMP": false, "dualStackAddressFamily": true });
    let value = object("BGPPeer", "v1beta2", &json!({ "spec": spec }));
    let peer: BGPPeer = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(peer.spec.hold_time, Some(GoDuration::new("90s")));
    assert!(!format!("{peer:?}").contains("hunter2"));
    assert_eq!(serde_json::to_value(&peer).unwrap(), value);
}

#[test]
fn values_out_of_range_decode() {
    let spec = json!({ "myASN": -1, "peerPort": 99999, "holdTime": "soon", "localASN": 4294967296i64 });
    let peer: BGPPeer = serde_json::from_value(object("BGPPeer", "v1beta2", &json!({ "spec": spec }))).unwrap();
    assert!(peer.spec.hold_time.unwrap().parse().is_err());
    let spec = json!({ "localPref": -5, "aggregationLength": 1000 });
    let value = object("BGPAdvertisement", "v1beta1", &json!({ "spec": spec }));
    let advertisement: BGPAdvertisement = serde_json::from_value(value).unwrap();
    assert_eq!(advertisement.spec.local_pref, Some(-5));
}

#[test]
fn pools_assign_automatically_unless_told_otherwise() {
    let spec = json!({ "addresses": ["192.0.2.0/24"] });
    let pool: IPAddressPool =
        serde_json::from_value(object("IPAddressPool", "v1beta1", &json!({ "spec": spec }))).unwrap();
    assert!(pool.spec.auto_assign && !pool.spec.avoid_buggy_ips);
    let spec = json!({ "protocol": "layer2", "addresses": [], "autoAssign": false });
    let pool: AddressPool = serde_json::from_value(object("AddressPool", "v1beta1", &json!({ "spec": spec }))).unwrap();
    assert_eq!((pool.spec.protocol, pool.spec.auto_assign), (Protocol::Layer2, false));
}

#[test]
fn a_configuration_state_has_no_spec() {
    let value = object(
        "ConfigurationState",
        "v1beta1",
        &json!({ "status": { "result": "Valid" } }),
    );
    let state: ConfigurationState = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&state).unwrap(), value);
}
