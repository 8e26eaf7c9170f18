//! BGP peers and routes after a series of changes: the state must be that of a speaker that has just started.

use std::collections::BTreeMap;

use ipnet::IpNet;
use metallb_announce::{Endpoint, Path};

use super::*;

/// What the data plane holds after these effects.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    peers: Option<Peers>,
    routes: BTreeMap<IpNet, Vec<Arc<Path>>>,
}

impl Held {
    fn after(effects: &[Effect]) -> Self {
        let mut held = Self::default();
        held.take(effects);
        held
    }

    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Peers(peers) => self.peers = Some(peers.clone()),
                Effect::Routes(changes) => {
                    for change in changes {
                        self.routes.remove(&change.prefix);
                        if !change.paths.is_empty() {
                            self.routes.insert(change.prefix, change.paths.clone());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        let peers = self.peers.iter().flat_map(|all| &all.peers);
        peers.map(|peer| peer.name.as_str()).collect()
    }
}

/// Whom a Service is told to: what its status says.
fn told_to(effects: &[Effect]) -> Option<Vec<String>> {
    statuses(effects).into_iter().find_map(|status| match status {
        (Protocol::Bgp, Some(StatusContent::Peers(peers))) => Some(peers.to_vec()),
        _ => None,
    })
}

// BGP-26
#[test]
fn the_last_bfd_profile_goes_like_any_other() {
    let mut resources = with_bgp(resources());
    resources.bfd_profiles = vec![object("fast", &json!({}))];
    let (mut engine, effects) = running(resources.clone());
    let mut held = Held::after(&effects);
    assert_eq!(held.peers.as_ref().unwrap().bfd_profiles.len(), 1);
    resources.bfd_profiles.clear();
    held.take(&engine.handle(Event::Resources(Box::new(resources))));
    assert_eq!(held.peers.unwrap().bfd_profiles, []);
}

// BGP-27
#[test]
fn a_bad_peer_of_other_nodes_is_no_concern_of_this_one() {
    let mut resources = with_bgp(resources());
    resources.nodes[1].metadata.labels = Some([("rack".to_owned(), "b".to_owned())].into());
    let bad = |selectors: Value| {
        let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "nonsense", "nodeSelectors": selectors});
        object("bad", &spec)
    };
    resources.peers.push(bad(json!([{"matchLabels": {"rack": "b"}}])));
    let (_, effects) = running(resources.clone());
    assert_eq!(errors(&effects).unwrap_or_default(), [""; 0]);
    assert_eq!(Held::after(&effects).names(), ["tor-a", "tor-b"]);
    resources.peers[2] = bad(json!([]));
    let (_, effects) = running(resources);
    assert!(
        errors(&effects).unwrap()[0].contains("bad"),
        "as a peer of this node it is named"
    );
}

// BGP-106
#[test]
fn listed_peers_are_told_in_any_order_and_as_soon_as_they_are_created() {
    let naming = |names: &[&str], peers: &[(&str, &str)]| {
        let mut resources = with_bgp(resources());
        resources.bgp_advertisements = vec![object("bgp", &json!({ "peers": names }))];
        resources.peers = peers.iter().map(|(name, address)| peer(name, address)).collect();
        Event::Resources(Box::new(resources))
    };
    let all = [("l", "192.0.2.250"), ("r", "192.0.2.251"), ("third", "192.0.2.252")];
    let begin = |event: Event| {
        let (mut engine, _) = running(resources());
        let effects = engine.handle(event);
        (engine, effects)
    };
    let (_, effects) = begin(naming(&["l", "r"], &all));
    let both = Held::after(&effects);
    assert_eq!(told_to(&effects), list(&["l", "r"]));
    let (_, effects) = begin(naming(&["r", "l"], &all));
    assert_eq!((Held::after(&effects), told_to(&effects)), (both, list(&["l", "r"])));

    let (mut engine, effects) = begin(naming(&["l", "r"], &[all[0], all[2]]));
    assert_eq!(told_to(&effects), list(&["l"]));
    let late = engine.handle(naming(&["l", "r"], &all));
    assert_eq!(told_to(&late), list(&["l", "r"]));
    assert_eq!(
        told_to(&engine.handle(naming(&["l", "r"], &[all[0], all[2]]))),
        list(&["l"])
    );
    let elsewhere = [all[0], ("r", "192.0.2.253"), all[2]];
    let again = engine.handle(naming(&["l", "r"], &elsewhere));
    assert_eq!(told_to(&again), list(&["l", "r"]));
    assert_eq!(Held::after(&again).names(), ["l", "r", "third"]);
}

