//! Who gets an address, and how it moves.

use super::*;

/// 192.0.2.2 is node-b's by the usual order, 192.0.2.1 is node-a's.
const THEIRS: &str = "192.0.2.2";
const OURS: &str = "192.0.2.1";

fn address(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

fn mac(node: &str, interface: &str) -> Mac {
    let (node, interface) = (node.as_bytes(), interface.as_bytes());
    Mac([2, 0, 0, 0, node[node.len() - 1], interface[interface.len() - 1]])
}

pub(super) fn member(node: &str, interfaces: &[&str]) -> Member {
    let interface = |name: &&str| {
        let interface = Interface {
            mac: mac(node, name),
            lately: false,
        };
        ((*name).to_owned(), interface)
    };
    Member {
        interfaces: interfaces.iter().map(interface).collect(),
        ..Member::default()
    }
}

fn said(members: &[(&str, Member)]) -> Event {
    let some = |(name, member): &(&str, Member)| ((*name).to_owned(), Some(member.clone()));
    Event::Said(members.iter().map(some).collect())
}

/// Both have eth0 and eth1.
fn both() -> Event {
    said(&[
        (NODE, member(NODE, &["eth0", "eth1"])),
        ("node-b", member("node-b", &["eth0", "eth1"])),
    ])
}

/// An engine that owns `OURS` and stands in for `THEIRS`, two Services.
fn pair() -> Engine {
    pair_with(Settings {
        node: NODE.into(),
        membership: true,
        options: engine().settings.options,
        ..Settings::default()
    })
}

fn pair_with(settings: Settings) -> Engine {
    let mut engine = Engine::new(settings);
    let effects = engine.handle_all([
        service("ours", &[OURS]),
        slice("ours", NODE),
        service("theirs", &[THEIRS]),
        slice("theirs", NODE),
        Event::Listed,
        Event::OwnersListed,
        Event::Resources(Box::new(resources())),
        Event::Members(names(&[NODE, "node-b"])),
        both(),
        interfaces(&["eth0", "eth1"]),
    ]);
    assert_eq!(layer2(&effects), list(&[OURS]));
    engine
}

fn only_on(interface: &str) -> Event {
    let mut all = resources();
    all.l2_advertisements = vec![object("l2", &json!({"interfaces": [interface]}))];
    Event::Resources(Box::new(all))
}

// L2-79
#[test]
fn who_loses_its_last_interface_of_the_advertisement_gives_way_and_the_next_takes_over() {
    let (mut engine, mut next) = (pair(), pair());
    let without = said(&[
        (NODE, member(NODE, &["eth0", "eth1"])),
        ("node-b", member("node-b", &["eth0"])),
    ]);
    assert_eq!(layer2(&next.handle(without.clone())), None, "eth0 is as good");
    next.handle_all([both(), only_on("eth1")]);
    assert_eq!(layer2(&next.handle(without.clone())), list(&[THEIRS]));
    assert_eq!(layer2(&next.handle(both())), list(&["~192.0.2.2"]));
    engine.handle(only_on("eth1"));
    let unplugged = Links {
        known: names(&["eth0", "eth1"]),
        usable: names(&["eth0"]),
    };
    let own = said(&[
        (NODE, member(NODE, &["eth0"])),
        ("node-b", member("node-b", &["eth0", "eth1"])),
    ]);
    let effects = engine.handle_all([Event::Interfaces(unplugged), own]);
    assert_eq!(layer2(&effects), list(&["~192.0.2.1"]));
    assert_eq!(statuses(&effects), [(Protocol::Layer2, None)]);
}

#[test]
fn where_nobody_has_an_interface_the_usual_order_counts() {
    let mut engine = pair();
    engine.handle(only_on("eth1"));
    let none = [(NODE, member(NODE, &["eth0"])), ("node-b", member("node-b", &["eth0"]))];
    assert_eq!(layer2(&engine.handle(said(&none))), None);
}

#[test]
fn a_member_that_says_nothing_switches_to_upstreams_order() {
    let mut engine = pair();
    engine.handle(only_on("eth1"));
    let without = said(&[(NODE, member(NODE, &["eth1"])), ("node-b", member("node-b", &["eth0"]))]);
    assert_eq!(layer2(&engine.handle(without)), list(&[THEIRS]));
    let mixed = Event::Said(
        [
            (NODE.to_owned(), Some(member(NODE, &["eth1"]))),
            ("node-b".to_owned(), None),
        ]
        .into(),
    );
    assert_eq!(layer2(&engine.handle(mixed)), list(&["~192.0.2.2"]));
}

#[test]
fn a_member_is_judged_with_what_it_says_and_never_without() {
    let mut engine = pair();
    let newcomer = Member {
        newcomer: true,
        failback: Failback::Delayed,
        ..member("node-b", &["eth0"])
    };
    let own = Member {
        failback: Failback::Delayed,
        ..member(NODE, &["eth0"])
    };
    engine.handle_all([Event::Members(names(&[NODE])), said(&[(NODE, own.clone())])]);
    let effects = engine.handle_all([
        Event::Members(names(&[NODE, "node-b"])),
        said(&[(NODE, own), ("node-b", newcomer)]),
    ]);
    assert_eq!(effects.len(), 1, "{effects:?}");
    assert!(matches!(effects[0], Effect::Speakers(_)), "nothing moves meanwhile");
}

fn delayed(node: &str, newcomer: bool) -> Member {
    Member {
        newcomer,
        failback: Failback::Delayed,
        ..member(node, &["eth0"])
    }
}

// L2-93
#[test]
fn a_newcomer_gets_its_addresses_when_it_is_none_any_more() {
    let mut engine = pair();
    let effects = engine.handle(said(&[
        (NODE, delayed(NODE, false)),
        ("node-b", delayed("node-b", true)),
    ]));
    assert_eq!(layer2(&effects), list(&[THEIRS]));
    let effects = engine.handle(said(&[
        (NODE, delayed(NODE, false)),
        ("node-b", delayed("node-b", false)),
    ]));
    assert_eq!(layer2(&effects), list(&["~192.0.2.2"]));
}

#[test]
fn speakers_with_different_settings_fail_back_at_once() {
    let mut engine = pair();
    let effects = engine.handle(said(&[
        (NODE, member(NODE, &["eth0"])),
        ("node-b", delayed("node-b", true)),
    ]));
    assert_eq!(layer2(&effects), None);
}

fn never(node: &str) -> (&str, Member) {
    let member = Member {
        failback: Failback::Never,
        ..member(node, &["eth0"])
    };
    (node, member)
}

fn owners(service: &str, nodes: &[&str]) -> Event {
    Event::Owners(key(service), names(nodes))
}

// L2-80
#[test]
fn with_failback_never_the_owner_keeps_what_it_has() {
    let mut engine = pair();
    engine.handle(said(&[never(NODE), never("node-b")]));
    let effects = engine.handle(owners("theirs", &[NODE]));
    assert_eq!(layer2(&effects), list(&[THEIRS]), "it was this one's already");
    engine.handle(Event::Members(names(&[NODE])));
    let back = engine.handle(Event::Members(names(&[NODE, "node-b"])));
    assert_eq!(layer2(&back), None);
    let effects = engine.handle(owners("theirs", &["node-b"]));
    assert_eq!(layer2(&effects), list(&["~192.0.2.2"]));
    assert_eq!(layer2(&engine.handle(owners("theirs", &[]))), None);
    engine.handle(owners("theirs", &[NODE]));
    let effects = engine.handle(both());
    assert_eq!(
        layer2(&effects),
        list(&["~192.0.2.2"]),
        "only while all have the setting"
    );
}

// L2-95
#[test]
fn with_failback_never_services_that_share_an_address_have_one_owner() {
    let shared = |name: &str| {
        changed_service(
            name,
            &json!({
                "metadata": {"annotations": {"metallb.io/allow-shared-ip": "x"}},
                "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": THEIRS}]}},
            }),
        )
    };
    let mut engine = pair();
    engine.handle_all([said(&[never(NODE), never("node-b")]), shared("theirs")]);
    assert_eq!(layer2(&engine.handle(owners("theirs", &[NODE]))), list(&[THEIRS]));
    let second = engine.handle_all([shared("udp"), slice("udp", NODE)]);
    assert_eq!(
        notes(&second),
        [ANNOUNCING],
        "nobody has it, but its address has an owner"
    );
    assert_eq!(
        layer2(&engine.handle(Event::Service(key("theirs"), None))),
        list(&["~192.0.2.2"])
    );
    engine.handle(shared("theirs"));
    engine.handle(owners("theirs", &["node-b"]));
    let effects = engine.handle(owners("udp", &[NODE]));
    assert_eq!(layer2(&effects), None, "two say so: the usual order decides");
}

