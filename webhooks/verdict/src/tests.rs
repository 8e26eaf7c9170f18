use metallb_config::{Backend, MyAsnScope, Resources};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const NAMESPACE: &str = "metallb-system";

fn rules() -> Rules {
    Rules {
        namespace: NAMESPACE.to_owned(),
        ..Rules::default()
    }
}

#[allow(clippy::needless_pass_by_value)]
fn object(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": spec })
}

fn create(kind: Kind, object: Value) -> Request {
    Request {
        kind,
        operation: Operation::Create,
        namespace: Some(NAMESPACE.to_owned()),
        object,
        old: Value::Null,
    }
}

fn update(kind: Kind, old: Value, object: Value) -> Request {
    Request {
        operation: Operation::Update,
        old,
        ..create(kind, object)
    }
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    object(name, json!({ "addresses": addresses }))
}

fn peer(name: &str, changes: &Value) -> Value {
    let mut spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "10.0.0.1" });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object(name, spec)
}

fn parsed<T: serde::de::DeserializeOwned>(list: &[Value]) -> Vec<T> {
    list.iter()
        .map(|value| serde_json::from_value(value.clone()).unwrap())
        .collect()
}

fn pools(list: &[Value]) -> Resources {
    Resources {
        pools: parsed(list),
        ..Resources::default()
    }
}

fn peers(list: &[Value]) -> Resources {
    Resources {
        peers: parsed(list),
        ..Resources::default()
    }
}

#[track_caller]
fn denied(request: &Request, current: &Resources, words: &str) {
    let verdict = judge(request, current, &rules());
    assert!(!verdict.allowed() && verdict.message().contains(words), "{verdict:?}");
}

#[track_caller]
fn allowed(request: &Request, current: &Resources) -> Verdict {
    let verdict = judge(request, current, &rules());
    assert!(verdict.allowed(), "{verdict:?}");
    verdict
}

#[test]
fn a_pool_that_overlaps_another_is_denied_by_name_and_field() {
    let request = create(Kind::IpAddressPool, pool("bad", &["10.0.1.0/24", "10.0.0.9-10.0.0.10"]));
    let verdict = judge(&request, &pools(&[pool("gold", &["10.0.0.0/24"])]), &rules());
    assert_eq!(
        verdict.message(),
        "spec.addresses[1]: CIDR \"10.0.0.9-10.0.0.10\" in pool \"bad\" overlaps with already defined CIDR \
         \"10.0.0.0/24\" of IPAddressPool gold"
    );
}

#[test] // AP-2, AP-3: each kind of pool is judged against both lists
fn pools_are_judged_over_both_kinds() {
    let legacy = object("gold", json!({ "protocol": "layer2", "addresses": ["10.0.0.0/24"] }));
    let current = Resources {
        address_pools: parsed(std::slice::from_ref(&legacy)),
        ..Resources::default()
    };
    denied(
        &create(Kind::IpAddressPool, pool("gold", &["10.0.1.0/24"])),
        &current,
        "metadata.name: duplicate pool",
    );
    denied(
        &create(Kind::IpAddressPool, pool("new", &["10.0.0.1/32"])),
        &current,
        "of AddressPool gold",
    );
    denied(
        &create(Kind::AddressPool, legacy),
        &pools(&[pool("x", &["10.0.0.1/32"])]),
        "of IPAddressPool x",
    );
}

#[test]
fn every_error_of_the_object_is_told() {
    let verdict = judge(
        &create(Kind::IpAddressPool, pool("bad", &["x", "y"])),
        &Resources::default(),
        &rules(),
    );
    assert_eq!(
        verdict.message(),
        "spec.addresses[0]: invalid CIDR \"x\"; spec.addresses[1]: invalid CIDR \"y\""
    );
}

