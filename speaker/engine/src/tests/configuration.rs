//! What the configuration changes, and what is told about it.

use super::*;

// L2-66
#[test]
fn other_interfaces_are_passed_on_without_a_new_event() {
    let (mut engine, _) = running(resources());
    let mut changed = resources();
    changed.l2_advertisements = vec![object("l2", &json!({"interfaces": ["eth1"]}))];
    let effects = engine.handle(Event::Resources(Box::new(changed)));
    let only = Interfaces::Only(names(&["eth1"]));
    assert_eq!(
        effects[0],
        Effect::Addresses(vec![("192.0.2.1".parse().unwrap(), Some(only))])
    );
    assert_eq!(notes(&effects), Vec::<&str>::new());
}

// BGP-98
#[test]
fn the_status_names_peers_that_can_carry_the_route() {
    let (mut engine, effects) = running(with_bgp(resources()));
    let peers = |names: &[&str]| StatusContent::Peers(Arc::new(list(names).unwrap()));
    assert!(statuses(&effects).contains(&(Protocol::Bgp, Some(peers(&["tor-a"])))));
    let mut more = with_bgp(resources());
    more.peers.push(peer("tor-0", "192.0.2.251"));
    let effects = engine.handle(Event::Resources(Box::new(more)));
    assert_eq!(statuses(&effects), [(Protocol::Bgp, Some(peers(&["tor-0", "tor-a"])))]);
}

#[test]
fn nothing_that_a_peer_may_ask_for_is_left_out() {
    let mut resources = with_bgp(resources());
    resources.bfd_profiles = vec![object("fast", &json!({}))];
    resources.peers[0] = object(
        "tor-a",
        &json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.250",
            "bfdProfile": "fast", "enableGracefulRestart": true}),
    );
    resources.peers.push(object(
        "tor-c",
        &json!({"myASN": 64500, "peerASN": 64501, "interface": "eth0"}),
    ));
    let (_, effects) = running(resources);
    assert_eq!(errors(&effects).unwrap_or_default(), [""; 0], "nothing is left out");
    assert!(statuses(&effects).iter().any(|(protocol, content)| {
        let both = StatusContent::Peers(Arc::new(vec!["tor-a".into(), "tor-c".into()]));
        *protocol == Protocol::Bgp && *content == Some(both)
    }));
}

#[test]
fn echoes_over_several_hops_are_told_to_have_no_effect() {
    for (echo, far, told) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut resources = with_bgp(resources());
        resources.bfd_profiles = vec![object("fast", &json!({ "echoMode": echo }))];
        let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.250", "bfdProfile": "fast",
            "ebgpMultiHop": far});
        resources.peers[0] = object("tor-a", &spec);
        let (_, effects) = running(resources);
        let errors = errors(&effects).unwrap_or_default();
        let found = errors
            .iter()
            .any(|error| error.contains("tor-a") && error.contains("echoMode"));
        assert_eq!(found, told, "{echo} {far}: {errors:?}");
    }
}

// BGP-114
#[test]
fn two_hundred_edits_that_concern_no_peer_change_no_session() {
    let guarded = || {
        let mut resources = with_bgp(resources());
        resources.bfd_profiles = vec![object("fast", &json!({}))];
        resources.peers[0].spec.bfd_profile = Some("fast".into());
        resources
    };
    let (mut engine, effects) = running(guarded());
    let told = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Peers(all) => Some(all.peers.clone()),
            _ => None,
        })
    };
    let before = told(&effects).unwrap();
    for n in 0..50 {
        let mut changed = guarded();
        changed.l2_advertisements = vec![object("l2", &json!({"interfaces": [format!("eth{n}")]}))];
        changed
            .bfd_profiles
            .push(object("unused", &json!({"receiveInterval": 10 + n})));
        changed.nodes[1].metadata.labels = Some([("foreign".to_owned(), n.to_string())].into());
        let name = format!("web-{n}");
        let mut effects = engine.handle(Event::Resources(Box::new(changed)));
        effects.extend(engine.handle(service(&name, &[&format!("192.0.2.{}", n + 10)])));
        effects.extend(engine.handle(slice(&name, NODE)));
        effects.extend(engine.handle(Event::Service(key(&name), None)));
        // All profiles come with the peers, so they are told again, and are the same.
        for effect in &effects {
            assert!(
                !matches!(effect, Effect::Peers(all) if all.peers != before),
                "{n}: {effect:?}"
            );
        }
    }
}

