//! One desire for each feature.

use std::time::Duration;

use metallb_frr::{
    Attributes, BfdProfile, Community, Desired, Endpoint, Extras, Level, Neighbour, RemoteAs, Router, Session, Timers,
    word::{Device, Host, Password, ProfileName},
};

pub(crate) const OURS: u32 = 64500;
pub(crate) const THEIRS: u32 = 64501;

pub(crate) fn router() -> Router {
    Router {
        asn: OURS,
        id: None,
        vrf: None,
    }
}

pub(crate) fn device(name: &str) -> Device {
    Device::new("vrf", name).unwrap()
}

fn in_vrf(name: &str) -> Router {
    Router {
        vrf: Some(device(name)),
        ..router()
    }
}

/// A neighbour in another autonomous system.
pub(crate) fn external(address: &str) -> Neighbour {
    Neighbour::new(Endpoint::Address(address.parse().unwrap()), RemoteAs::Asn(THEIRS))
}

pub(crate) fn unnumbered(name: &str) -> Neighbour {
    Neighbour::new(Endpoint::Interface(device(name)), RemoteAs::External)
}

pub(crate) fn profile(name: &str) -> BfdProfile {
    BfdProfile::new(ProfileName::new(name).unwrap())
}

/// A profile that copes with a busy machine.
pub(crate) fn patient() -> BfdProfile {
    BfdProfile {
        receive_interval: Some(Duration::from_millis(100)),
        transmit_interval: Some(Duration::from_millis(100)),
        detect_multiplier: Some(50),
        ..profile("patient")
    }
}

pub(crate) fn standard(high: u32, low: u32) -> Community {
    Community::Standard(high << 16 | low)
}

pub(crate) fn large() -> Community {
    Community::Large {
        global: OURS,
        data1: 1,
        data2: 2,
    }
}

pub(crate) fn with(local_pref: u32, communities: &[Community]) -> Attributes {
    Attributes {
        local_pref,
        communities: communities.iter().copied().collect(),
    }
}

pub(crate) fn session(router: Router, neighbour: Neighbour, routes: &[(&str, Attributes)]) -> Session {
    let routes = routes
        .iter()
        .map(|(prefix, attributes)| (prefix.parse().unwrap(), attributes.clone()));
    Session {
        routes: routes.collect(),
        ..Session::new(router, neighbour)
    }
}

pub(crate) fn desired(sessions: Vec<Session>) -> Desired {
    Desired {
        hostname: Some(Host::new("node-a").unwrap()),
        sessions,
        ..Desired::default()
    }
}

/// One session that tells both families, plain.
fn one(neighbour: Neighbour) -> Desired {
    let routes = [("198.51.100.10/32", with(0, &[])), ("2001:db8::10/128", with(0, &[]))];
    desired(vec![session(router(), neighbour, &routes)])
}

fn worked_example() -> Desired {
    let tor = Neighbour {
        timers: Some(Timers {
            keepalive: 30,
            hold: 90,
        }),
        connect: Some(10),
        password: Some(Password::new("s3cret").unwrap()),
        source: Some("192.0.2.9".parse().unwrap()),
        bfd_profile: Some(ProfileName::new("fast").unwrap()),
        ..external("192.0.2.1")
    };
    let id = Router {
        id: Some("192.0.2.9".parse().unwrap()),
        ..router()
    };
    let told = [
        ("198.51.100.0/24", with(0, &[large()])),
        ("198.51.100.10/32", with(100, &[standard(65535, 65282)])),
    ];
    let sessions = vec![session(id.clone(), unnumbered("eth1"), &told), session(id, tor, &told)];
    let fast = BfdProfile {
        detect_multiplier: Some(5),
        ..BfdProfile {
            name: ProfileName::new("fast").unwrap(),
            ..patient()
        }
    };
    Desired {
        bfd_profiles: vec![fast],
        ..desired(sessions)
    }
}

fn every_bfd_field() -> Desired {
    let slow = BfdProfile {
        receive_interval: Some(Duration::from_millis(60)),
        transmit_interval: Some(Duration::from_millis(70)),
        detect_multiplier: Some(5),
        echo_interval: Some(Duration::from_millis(90)),
        echo_mode: true,
        passive_mode: true,
        minimum_ttl: Some(250),
        ..profile("slow")
    };
    // What FRR does anyhow it does not show.
    let explicit = BfdProfile {
        receive_interval: Some(Duration::from_millis(300)),
        transmit_interval: Some(Duration::from_millis(300)),
        detect_multiplier: Some(3),
        echo_interval: Some(Duration::from_millis(50)),
        minimum_ttl: Some(254),
        ..profile("explicit")
    };
    Desired {
        bfd_profiles: vec![slow, profile("empty"), explicit],
        ..desired(vec![])
    }
}