#[rstest] // N-1, W-1: all kinds, a peer with disableMP too
#[case(Kind::IpAddressPool, pool("a", &["10.0.0.0/24"]))]
#[case(Kind::AddressPool, object("a", json!({ "protocol": "bgp", "addresses": ["10.0.0.0/24"] })))]
#[case(Kind::L2Advertisement, object("a", json!({})))]
#[case(Kind::BgpAdvertisement, object("a", json!({})))]
#[case(Kind::BgpPeer, peer("a", &json!({ "disableMP": true })))]
#[case(Kind::BfdProfile, object("a", json!({})))]
#[case(Kind::Community, object("a", json!({})))]
fn objects_are_created_in_our_namespace_only(#[case] kind: Kind, #[case] mut object: Value) {
    allowed(&create(kind, object.clone()), &Resources::default());
    object["metadata"]["namespace"] = "default".into();
    let request = create(kind, object.clone());
    denied(
        &request,
        &Resources::default(),
        "resource must be created in metallb-system namespace",
    );
    // A change is not hindered: its finalizers must be removable (N-1).
    let mut changed = object.clone();
    changed["metadata"]["finalizers"] = json!([]);
    allowed(&update(kind, object, changed), &Resources::default());
}

#[test] // W-6
fn a_bad_object_that_exists_blocks_nobody_else() {
    let current = pools(&[
        pool("a", &["10.0.0.0/24"]),
        pool("b", &["10.0.0.0/25"]),
        pool("c", &["nonsense"]),
    ]);
    allowed(&create(Kind::IpAddressPool, pool("new", &["10.0.1.0/24"])), &current);
    // Not even one of the two that overlap already, when it changes in another way.
    let mut changed = pool("a", &["10.0.0.0/24"]);
    changed["spec"]["autoAssign"] = false.into();
    allowed(
        &update(Kind::IpAddressPool, pool("a", &["10.0.0.0/24"]), changed),
        &current,
    );
}

