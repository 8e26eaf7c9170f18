use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{
    Attributes, Community, Desired, Endpoint, Extras, Level, Neighbour, RemoteAs, Router, Session,
    word::{Device, Host, Password, ProfileName, Refusal},
};

fn router() -> Router {
    Router {
        asn: 64500,
        id: None,
        vrf: None,
    }
}

fn neighbour(address: &str) -> Neighbour {
    Neighbour::new(Endpoint::Address(address.parse().unwrap()), RemoteAs::Asn(64501))
}

fn session(address: &str, prefixes: &[&str]) -> Session {
    let mut session = Session::new(router(), neighbour(address));
    let routes = prefixes
        .iter()
        .map(|prefix| (prefix.parse().unwrap(), Attributes::default()));
    session.routes.extend(routes);
    session
}

fn rendered(sessions: Vec<Session>) -> String {
    let desired = Desired {
        sessions,
        ..Desired::default()
    };
    desired.render().as_str().to_owned()
}

fn differences(one: &str, other: &str) -> usize {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    lines(one).symmetric_difference(&lines(other)).count()
}

// FRR-25
#[test]
fn one_prefix_more_adds_two_lines_wherever_it_sorts() {
    let many: Vec<String> = (0..1000)
        .map(|n| format!("198.51.{}.{}/32", n / 256, n % 256))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let before = rendered(vec![session("192.0.2.1", &many)]);
    for prefix in ["1.0.0.1/32", "198.51.1.200/31", "9.0.0.0/8"] {
        let after = rendered(vec![session("192.0.2.1", &[&many[..], &[prefix]].concat())]);
        assert_eq!(differences(&before, &after), 2, "{prefix}");
    }
}

// FRR-20
#[test]
fn ten_services_of_one_community_share_a_list() {
    let mut session = session("192.0.2.1", &[]);
    let attributes = Attributes {
        local_pref: 0,
        communities: [Community::Standard(7)].into(),
    };
    for last in 1..=10 {
        session
            .routes
            .insert(format!("198.51.100.{last}/32").parse().unwrap(), attributes.clone());
    }
    let text = rendered(vec![session]);
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("prefix-list 192.0.2.1-0:7-ip-community-prefixes seq"), 10);
    assert_eq!(count("set community"), 1);
}

// FRR-12
#[test]
fn prefixes_of_a_family_that_is_not_carried_are_nowhere() {
    let text = rendered(vec![session("192.0.2.1", &["198.51.100.1/32", "2001:db8::1/128"])]);
    assert!(text.contains("198.51.100.1/32") && !text.contains("2001:db8::1"));
}

#[test]
fn what_two_announcements_of_a_prefix_say_is_told_together() {
    let attributes = |local_pref, community| Attributes {
        local_pref,
        communities: [Community::Standard(community)].into(),
    };
    let mut both = attributes(100, 7);
    both.merge(&attributes(200, 8));
    assert_eq!(both.local_pref, 200);
    assert_eq!(both.communities.len(), 2);
}

// FRR-23
#[test]
fn levels_are_upstreams() {
    for (flag, level) in [
        ("all", "debugging"),
        ("debug", "debugging"),
        ("info", "informational"),
        ("warn", "warnings"),
        ("error", "errors"),
        ("none", "emergencies"),
        ("loud", "informational"),
    ] {
        assert_eq!(Level::of_flag(flag).as_str(), level, "{flag}");
    }
    assert_eq!("error".parse(), Ok(Level::Errors));
    assert_eq!("debugging".parse(), Ok(Level::Debugging));
    for none in ["", "loud", "errors\nrouter bgp 1"] {
        assert!(none.parse::<Level>().is_err(), "{none}");
    }
}