fn many_lists() -> Desired {
    let internal = Neighbour {
        dual_stack: true,
        remote: RemoteAs::Internal,
        ..external("192.0.2.1")
    };
    let both = [standard(64500, 7), standard(65535, 65281), large()];
    let told = [
        ("198.51.100.1/32", with(100, &both)),
        ("198.51.100.2/32", with(20, &both[..1])),
        ("198.51.100.10/32", with(100, &[])),
        ("198.51.100.0/24", with(0, &both[1..])),
        ("2001:db8::1/128", with(100, &both)),
        ("2001:db8::/64", with(0, &[standard(0, 0)])),
    ];
    desired(vec![session(router(), internal, &told)])
}

fn several_routers() -> Desired {
    let route = |last: u8| [(format!("198.51.100.{last}/32"), with(0, &[]))];
    let told = |router: Router, neighbour: Neighbour, last: u8| {
        let routes = route(last);
        let routes: Vec<_> = routes.iter().map(|(prefix, a)| (prefix.as_str(), a.clone())).collect();
        session(router, neighbour, &routes)
    };
    let again = Neighbour {
        port: 1790,
        ..external("192.0.2.1")
    };
    let sessions = vec![
        told(in_vrf("red"), external("192.0.2.1"), 1),
        told(router(), external("192.0.2.2"), 2),
        told(in_vrf("blue"), external("192.0.2.1"), 3),
        told(router(), external("192.0.2.1"), 4),
        // The same neighbour: its parameters are not used, its routes are.
        told(router(), again, 5),
    ];
    desired(sessions)
}

/// All of them, by the names of their files.
pub(crate) fn all() -> Vec<(&'static str, Desired)> {
    let six = || external("2001:db8:1::1");
    let debugging = Desired {
        level: Level::Debugging,
        ..desired(vec![])
    };
    let extras = "ip prefix-list mine seq 5 permit 203.0.113.0/24\nroute-map 192.0.2.1-in permit 20\n  match ip address prefix-list mine";
    let with_extras = Desired {
        extras: Extras::new(extras).unwrap(),
        ..one(external("192.0.2.1"))
    };
    let same = RemoteAs::Asn(OURS);
    vec![
        ("bfd-profiles", every_bfd_field()),
        ("debugging", debugging),
        (
            "dual-stack",
            one(Neighbour {
                dual_stack: true,
                ..six()
            }),
        ),
        (
            "dynamic-external",
            one(Neighbour {
                remote: RemoteAs::External,
                ..six()
            }),
        ),
        (
            "dynamic-internal",
            one(Neighbour {
                remote: RemoteAs::Internal,
                ..external("192.0.2.1")
            }),
        ),
        ("extras", with_extras),
        (
            "graceful-restart",
            one(Neighbour {
                graceful_restart: true,
                ..external("192.0.2.1")
            }),
        ),
        ("ipv6-external", one(six())),
        ("ipv6-internal", one(Neighbour { remote: same, ..six() })),
        (
            "ipv6-multihop",
            one(Neighbour {
                ebgp_multihop: true,
                ..six()
            }),
        ),
        ("lists", many_lists()),
        (
            "local-asn",
            one(Neighbour {
                local_asn: Some(64999),
                ..external("192.0.2.1")
            }),
        ),
        (
            "multihop",
            one(Neighbour {
                ebgp_multihop: true,
                port: 1790,
                ..external("192.0.2.1")
            }),
        ),
        (
            "no-routes",
            desired(vec![session(router(), external("192.0.2.1"), &[])]),
        ),
        ("no-sessions", desired(vec![])),
        (
            "no-timers",
            one(Neighbour {
                timers: Some(Timers { keepalive: 0, hold: 0 }),
                ..external("192.0.2.1")
            }),
        ),
        ("several-routers", several_routers()),
        ("unnumbered", one(unnumbered("eth1"))),
        (
            "usual-timers",
            one(Neighbour {
                timers: Some(Timers {
                    keepalive: 60,
                    hold: 180,
                }),
                connect: Some(120),
                ..external("192.0.2.1")
            }),
        ),
        ("worked-example", worked_example()),
    ]
}
