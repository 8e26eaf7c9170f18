//! Two FRRs: one runs what is rendered, the other one is a router and says what arrives.

use metallb_frr::{Desired, Extras, Neighbour, RemoteAs, Router, word::ProfileName};
use metallb_test_runner::in_namespace;

use crate::{
    cases::{self, large, patient, session, standard, with},
    daemons::{Frr, Space, run},
};

const FAST: &str = "bfd\n profile patient\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 50\n";

/// A router over there, at 10.0.0.2 and fd00::2, and an FRR here without a configuration.
fn pair(asn: u32, lines: &[&str]) -> (Frr, Frr, Space) {
    run("ip link set lo up");
    let space = Space::new();
    run("ip addr add 10.0.0.1/24 dev near && ip addr add fd00::1/64 dev near nodad");
    space.run("ip addr add 10.0.0.2/24 dev far && ip addr add fd00::2/64 dev far nodad");
    let (ours, theirs) = (Frr::start(None), Frr::start(Some(&space)));
    let lines: String = lines.iter().map(|line| format!(" {line}\n")).collect();
    theirs.apply(&format!(
        "{FAST}router bgp {asn}\n bgp router-id 10.0.0.2\n no bgp ebgp-requires-policy\n{lines}"
    ));
    (ours, theirs, space)
}

// FRR-3, FRR-12, FRR-18
pub(crate) fn routes_arrive_with_their_communities_and_preferences_and_bfd_is_up() {
    in_namespace(async {
        let lines = [
            "neighbor 10.0.0.1 remote-as 64500",
            "neighbor 10.0.0.1 bfd profile patient",
            "neighbor fd00::1 remote-as 64500",
            "address-family ipv6 unicast",
            "neighbor fd00::1 activate",
        ];
        // In our AS, so that it sees preferences.
        let (ours, theirs, _space) = pair(cases::OURS, &lines);
        let four = Neighbour {
            remote: RemoteAs::Internal,
            bfd_profile: Some(ProfileName::new("patient").unwrap()),
            ..cases::external("10.0.0.2")
        };
        let six = Neighbour {
            remote: RemoteAs::Asn(cases::OURS),
            ..cases::external("fd00::2")
        };
        let told = [
            (
                "198.51.100.10/32",
                with(250, &[standard(64500, 7), standard(65535, 65282), large()]),
            ),
            ("198.51.100.0/24", with(0, &[])),
            ("2001:db8::10/128", with(250, &[standard(64500, 7)])),
            ("2001:db8::/64", with(0, &[])),
        ];
        let desired = Desired {
            bfd_profiles: vec![patient()],
            ..cases::desired(vec![
                session(cases::router(), four, &told),
                session(cases::router(), six, &told),
            ])
        };
        ours.apply(desired.render().as_str());
        let coloured = [
            "64500:7 no-advertise",
            "Large Community: 64500:1:2",
            "10.0.0.1 from 10.0.0.1",
        ];
        theirs.shows("show bgp ipv4 unicast 198.51.100.10/32", &coloured);
        theirs.shows("show bgp ipv4 unicast", &["198.51.100.0/24"]);
        let preferred = ["localpref 250", "Community: 64500:7", "internal"];
        theirs.shows("show bgp ipv6 unicast 2001:db8::10/128", &preferred);
        theirs.shows("show bgp ipv6 unicast 2001:db8::/64", &["localpref 100"]);
        let plain = theirs.vtysh("show bgp ipv4 unicast 198.51.100.0/24");
        assert!(!plain.contains("Community"), "{plain}");
        for frr in [&ours, &theirs] {
            frr.shows("show bfd peers brief", &["up"]);
        }
    });
}

// FRR-9
pub(crate) fn routes_of_both_families_arrive_without_numbered_addresses() {
    in_namespace(async {
        let lines = [
            "neighbor far interface remote-as external",
            "address-family ipv6 unicast",
            "neighbor far activate",
        ];
        let (ours, theirs, _space) = pair(cases::THEIRS, &lines);
        run("ip addr del 10.0.0.1/24 dev near");
        // Without an IPv4 address there is none to choose.
        let router = Router {
            id: Some("192.0.2.9".parse().unwrap()),
            ..cases::router()
        };
        let told = [("198.51.100.10/32", with(0, &[])), ("2001:db8::10/128", with(0, &[]))];
        let desired = cases::desired(vec![session(router, cases::unnumbered("near"), &told)]);
        ours.apply(desired.render().as_str());
        theirs.shows("show bgp ipv4 unicast", &["198.51.100.10/32"]);
        theirs.shows("show bgp ipv6 unicast", &["2001:db8::10/128"]);
    });
}

// FRR-22
pub(crate) fn users_own_lines_let_routes_in() {
    in_namespace(async {
        let lines = [
            "no bgp network import-check",
            "neighbor 10.0.0.1 remote-as 64500",
            "address-family ipv4 unicast",
            "network 203.0.113.0/24",
            "network 203.0.114.0/24",
        ];
        let (ours, theirs, _space) = pair(cases::THEIRS, &lines);
        let plain = cases::desired(vec![session(cases::router(), cases::external("10.0.0.2"), &[])]);
        ours.apply(plain.render().as_str());
        theirs.shows("show bgp neighbors 10.0.0.1", &["Established"]);
        theirs.shows(
            "show bgp ipv4 unicast neighbors 10.0.0.1 advertised-routes",
            &["203.0.114.0/24"],
        );
        let accepted = ours.vtysh("show bgp ipv4 unicast");
        assert!(!accepted.contains("203.0.11"), "{accepted}");
        let lines = "ip prefix-list mine seq 5 permit 203.0.113.0/24\nroute-map 10.0.0.2-in permit 20\n match ip address prefix-list mine\n";
        let with_extras = Desired {
            extras: Extras::new(lines).unwrap(),
            ..plain
        };
        ours.apply(with_extras.render().as_str());
        ours.shows("show bgp ipv4 unicast", &["203.0.113.0/24"]);
        let accepted = ours.vtysh("show bgp ipv4 unicast");
        assert!(!accepted.contains("203.0.114.0"), "{accepted}");
    });
}