#[test]
fn with_failback_never_nothing_is_decided_before_the_owners_are_known() {
    let mut engine = engine();
    engine.settings.failback = Failback::Never;
    let effects = engine.handle_all([
        service("ours", &[OURS]),
        slice("ours", NODE),
        Event::Listed,
        Event::Resources(Box::new(resources())),
        Event::Members(names(&[NODE])),
        said(&[never(NODE)]),
        interfaces(&["eth0"]),
    ]);
    assert_eq!(layer2(&effects), None);
    let effects = engine.handle_all([owners("ours", &[NODE]), Event::OwnersListed]);
    assert_eq!(layer2(&effects), list(&[OURS]));
}

// L2-10
#[test]
fn what_another_takes_over_is_answered_until_it_is_heard_and_what_nobody_does_is_not() {
    let gone = NodeView {
        excluded: true,
        ..NodeView::default()
    };
    let moves: [(Vec<Event>, &str); 4] = [
        (vec![Event::Node(NODE.into(), Some(gone))], "~192.0.2.1"),
        (vec![Event::Service(key("ours"), None)], "-192.0.2.1"),
        (vec![Event::Suspects(names(&[NODE]))], "-192.0.2.1"),
        (
            vec![
                Event::Members(names(&[NODE])),
                said(&[(NODE, member(NODE, &["eth0"]))]),
                Event::Node(NODE.into(), Some(gone)),
            ],
            "-192.0.2.1",
        ),
    ];
    for (events, expected) in moves {
        let effects = pair().handle_all(events.clone());
        assert_eq!(layer2(&effects), list(&[expected]), "{events:?}");
    }
    let effects = pair().handle(service("ours", &["192.0.2.7"]));
    assert!(
        layer2(&effects).unwrap().contains(&"-192.0.2.1".to_owned()),
        "{effects:?}"
    );
    let mut all = resources();
    all.l2_advertisements = vec![object(
        "l2",
        &json!({"nodeSelectors": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-b"]}
        ]}]}),
    )];
    for node in &mut all.nodes {
        let labels = [("kubernetes.io/hostname".to_owned(), node.metadata.name.clone().unwrap())];
        node.metadata.labels = Some(labels.into());
    }
    let effects = pair().handle(Event::Resources(Box::new(all.clone())));
    assert_eq!(
        layer2(&effects),
        list(&["~192.0.2.1"]),
        "the advertisement is for node-b now"
    );
    all.l2_advertisements.clear();
    let effects = pair().handle(Event::Resources(Box::new(all)));
    assert_eq!(layer2(&effects), list(&["-192.0.2.1"]));
}