#[test]
fn peers_reach_the_data_plane_before_services_are_known() {
    let mut engine = engine();
    let effects = engine.handle(Event::Resources(Box::new(with_bgp(resources()))));
    let names = effects.iter().find_map(|effect| match effect {
        Effect::Peers(all) => Some(all.peers.iter().map(|p| p.name.clone()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(names, Some(vec!["tor-a".into(), "tor-b".into()]));
}

#[test]
fn a_family_that_a_session_lacks_is_told_on_the_peer_once() {
    let mut dual = with_bgp(resources());
    dual.peers[0].spec.dual_stack_address_family = true;
    let (mut engine, _) = running(dual);
    let lacking = Families {
        ipv4: true,
        ipv6: false,
    };
    let uncarried = Event::Uncarried([("tor-a".to_owned(), lacking)].into());
    let effects = engine.handle(uncarried.clone());
    assert_eq!(statuses(&effects), [(Protocol::Bgp, None)], "announced to nobody");
    let told = |effects: &[Effect]| {
        let doubtful = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Doubtful { note, .. } if note.contains("IPv4")));
        doubtful.count()
    };
    assert_eq!(told(&effects), 1);
    assert_eq!(engine.handle(uncarried.clone()), []);
    // Lost and back: nothing is written or told meanwhile.
    assert_eq!(engine.handle(Event::Uncarried([].into())), []);
    assert_eq!(engine.handle(uncarried), []);
    let effects = engine.handle(Event::Uncarried([("tor-a".to_owned(), Families::default())].into()));
    assert_eq!(statuses(&effects).len(), 1, "another router, which carries it");
}

#[test]
fn a_name_that_leads_nowhere_is_told_and_refuses_nothing() {
    let mut resources = with_bgp(resources());
    resources.bgp_advertisements[0].spec.peers = vec!["tor-a".into(), "tor-z".into()];
    let (_, effects) = running(resources);
    let report = effects.iter().find_map(|effect| match effect {
        Effect::Configuration(report) => Some(report),
        _ => None,
    });
    let report = report.unwrap();
    assert_eq!(report.errors, Vec::<String>::new());
    assert!(report.doubts.iter().any(|doubt| doubt.contains("tor-z")), "{report:?}");
    assert_eq!(prefixes(&effects), list(&["192.0.2.1/32"]));
}

// L2-4, BGP-100
#[test]
fn an_object_edited_into_nonsense_keeps_its_last_good_version_and_is_named() {
    let (mut engine, _) = running(with_bgp(resources()));
    let mut bad = with_bgp(resources());
    bad.pools = vec![object("web", &json!({"addresses": ["nonsense"]}))];
    bad.peers[0] = object(
        "tor-a",
        &json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "nonsense"}),
    );
    let effects = engine.handle(Event::Resources(Box::new(bad)));
    let [Effect::Configuration(report)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(report.errors.iter().any(|e| e.contains("web")) && report.errors.iter().any(|e| e.contains("tor-a")));
    let effects = engine.handle(Event::Resources(Box::new(with_bgp(resources()))));
    assert_eq!(effects, [Effect::Configuration(ConfigReport::default())]);
}

#[test]
fn an_object_that_was_never_good_does_not_hold_up_its_own_repair() {
    let mut bad = resources();
    bad.pools.push(object("more", &json!({"addresses": ["nonsense"]})));
    let (mut engine, effects) = running(bad);
    assert_eq!(layer2(&effects), Some(vec!["192.0.2.1".into()]));
    assert_eq!(errors(&effects).map(|e| e.len()), Some(1));
    let mut still_bad = resources();
    still_bad
        .pools
        .push(object("more", &json!({"addresses": ["nonsense", "198.51.100.0/24"]})));
    engine.handle(Event::Resources(Box::new(still_bad.clone())));
    assert_eq!(
        engine.config.as_ref().map(|c| c.config.clone()),
        Some(metallb_config::parse(&still_bad, &engine.settings.options).config)
    );
}

// L2-5
#[test]
fn an_address_whose_pool_vanishes_stays_announced_until_it_changes() {
    let (mut engine, _) = running(with_bgp(resources()));
    let mut gone = with_bgp(resources());
    gone.pools = vec![object("other", &json!({"addresses": ["198.51.100.0/24"]}))];
    let effects = engine.handle(Event::Resources(Box::new(gone)));
    assert_eq!((layer2(&effects), prefixes(&effects)), (None, None));
    assert!(errors(&effects).unwrap()[0].contains("default/web"));
    let effects = engine.handle(service("web", &[]));
    assert_eq!(
        (layer2(&effects), prefixes(&effects)),
        (list(&["-192.0.2.1"]), list(&["-192.0.2.1/32"]))
    );
    assert_eq!(errors(&effects), Some(vec![]));
}

#[test]
fn an_address_whose_pool_vanished_moves_to_another_node_when_its_owner_dies() {
    let (mut engine, _) = running(resources());
    engine.handle(Event::Members(names(&[NODE, "node-b"])));
    let lost = (1..20).map(|n| format!("192.0.2.{n}")).find(|ip| {
        engine.handle(service("web", &[ip]));
        let ours = &engine.services[&key("web")].announced;
        ours.ranking().unwrap().winner() != Some(NODE)
    });
    let mut gone = resources();
    gone.pools = vec![object("other", &json!({"addresses": ["198.51.100.0/24"]}))];
    assert_eq!(layer2(&engine.handle(Event::Resources(Box::new(gone)))), None);
    let effects = engine.handle(Event::Members(names(&[NODE])));
    assert_eq!(layer2(&effects), Some(vec![lost.unwrap()]));
}

#[test]
fn a_changed_pool_touches_only_its_own_services() {
    let mut two = resources();
    two.pools
        .push(object("api", &json!({"addresses": ["198.51.100.0/24"]})));
    let (mut engine, _) = running(two.clone());
    engine.handle_all([service("api", &["198.51.100.1"]), slice("api", NODE)]);
    two.pools[1] = object("api", &json!({"addresses": ["198.51.100.0/24", "203.0.113.0/24"]}));
    let before = engine.config.as_ref().unwrap().config.clone();
    let after = metallb_config::parse(&two, &engine.settings.options).config;
    let difference = Difference::new(&before, &after, NODE);
    assert!(difference.nodes.is_empty());
    let concerns = |ip: &str| difference.concerns(&before, &after, ip.parse().unwrap());
    assert_eq!((concerns("192.0.2.1"), concerns("198.51.100.1")), (false, true));
}

#[test] // W-29
fn what_is_cut_from_a_password_is_told_once_on_the_peer() {
    let secret = |password: &str| {
        serde_json::from_value(json!({
            "metadata": {"name": "tor", "namespace": "metallb-system"}, "type": "kubernetes.io/basic-auth",
            "data": {"password": password},
        }))
        .unwrap()
    };
    let mut resources = resources();
    let mut peer = peer("tor-a", "192.0.2.250");
    peer.spec.password_secret = serde_json::from_value(json!({"name": "tor"})).unwrap();
    resources.peers = vec![peer];
    let told = |effects: &[Effect]| {
        let notes = effects.iter().filter_map(|effect| match effect {
            Effect::Doubtful { peer, note, .. } => Some((peer.to_string(), note.clone())),
            _ => None,
        });
        notes.collect::<Vec<_>>()
    };
    let mut engine = engine();
    resources.secrets = vec![secret("aHVudGVyMg==")];
    assert_eq!(told(&engine.handle(Event::Resources(Box::new(resources.clone())))), []);
    resources.secrets = vec![secret("aHVudGVyMgo=")];
    let note = "the line break at the end of the password in Secret \"tor\" is not used".to_owned();
    let expected = [("metallb-system/tor-a".to_owned(), note)];
    assert_eq!(
        told(&engine.handle(Event::Resources(Box::new(resources.clone())))),
        expected
    );
    assert_eq!(told(&engine.handle(Event::Resources(Box::new(resources)))), []);
}

#[test] // BGP-112
fn a_peer_that_waits_for_its_secret_has_no_session_and_the_others_go_on() {
    let secret = |namespace: &str, kind: &str, data: serde_json::Value| {
        serde_json::from_value(json!({
            "metadata": {"name": "key", "namespace": namespace}, "type": kind, "data": data,
        }))
        .unwrap()
    };
    let basic = "kubernetes.io/basic-auth";
    let good = || secret("metallb-system", basic, json!({"password": "aHVudGVyMg=="}));
    let useless = [
        (None, "there is no Secret \"key\""),
        (
            Some(secret("elsewhere", basic, json!({"password": "aHVudGVyMg=="}))),
            "there is no Secret \"key\"",
        ),
        (
            Some(secret("metallb-system", "Opaque", json!({"password": "aHVudGVyMg=="}))),
            "of type Opaque",
        ),
        (
            Some(secret("metallb-system", basic, json!({"user": "aHVudGVyMg=="}))),
            "no key \"password\"",
        ),
        (
            Some(secret("metallb-system", basic, json!({"password": ""}))),
            "must have 1 to 80 bytes",
        ),
        (
            Some(secret("metallb-system", basic, json!({"password": "eHh4".repeat(27)}))),
            "must have 1 to 80 bytes",
        ),
    ];
    let keys = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Peers(all) => Some(
                all.peers
                    .iter()
                    .map(|peer| (peer.name.clone(), peer.password.is_some()))
                    .collect::<Vec<_>>(),
            ),
            _ => None,
        })
    };
    let (other, waiting) = (("tor-b".to_owned(), false), ("tor-a".to_owned(), true));
    for (useless, words) in useless {
        // Without a key before: that version must not stay in use when the peer asks for one.
        let mut resources = with_bgp(resources());
        let (mut engine, effects) = running(resources.clone());
        assert_eq!(keys(&effects).unwrap().len(), 2);
        resources.peers[0].spec.password_secret = serde_json::from_value(json!({"name": "key"})).unwrap();
        let mut with = |secret: Option<_>| {
            resources.secrets = secret.into_iter().collect();
            engine.handle(Event::Resources(Box::new(resources.clone())))
        };
        let effects = with(useless.clone());
        assert_eq!(keys(&effects), Some(vec![other.clone()]), "{words}");
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Doubtful { peer, note, .. } => Some((peer.name.clone(), note.clone())),
            _ => None,
        });
        let (peer, note) = told.unwrap();
        assert!(
            peer == "tor-a" && note.contains(words) && note.contains("\"key\""),
            "{note}"
        );
        assert!(errors(&effects).unwrap().iter().any(|error| error.contains("tor-a")));
        // Created late, and then spoilt or deleted.
        assert_eq!(keys(&with(Some(good()))), Some(vec![waiting.clone(), other.clone()]));
        assert_eq!(keys(&with(useless)), Some(vec![other.clone()]), "{words}");
    }
}