// FRR-62, BGP-115
#[test]
fn control_characters_and_blanks_are_refused_in_every_word() {
    let refusals = |text: &str| {
        [
            Device::new("vrf", text).err(),
            Host::new(text).err(),
            ProfileName::new(text).err(),
            Password::new(text).err(),
        ]
    };
    for text in ["a\nb", "a\rb", "a\r\n", "\0", "a\tb", "a\u{7f}", "a\u{85}b"] {
        let control = |refusal: Option<Refusal>| matches!(refusal, Some(Refusal::Control(_)));
        assert!(refusals(text).into_iter().all(control), "{text:?}");
    }
    for text in ["a b", "\u{a0}", "a\u{2028}"] {
        let blank = |refusal: Option<Refusal>| matches!(refusal, Some(Refusal::Blank(_)));
        assert!(refusals(text).into_iter().all(blank), "{text:?}");
    }
    for text in [String::new(), "x".repeat(81)] {
        let length = |refusal: Option<Refusal>| matches!(refusal, Some(Refusal::Length { .. }));
        assert!(refusals(&text).into_iter().all(length), "{text:?}");
    }
    assert_eq!(refusals("red"), [None; 4]);
    assert!(Device::new("vrf", "192.0.2.1").is_err() && Device::new("vrf", "a/b").is_err());
    assert!(Host::new("-a").is_err() && Host::new("a!").is_err());
    assert!(Extras::new("a\0").is_err() && Extras::new("a\r\n\tb\n").is_ok());
}

#[test]
fn passwords_are_never_shown() {
    let password = Password::new("hunter2").unwrap();
    let mut session = session("192.0.2.1", &[]);
    session.neighbour.password = Some(password);
    let desired = Desired {
        sessions: vec![session],
        ..Desired::default()
    };
    assert!(desired.render().as_str().contains("password hunter2\n"));
    assert!(!format!("{desired:?} {:?}", desired.render()).contains("hunter2"));
    assert!(!Password::new("hunter2 ").unwrap_err().to_string().contains("hunter2"));
}

fn any_session() -> impl Strategy<Value = Session> {
    let prefix = (any::<u8>(), 24_u8..=32).prop_map(|(last, length)| format!("198.51.100.{last}/{length}"));
    let attributes = (
        0_u32..3,
        prop::collection::btree_set((0_u32..4).prop_map(Community::Standard), 0..3),
    );
    let routes = prop::collection::vec((prefix, attributes), 0..8);
    (0_u8..5, prop::option::of("[a-z]{1,15}"), routes).prop_map(|(last, vrf, routes)| {
        let mut session = session(&format!("192.0.2.{last}"), &[]);
        session.router.vrf = vrf.map(|name| Device::new("vrf", &name).unwrap());
        session
            .routes
            .extend(routes.into_iter().map(|(prefix, (local_pref, communities))| {
                let attributes = Attributes {
                    local_pref,
                    communities,
                };
                (prefix.parse().unwrap(), attributes)
            }));
        session
    })
}

proptest! {
    // FRR-21
    #[test]
    fn order_of_what_is_desired_does_not_matter(
        (one, other) in prop::collection::vec(any_session(), 0..6)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(rendered(one), rendered(other));
    }

    // FRR-62
    #[test]
    fn no_word_adds_a_line_or_an_argument(text in "\\PC*|.*") {
        let plain = rendered(vec![session("192.0.2.1", &[])]);
        if let Ok(password) = Password::new(&text) {
            let mut session = session("192.0.2.1", &[]);
            session.neighbour.password = Some(password);
            let lines = rendered(vec![session]).lines().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(lines.len(), plain.lines().count() + 1);
            let line = lines.iter().find(|line| line.contains(" password ")).unwrap();
            prop_assert_eq!(line.split_whitespace().count(), 4);
        }
    }
}

fn community(value: u32) -> Attributes {
    Attributes {
        local_pref: 0,
        communities: [Community::Standard(value)].into(),
    }
}