fn claim(ip: &str, mac: Mac, claim: Claim) -> Event {
    Event::Conflict(Conflict {
        ip: address(ip),
        interface: "eth0".into(),
        mac,
        claim,
    })
}

fn told(effects: &[Effect], which: impl Fn(IpAddr) -> Effect, ip: &str) -> bool {
    effects.contains(&which(address(ip)))
}

// L2-77
#[test]
fn with_the_membership_parted_the_node_with_the_worse_place_is_silent_and_the_other_insists() {
    let mut engine = pair();
    let alone = engine.handle(Event::Members(names(&[NODE])));
    assert_eq!(layer2(&alone), list(&[THEIRS]));
    let peer = mac("node-b", "eth1");
    let effects = engine.handle(claim(OURS, peer, Claim::First));
    assert_eq!(effects, [Effect::Defend(address(OURS))]);
    let effects = engine.handle(claim(THEIRS, peer, Claim::First));
    assert!(told(&effects, Effect::Yield, THEIRS), "{effects:?}");
    assert_eq!(layer2(&effects), None, "to the data plane it is announced");
    let withdrawn = Effect::Announced(Arc::new(key("theirs")), Protocol::Layer2, vec![]);
    assert!(effects.contains(&withdrawn), "users are told that it is not");
    assert_eq!(statuses(&effects), [(Protocol::Layer2, None)]);
    assert_eq!(engine.handle(claim(THEIRS, peer, Claim::Confirmed)), [], "once");
    let effects = engine.handle(Event::ClaimsEnded(address(THEIRS)));
    assert!(told(&effects, Effect::Resume, THEIRS));
    assert_eq!(notes(&effects), [ANNOUNCING]);
    assert_eq!(engine.handle(Event::ClaimsEnded(address(THEIRS))), []);
}