#[test] // W-6
fn an_unchanged_spec_and_a_deletion_in_progress_pass() {
    let bad = pool("bad", &["nonsense"]);
    let mut annotated = bad.clone();
    annotated["metadata"]["annotations"] = json!({ "a": "b" });
    allowed(
        &update(Kind::IpAddressPool, bad.clone(), annotated),
        &pools(std::slice::from_ref(&bad)),
    );
    let mut going = pool("bad", &["other nonsense"]);
    going["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
    allowed(&update(Kind::IpAddressPool, bad.clone(), going), &pools(&[bad]));
}

#[test]
fn an_older_object_cannot_be_moved_onto_a_newer_one() {
    let mut newer = pool("newer", &["10.0.1.0/24"]);
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let older = pool("older", &["10.0.0.0/24"]);
    let request = update(Kind::IpAddressPool, older.clone(), pool("older", &["10.0.0.0/23"]));
    denied(
        &request,
        &pools(&[older, newer]),
        "already defined CIDR \"10.0.1.0/24\" of IPAddressPool newer",
    );
}

#[test]
fn an_object_is_not_in_its_own_way() {
    let old = pool("a", &["10.0.0.0/24"]);
    allowed(
        &update(Kind::IpAddressPool, old.clone(), pool("a", &["10.0.0.0/25"])),
        &pools(&[old]),
    );
}

#[test] // W-4: a pool is judged against the advertisements, too
fn a_pool_must_fit_the_advertisements_that_exist() {
    let advertisement = object("all", json!({ "aggregationLength": 26 }));
    let current = Resources {
        bgp_advertisements: parsed(&[advertisement]),
        ..Resources::default()
    };
    let words = "BGPAdvertisement all spec.aggregationLength: invalid aggregation length 26: prefix 28 in this pool is \
                 more specific than the aggregation length for addresses 1.1.1.0/28";
    denied(
        &create(Kind::IpAddressPool, pool("small", &["1.1.1.0/28"])),
        &current,
        words,
    );
    // And the other way round, with upstream's text.
    let request = create(
        Kind::BgpAdvertisement,
        object("all", json!({ "aggregationLength": 26 })),
    );
    denied(
        &request,
        &pools(&[pool("small", &["1.1.1.0/28"])]),
        &words["BGPAdvertisement all ".len()..],
    );
}

#[rstest] // mission rules
#[case(json!({ "keepaliveTime": "10s" }), "spec.keepaliveTime: keepaliveTime needs holdTime")]
#[case(json!({ "holdTime": "9s", "keepaliveTime": "9s" }), "spec.keepaliveTime: keepaliveTime 9s must be lower than holdTime 9s")]
#[case(json!({ "peerAddress": "10.0.0.7" }), "already exists: BGPPeer other has the same")]
#[case(json!({ "myASN": 7 }), "spec.myASN: myASN 7 differs from 64500 of BGPPeer other")]
#[case(json!({ "peerAddress": "router" }), "spec.peerAddress: invalid BGPPeer address \"router\"")]
fn a_bad_peer_is_denied(#[case] changes: Value, #[case] words: &str) {
    let current = peers(&[peer("other", &json!({ "peerAddress": "10.0.0.7" }))]);
    allowed(&create(Kind::BgpPeer, peer("good", &json!({}))), &current);
    denied(&create(Kind::BgpPeer, peer("bad", &changes)), &current, words);
}

#[test]
fn both_timers_may_be_zero() {
    let request = create(
        Kind::BgpPeer,
        peer("a", &json!({ "holdTime": "0s", "keepaliveTime": "0s" })),
    );
    allowed(&request, &Resources::default());
}

#[test]
fn the_scope_of_the_my_asn_rule_is_a_setting() {
    let zone = |name: &str| json!([{ "matchLabels": { "zone": name } }]);
    let current = peers(&[peer(
        "other",
        &json!({ "nodeSelectors": zone("a"), "peerAddress": "10.0.0.7" }),
    )]);
    let request = create(
        Kind::BgpPeer,
        peer("new", &json!({ "nodeSelectors": zone("b"), "myASN": 7 })),
    );
    let judge = |my_asn_scope| {
        judge(
            &request,
            &current,
            &Rules {
                my_asn_scope,
                ..rules()
            },
        )
        .allowed()
    };
    let scopes = [MyAsnScope::Node, MyAsnScope::Cluster, MyAsnScope::Off];
    assert_eq!(scopes.map(judge), [true, false, true]);
}

#[test]
fn the_rules_of_frr_hold_for_frr_only() {
    let current = peers(&[peer(
        "other",
        &json!({ "peerAddress": "10.0.0.7", "routerID": "1.1.1.1" }),
    )]);
    let request = create(Kind::BgpPeer, peer("new", &json!({})));
    let judge = |backend| judge(&request, &current, &Rules { backend, ..rules() }).allowed();
    assert_eq!(
        [Backend::Native, Backend::Frr, Backend::FrrK8s].map(judge),
        [true, false, false]
    );
}

#[test] // W-1, B-23
fn disable_mp_warns_and_checking_goes_on() {
    let verdict = allowed(
        &create(Kind::BgpPeer, peer("a", &json!({ "disableMP": true }))),
        &Resources::default(),
    );
    assert!(
        verdict.warnings[0]
            .to_string()
            .starts_with("spec.disableMP: disableMP is deprecated"),
        "{verdict:?}"
    );
    denied(
        &create(Kind::BgpPeer, peer("a", &json!({ "disableMP": true, "myASN": 0 }))),
        &Resources::default(),
        "myASN",
    );
}

#[test]
fn a_peer_of_the_old_version_is_judged_too() {
    let mut old = peer("a", &json!({ "holdTime": "0s", "peerPort": 0 }));
    old["apiVersion"] = "metallb.io/v1beta1".into();
    old["kind"] = "BGPPeer".into();
    allowed(&create(Kind::BgpPeer, old.clone()), &Resources::default());
    old["spec"]["peerAddress"] = "x".into();
    denied(
        &create(Kind::BgpPeer, old),
        &Resources::default(),
        "invalid BGPPeer address",
    );
}

#[test] // references may be created later, in any order
fn references_that_lead_nowhere_yet_are_no_errors() {
    let references = json!({ "bfdProfile": "later", "passwordSecret": { "name": "later" } });
    allowed(&create(Kind::BgpPeer, peer("a", &references)), &Resources::default());
    let spec = json!({ "communities": ["later"], "ipAddressPools": ["later"], "peers": ["later"] });
    let verdict = allowed(
        &create(Kind::BgpAdvertisement, object("a", spec)),
        &Resources::default(),
    );
    let fields: Vec<&str> = verdict.warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.communities[0]", "spec.ipAddressPools[0]", "spec.peers[0]"]
    );
}