#[test]
fn first_route_enters_its_lists_before_it_is_announced_and_the_last_one_leaves_them_afterwards() {
    let none = rendered(vec![session("192.0.2.1", &[])]);
    let one = rendered(vec![session("192.0.2.1", &["198.51.100.1/32"])]);
    let there = crate::shortcut(&none, &one).unwrap();
    let list = "ip prefix-list 192.0.2.1-allowed-ipv4 seq";
    let (permit, deny) = (
        format!("{list} 912965224 permit 198.51.100.1/32"),
        format!("{list} 1 deny any"),
    );
    let network = |command: &str| {
        let lines = [
            "router bgp 64500",
            "  address-family ipv4 unicast",
            command,
            "  exit-address-family",
            "exit",
        ];
        lines.map(str::to_owned)
    };
    let wanted = [
        &[permit.clone(), format!("no {deny}")][..],
        &network("    network 198.51.100.1/32"),
    ]
    .concat();
    assert_eq!(there, wanted);
    let back = crate::shortcut(&one, &none).unwrap();
    let wanted = [
        &network("    no network 198.51.100.1/32")[..],
        &[deny, format!("no {permit}")],
    ]
    .concat();
    assert_eq!(back, wanted);
    assert_eq!(crate::shortcut(&one, &one), Some(vec![]));
}

#[test]
fn what_is_new_is_added_below_what_it_belongs_to() {
    let plain = session("192.0.2.1", &["198.51.100.1/32"]);
    let mut other = session("2001:db8::1", &[]);
    other.neighbour.graceful_restart = true;
    let both = rendered(vec![plain.clone(), other]);
    let commands = crate::shortcut(&rendered(vec![plain]), &both).unwrap();
    let block = |first: &str, last: &str| {
        let start = commands.iter().position(|line| line == first).unwrap();
        let end = commands[start..].iter().position(|line| line == last).unwrap();
        commands[start..start + end].to_vec()
    };
    let session = [
        "  neighbor 2001:db8::1 remote-as 64501",
        "  neighbor 2001:db8::1 graceful-restart",
    ];
    let router = block("router bgp 64500", "exit");
    assert!(
        session.iter().all(|line| router.contains(&(*line).to_owned())),
        "{commands:#?}"
    );
    let family = block("  address-family ipv6 unicast", "  exit-address-family");
    assert_eq!(family[1], "    neighbor 2001:db8::1 activate");
    assert_eq!(block("route-map 2001:db8::1-out permit 1", "exit").len(), 2);
    assert!(!commands.iter().any(|line| line.contains("192.0.2.1")), "{commands:#?}");
}

#[test]
fn what_has_to_go_and_what_a_user_wrote_needs_a_reload() {
    let plain = session("192.0.2.1", &["198.51.100.1/32"]);
    let both = rendered(vec![plain.clone(), session("192.0.2.2", &[])]);
    let mut coloured = plain.clone();
    coloured.routes.insert("198.51.100.2/32".parse().unwrap(), community(7));
    let plain = rendered(vec![plain]);
    assert_eq!(crate::shortcut(&both, &plain), None);
    // The numbers of the entries that follow change.
    assert_eq!(crate::shortcut(&plain, &rendered(vec![coloured])), None);
    let with_extras = format!("{plain}vrf red\n  vni 5\n");
    assert_eq!(crate::shortcut(&plain, &with_extras), None);
}

#[test]
fn a_whole_file_is_new_to_an_frr_that_runs_nothing() {
    let text = rendered(vec![session("192.0.2.1", &["198.51.100.1/32"])]);
    let commands: BTreeSet<String> = crate::shortcut("", &text).unwrap().into_iter().collect();
    assert!(text.lines().all(|line| commands.contains(line)), "{commands:#?}");
}

#[test]
fn another_entry_with_the_number_takes_the_place() {
    let before = "ip prefix-list a seq 5 permit 192.0.2.0/24\n";
    let after = "ip prefix-list a seq 5 permit 192.0.2.0/25\n";
    assert_eq!(crate::shortcut(before, after), Some(vec![after.trim().to_owned()]));
}