#[test]
fn when_the_members_meet_again_the_usual_order_decides_what_was_yielded() {
    for (events, resumed) in [
        (vec![Event::Members(names(&[NODE, "node-b"]))], false),
        (
            vec![
                Event::Members(names(&[NODE, "node-b"])),
                Event::Suspects(names(&["node-b"])),
            ],
            true,
        ),
    ] {
        let mut engine = pair();
        engine.handle(Event::Members(names(&[NODE])));
        engine.handle(claim(THEIRS, mac("node-b", "eth1"), Claim::First));
        let effects = engine.handle_all(events);
        assert_eq!(told(&effects, Effect::Resume, THEIRS), resumed, "{effects:?}");
        let lost = layer2(&effects).is_some_and(|all| all == ["~192.0.2.2"]);
        assert_eq!(lost, !resumed, "{effects:?}");
        assert!(engine.yielded.is_empty());
    }
}

#[test]
fn a_yielded_address_that_is_lost_is_forgotten() {
    let mut engine = pair();
    engine.handle(Event::Members(names(&[NODE])));
    engine.handle(claim(THEIRS, mac("node-b", "eth1"), Claim::First));
    let effects = engine.handle(Event::Service(key("theirs"), None));
    assert_eq!(layer2(&effects), list(&["-192.0.2.2"]));
    assert!(engine.yielded.is_empty());
    assert_eq!(engine.handle(Event::ClaimsEnded(address(THEIRS))), []);
}

#[test]
fn a_member_that_announces_what_is_this_nodes_is_insisted_on_whatever_its_place() {
    let mut engine = pair();
    engine.handle(Event::Suspects(names(&["node-b"])));
    let peer = mac("node-b", "eth0");
    let first = engine.handle(claim(THEIRS, peer, Claim::First));
    assert_eq!(first, [], "it has been paused, and will hear of it");
    let effects = engine.handle(claim(THEIRS, peer, Claim::Repeated));
    assert_eq!(effects, [Effect::Defend(address(THEIRS))]);
}

// L2-77
#[test]
fn to_a_member_that_is_suspected_and_does_not_know_it_the_worse_node_yields_at_once() {
    for (ip, expected) in [
        (THEIRS, Effect::Yield(address(THEIRS))),
        (OURS, Effect::Defend(address(OURS))),
    ] {
        let mut engine = pair();
        let suspected = [Event::Suspects(names(&["node-b"])), Event::Unaware(names(&["node-b"]))];
        assert_eq!(layer2(&engine.handle_all(suspected)), list(&[THEIRS]));
        let effects = engine.handle(claim(ip, mac("node-b", "eth0"), Claim::First));
        assert!(effects.contains(&expected), "{effects:?}");
        let effects = engine.handle(Event::Unaware(names(&[])));
        assert_eq!(
            told(&effects, Effect::Resume, THEIRS),
            ip == THEIRS,
            "it knows, and gives way"
        );
        assert!(engine.yielded.is_empty());
    }
}

#[test]
fn a_hardware_address_may_be_of_the_node_that_says_so_and_of_one_that_does_not_say_all() {
    let mut engine = pair();
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    assert!(engine.may_be_of(mac("node-b", "eth1"), "node-b"));
    assert!(!engine.may_be_of(mac("node-b", "eth1"), "node-c"));
    assert!(!engine.may_be_of(stranger, "node-b"));
    assert!(engine.may_be_of(stranger, "node-c"), "nothing is known of it");
    let more = Member {
        more: true,
        ..member("node-b", &["eth0"])
    };
    engine.handle(said(&[(NODE, member(NODE, &["eth0"])), ("node-b", more)]));
    assert!(engine.may_be_of(stranger, "node-b"), "it has more than it could tell");
}

// L2-78
#[test]
fn a_claim_by_a_stranger_is_told_to_users_once_it_can_be_no_move() {
    let mut engine = pair();
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    assert_eq!(engine.handle(claim(OURS, stranger, Claim::First)), []);
    let effects = engine.handle(claim(OURS, stranger, Claim::Confirmed));
    assert_eq!(
        notes(&effects),
        ["another host, 02-09-09-09-09-09, claims 192.0.2.1 on interface eth0 of node \"node-a\""]
    );
}

#[test]
fn hardware_addresses_are_remembered_while_their_node_exists() {
    let mut engine = pair();
    let macs = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Speakers(macs) => Some(macs.len()),
            _ => None,
        })
    };
    engine.handle(Event::Node("node-b".into(), Some(NodeView::default())));
    let left = engine.handle_all([Event::Members(names(&[NODE])), said(&[(NODE, member(NODE, &["eth0"]))])]);
    assert_eq!(macs(&left), None, "node-b may still announce");
    engine.handle(Event::Node("node-b".into(), None));
    let forgotten = engine.handle(said(&[(NODE, member(NODE, &["eth0"]))]));
    assert_eq!(macs(&forgotten), Some(0));
}