#[test] // F-2
fn a_bfd_profile_in_use_cannot_be_deleted() {
    let delete = |name: &str| Request {
        operation: Operation::Delete,
        object: Value::Null,
        old: object(name, json!({})),
        ..create(Kind::BfdProfile, Value::Null)
    };
    let current = peers(&[peer("p", &json!({ "bfdProfile": "used" }))]);
    denied(
        &delete("used"),
        &current,
        "failed to delete BFDProfile used, used by BGPPeer p",
    );
    allowed(&delete("unused"), &current);
}

fn service(ip: &str) -> k8s_openapi::api::core::v1::Service {
    serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "shop" },
        "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } } }))
    .unwrap()
}

#[rstest] // D-5
#[case(Kind::IpAddressPool, "10.0.0.1", &["10.0.0.128/25"], Some("spec.addresses: Service shop/web holds 10.0.0.1, which the pool loses"))]
#[case(Kind::AddressPool, "10.0.0.1", &["10.0.1.0/24"], Some("spec.addresses: Service shop/web holds 10.0.0.1, which the pool loses"))]
#[case(Kind::IpAddressPool, "10.0.0.1", &["10.0.0.0/30"], None)]
#[case(Kind::IpAddressPool, "10.0.9.1", &["10.0.1.0/24"], None)]
fn a_pool_that_loses_addresses_in_use_is_warned_of(
    #[case] kind: Kind,
    #[case] ip: &str,
    #[case] addresses: &[&str],
    #[case] words: Option<&str>,
) {
    let spec = |addresses: &[&str]| object("gold", json!({ "addresses": addresses, "protocol": "layer2" }));
    let request = update(kind, spec(&["10.0.0.0/24"]), spec(addresses));
    assert!(request.needs_services());
    let services = [service(ip)];
    let nothing = Resources::default();
    let existing = Existing {
        services: &services,
        ..Existing::from(&nothing)
    };
    let verdict = judge(&request, existing, &rules());
    assert!(verdict.allowed(), "{verdict:?}");
    let warnings: Vec<String> = verdict.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, words.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>());
}

#[test] // D-3
fn a_peer_that_services_are_announced_to_is_warned_of() {
    let deletion = |name: &str| Request {
        operation: Operation::Delete,
        object: Value::Null,
        old: peer(name, &json!({})),
        ..create(Kind::BgpPeer, Value::Null)
    };
    let status = json!({ "metadata": { "name": "bgp-x" }, "spec": {},
        "status": { "node": "rack-1", "serviceName": "web", "serviceNamespace": "shop", "peers": ["tor"] } });
    let announced = [serde_json::from_value(status).unwrap()];
    let warnings = |name| {
        let request = deletion(name);
        assert!(request.needs_announced());
        let nothing = Resources::default();
        let existing = Existing {
            announced: &announced,
            ..Existing::from(&nothing)
        };
        let verdict = judge(&request, existing, &rules());
        assert!(verdict.allowed());
        verdict.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings("tor"), ["Node rack-1 announces Service shop/web to it"]);
    assert_eq!(warnings("other"), Vec::<String>::new());
}

#[rstest]
#[case(Kind::Community, json!([{ "name": "a", "value": "x:1" }]), "invalid community value: invalid section")]
#[case(Kind::Community, json!([{ "name": "a", "value": "x:1:2:3" }]), "expected community to be of format large")]
#[case(Kind::Community, json!([{ "name": "a", "value": "1:1" }, { "name": "a", "value": "1:2" }]), "duplicate definition of community")]
fn communities_are_denied_with_upstreams_words(#[case] kind: Kind, #[case] list: Value, #[case] words: &str) {
    denied(
        &create(kind, object("c", json!({ "communities": list }))),
        &Resources::default(),
        words,
    );
}

