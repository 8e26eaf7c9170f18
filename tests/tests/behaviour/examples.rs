//! Every sample that we hand out is read by the types and accepted by the parser.

use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Service;
use metallb_api::MetalLB;
use metallb_config::{Options, Resources, View, parse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn samples() -> Vec<(PathBuf, Vec<Value>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), documents(&fs::read_to_string(path).unwrap())))
        .collect()
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn read<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error} in {object}"))
}

fn collect(objects: &[Value]) -> Resources {
    let mut resources = Resources {
        namespace: "metallb-system".into(),
        ..Resources::default()
    };
    for object in objects {
        match object["kind"].as_str().unwrap() {
            "IPAddressPool" => resources.pools.push(read(object)),
            "AddressPool" => resources.address_pools.push(read(object)),
            "L2Advertisement" => resources.l2_advertisements.push(read(object)),
            "BGPAdvertisement" => resources.bgp_advertisements.push(read(object)),
            "BGPPeer" => resources.peers.push(read(object)),
            "BFDProfile" => resources.bfd_profiles.push(read(object)),
            "Community" => resources.communities.push(read(object)),
            "MetalLB" => assert_eq!(read::<MetalLB>(object).metadata.name.as_deref(), Some("metallb")),
            "Service" => drop(read::<Service>(object)),
            kind => panic!("no test reads samples of kind {kind}"),
        }
    }
    resources
}

#[test]
fn every_sample_is_accepted_by_admission_and_at_load_time() {
    let samples = samples();
    assert!(samples.len() >= 4, "the samples are gone");
    for (path, objects) in samples {
        for view in [View::Admission, View::Load { node: None }] {
            let parsed = parse(
                &collect(&objects),
                &Options {
                    view,
                    ..Options::default()
                },
            );
            assert!(parsed.refused.is_empty(), "{}: {:?}", path.display(), parsed.refused);
        }
    }
}

#[test]
fn all_samples_together_are_one_valid_configuration() {
    let objects: Vec<Value> = samples().into_iter().flat_map(|(_, objects)| objects).collect();
    let parsed = parse(&collect(&objects), &Options::default());
    assert!(parsed.refused.is_empty(), "{:?}", parsed.refused);
    assert_eq!(parsed.config.pools.len(), 2);
}

/// A misspelt field would be pruned by the API server without a word: all that a sample says must survive the types.
#[test]
fn samples_hold_only_known_fields() {
    for object in samples().into_iter().flat_map(|(_, objects)| objects) {
        let typed = match object["kind"].as_str().unwrap() {
            "IPAddressPool" => round_trip::<metallb_api::IPAddressPool>(&object),
            "L2Advertisement" => round_trip::<metallb_api::L2Advertisement>(&object),
            "BGPAdvertisement" => round_trip::<metallb_api::BGPAdvertisement>(&object),
            "BGPPeer" => round_trip::<metallb_api::BGPPeer>(&object),
            "Community" => round_trip::<metallb_api::Community>(&object),
            "MetalLB" => round_trip::<MetalLB>(&object),
            "Service" => round_trip::<Service>(&object),
            kind => panic!("no test reads samples of kind {kind}"),
        };
        assert_eq!(lost(&object, &typed), None, "in {object}");
    }
}

fn round_trip<K: DeserializeOwned + Serialize>(object: &Value) -> Value {
    serde_json::to_value(read::<K>(object)).unwrap()
}

/// Names a field of `said` that `kept` lacks.
fn lost(said: &Value, kept: &Value) -> Option<String> {
    match (said, kept) {
        (Value::Object(said), Value::Object(kept)) => said.iter().find_map(|(key, value)| match kept.get(key) {
            None => Some(key.clone()),
            Some(kept) => lost(value, kept),
        }),
        (Value::Array(said), Value::Array(kept)) => said.iter().zip(kept).find_map(|(said, kept)| lost(said, kept)),
        _ => None,
    }
}
