//! Endpoints, which come in slices.

use metallb_announce::Endpoint;

use super::*;

// L2-94, L2-97
#[test]
fn one_entry_that_can_serve_makes_a_local_node_whatever_others_say_of_it() {
    let entry = |node: &str, ready| Endpoint {
        addressed: true,
        ready: Some(ready),
        serving: Some(ready),
        node: Some(node.to_owned()),
    };
    let local = json!({
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    for (mine, other) in [("unready", NODE), (NODE, "unready")] {
        let entries = [entry(mine, true), entry(mine, false), entry(other, false)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for slices in [1, 2, 10] {
                let (mut engine, _) = running(resources());
                let part = |slice: usize| {
                    let part = order
                        .iter()
                        .filter(|at| **at % slices == slice)
                        .map(|at| entries[*at].clone());
                    slice_of(&format!("web-{slice}"), "web", part.collect())
                };
                let mut events = vec![changed_service("web", &local), Event::Slice(key("web-x"), None)];
                events.extend((0..slices).map(part));
                engine.handle_all(events);
                let announces = engine.services[&key("web")].announced.answers();
                assert_eq!(announces, mine == NODE, "{mine} in order {order:?} and {slices} slices");
            }
        }
    }
}

// L2-96
#[test]
fn a_slice_that_changes_hands_serves_its_new_service_only() {
    let (mut engine, _) = running(resources());
    let endpoints = Endpoints {
        any: true,
        nodes: [NODE].into_iter().collect(),
    };
    let effects = engine.handle_all([service("other", &["192.0.2.9"]), slice_of("web-x", "other", endpoints)]);
    assert_eq!(layer2(&effects), list(&["-192.0.2.1", "192.0.2.9"]));
}