#[rstest]
#[case(Kind::IpAddressPool, json!({ "metadata": { "name": "a" }, "spec": { "addresses": 7 } }))]
#[case(Kind::BgpPeer, json!([]))]
#[case(Kind::MetalLb, json!("x"))]
fn what_cannot_be_read_is_told_apart(#[case] kind: Kind, #[case] object: Value) {
    let verdict = judge(&create(kind, object), &Resources::default(), &rules());
    assert!(verdict.undecodable && !verdict.allowed());
}

fn metallb(spec: Value) -> Value {
    object("metallb", spec)
}

#[rstest]
#[case(json!({ "controllerTolerations": [{ "tolerationSeconds": 5, "effect": "NoSchedule" }] }), "spec.controllerTolerations[0].effect")] // O-1
#[case(json!({ "speakerTolerations": [{}, { "tolerationSeconds": 0 }] }), "spec.speakerTolerations[1].effect")] // O-1, W-39
#[case(
    json!({ "speakerConfig": { "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 101, "preference": {} }] } } } }),
    "spec.speakerConfig.affinity.nodeAffinity"
)] // O-2
#[case(
    json!({ "controllerConfig": { "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 0, "podAffinityTerm": { "topologyKey": "x" } }] } } } }),
    "podAntiAffinity"
)] // O-2, W-39
#[case(json!({ "bgpBackend": "bird" }), "native, frr, frr-k8s, frr-k8s-external")] // O-3
#[case(json!({ "bgpBackend": "frr-k8s-external" }), "spec.frrk8sConfig.namespace")] // O-4
#[case(json!({ "frrk8sConfig": { "alwaysBlock": ["10.0.0.0/8", "10.0.0.1"] } }), "alwaysBlock[1]: invalid CIDR 10.0.0.1 in AlwaysBlock")] // O-5
fn a_bad_metallb_is_denied(#[case] spec: Value, #[case] words: &str) {
    denied(&create(Kind::MetalLb, metallb(spec)), &Resources::default(), words);
}

#[test]
fn a_good_metallb_is_allowed() {
    let spec =
        json!({ "bgpBackend": "native", "speakerTolerations": [{ "tolerationSeconds": 5, "effect": "NoExecute" }] });
    assert_eq!(
        allowed(&create(Kind::MetalLb, metallb(spec)), &Resources::default()).warnings,
        []
    );
    // O-4: the operator's environment names the namespace.
    let external = Rules {
        frrk8s_external_namespace: Some("frr".to_owned()),
        ..rules()
    };
    let request = create(Kind::MetalLb, metallb(json!({ "bgpBackend": "frr-k8s-external" })));
    assert!(judge(&request, &Resources::default(), &external).allowed());
}

#[test] // O-7, O-8, OP-9
fn a_metallb_of_another_name_or_namespace_is_refused_and_one_that_exists_may_be_changed() {
    let mut other = metallb(json!({}));
    other["metadata"]["name"] = "other".into();
    other["metadata"]["namespace"] = "default".into();
    for word in [
        "metadata.name: only the MetalLB named metallb",
        "metadata.namespace: only",
    ] {
        denied(&create(Kind::MetalLb, other.clone()), &Resources::default(), word);
    }
    let mut changed = other.clone();
    changed["spec"]["logLevel"] = "debug".into();
    let verdict = allowed(&update(Kind::MetalLb, other, changed), &Resources::default());
    assert_eq!(verdict.warnings.len(), 2);
}

#[test]
fn a_dump_of_a_request_shows_no_password() {
    let peer = |password: &str| peer("tor", &json!({ "password": password }));
    let dump = format!("{:?}", update(Kind::BgpPeer, peer("hunter1"), peer("hunter2")));
    assert!(dump.contains("tor") && !dump.contains("hunter"), "{dump}");
}