// BGP-107
#[test]
fn labels_that_come_back_and_a_node_that_is_made_again_lead_to_what_a_new_speaker_does() {
    let selected = |nodes: &[&str], labels: &[(&str, &str)]| {
        let mut resources = with_bgp(resources());
        resources
            .nodes
            .retain(|node| nodes.contains(&node.metadata.name.as_deref().unwrap()));
        for node in resources.nodes.iter_mut().take(1) {
            let labels = labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            node.metadata.labels = Some(labels.collect());
        }
        let rack = json!([{"matchLabels": {"rack": "a"}}]);
        let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.250", "nodeSelectors": rack});
        resources.peers[0] = object("tor-a", &spec);
        let edge = json!({ "nodeSelectors": [{"matchLabels": {"edge": "yes"}}] });
        resources.bgp_advertisements = vec![object("bgp", &edge)];
        resources
    };
    let all = [NODE, "node-b"];
    let good = selected(&all, &[("rack", "a"), ("edge", "yes")]);
    let (_, effects) = running(good.clone());
    let fresh = Held::after(&effects);
    assert_eq!((fresh.names(), fresh.routes.len()), (vec!["tor-a", "tor-b"], 1));
    let away = [
        selected(&all, &[("edge", "yes")]),
        selected(&all, &[("rack", "a")]),
        selected(&["node-b"], &[]),
    ];
    let (mut engine, _) = running(good.clone());
    let mut held = fresh.clone();
    for round in 0..50 {
        for other in &away {
            held.take(&engine.handle(Event::Resources(Box::new(other.clone()))));
            assert_ne!(held, fresh, "{round}");
            held.take(&engine.handle(Event::Resources(Box::new(good.clone()))));
            assert_eq!(held, fresh, "{round}");
        }
    }
}

/// A Service with policy Local that shares its address.
fn local(name: &str) -> Event {
    changed_service(
        name,
        &json!({
            "metadata": {"annotations": {"metallb.io/allow-shared-ip": "x"}},
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }),
    )
}

// BGP-108
#[test]
fn a_shared_address_is_announced_while_one_of_its_services_has_an_endpoint_here() {
    for (length, prefix) in [(32, "192.0.2.1/32"), (24, "192.0.2.0/24")] {
        let mut resources = with_bgp(resources());
        resources.bgp_advertisements = vec![object("bgp", &json!({ "aggregationLength": length }))];
        let gone = format!("-{prefix}");
        let nowhere = |name: &str| Event::Slice(key(&format!("{name}-x")), None);
        // Deleted in one case, edited in the other.
        for end in [nowhere as fn(&str) -> Event, |name| slice(name, "node-b")] {
            let (mut engine, _) = running(resources.clone());
            engine.handle_all([local("web"), local("api"), slice("api", NODE)]);
            assert_eq!(prefixes(&engine.handle(end("web"))), None);
            assert_eq!(prefixes(&engine.handle(end("api"))), list(&[&gone]));
            assert_eq!(prefixes(&engine.handle(slice("api", NODE))), list(&[prefix]));
            assert_eq!(prefixes(&engine.handle(slice("web", NODE))), None);
            assert_eq!(prefixes(&engine.handle(end("api"))), None);
            assert_eq!(prefixes(&engine.handle(end("web"))), list(&[&gone]));
        }
    }
}

// BGP-110
#[test]
fn an_endpoint_that_is_ready_on_another_node_only_is_announced_there_and_by_cluster_policy() {
    let on = |node: &str, ready: bool| Endpoint {
        addressed: true,
        ready: Some(ready),
        serving: None,
        node: Some(node.to_owned()),
    };
    let (here, there) = (|ready| on(NODE, ready), |ready| on("node-b", ready));
    let one = |name: &str, endpoints: Vec<Endpoint>| slice_of(name, "web", endpoints.into_iter().collect());
    let ways = [
        vec![one("web-x", vec![here(false), there(true)])],
        vec![one("web-x", vec![there(true), here(false)])],
        vec![one("web-x", vec![here(false)]), one("web-y", vec![there(true)])],
        vec![one("web-y", vec![there(true)]), one("web-x", vec![here(false)])],
    ];
    for way in ways {
        let (mut engine, effects) = running(with_bgp(resources()));
        let mut held = Held::after(&effects);
        for event in way {
            held.take(&engine.handle(event));
        }
        assert_eq!(held.routes.len(), 1, "with policy Cluster it is announced");
        held.take(&engine.handle(local("web")));
        assert_eq!(held.routes.len(), 0, "with policy Local it is not announced here");
        held.take(&engine.handle(one("web-x", vec![here(true), there(true)])));
        assert_eq!(held.routes.len(), 1);
    }
}
