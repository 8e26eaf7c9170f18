//! FRR as the router: what it sees of us, and what we make of its answers.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use metallb_bgp::{LargeCommunity, Offer, RemoteAs};
use metallb_dataplane::bgp::{Attributes, BgpHandle, MessageType, Password, PeerConfig};
use metallb_test_runner::{
    frr::{bgpd_log, command, has},
    skip,
};
use tempfile::TempDir;

use crate::{
    eventually, gone, host_routes,
    neighbour::{Neighbour, in_namespace, run},
    route, route_with, session, speaker,
};

pub(crate) struct Frr {
    pub(crate) neighbour: Neighbour,
    folder: TempDir,
    pid: u32,
    /// Whether it knows the interfaces.
    pub(crate) zebra: bool,
}

impl Frr {
    /// Starts a router at 10.0.0.2 and fd00::2 with these lines under `router bgp`; skips the test if FRR is not there.
    pub(crate) async fn start(lines: &[&str]) -> Self {
        Self::start_at(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.2/24", "fd00::2/64"], lines).await
    }

    /// As [`Self::start`], with these addresses at our end and at the router's.
    pub(crate) async fn start_at(ours: &[&str], theirs: &[&str], lines: &[&str]) -> Self {
        if !has("bgpd") {
            skip("FRR is not installed");
        }
        let mut neighbour = Neighbour::new(ours, theirs);
        let folder = TempDir::new().unwrap();
        let fixed = [
            "no bgp ebgp-requires-policy",
            "bgp router-id 10.0.0.2",
            "bgp log-neighbor-changes",
        ];
        let lines: String = fixed.iter().chain(lines).map(|line| format!(" {line}\n")).collect();
        let config = folder.path().join("bgpd.conf");
        std::fs::write(&config, format!("router bgp 64501\n{lines}")).unwrap();
        let zebra = zebra(&mut neighbour, folder.path()).await;
        let mut command = command("bgpd", folder.path(), Some(&config));
        if !zebra {
            // Without zebra bgpd knows no interfaces and refuses next hops that depend on one.
            run("ip link set node0 addrgenmode none && ip -6 addr flush dev node0 scope link");
            command.push("-Z".to_owned());
        }
        let pid = neighbour.start(&command[0], &command[1..]);
        Self {
            neighbour,
            folder,
            pid,
            zebra,
        }
    }

    pub(crate) fn vtysh(&self, command: &str) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let output = Command::new("vtysh")
            .args(["--vty_socket", folder, "-c", command])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Changes its configuration.
    pub(crate) fn configure(&self, lines: &[&str]) {
        let folder = self.folder.path().to_str().unwrap();
        let lines = [&["configure terminal"], lines].concat();
        let commands = lines.iter().flat_map(|line| ["-c", *line]);
        let mut vtysh = Command::new("vtysh");
        let output = vtysh.args(["--vty_socket", folder]).args(commands).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    pub(crate) async fn shows(&self, command: &str, wanted: &[&str]) {
        let what = format!("{wanted:?} in {command}");
        eventually(&what, || {
            let answer = self.vtysh(command);
            let complete = wanted.iter().all(|text| answer.contains(text));
            complete.then_some(()).ok_or(answer)
        })
        .await;
    }

    /// Waits until it has received a NOTIFICATION of this name.
    pub(crate) async fn is_notified(&self, name: &str) {
        eventually(name, || {
            let log = bgpd_log(self.folder.path());
            log.contains(name).then_some(()).ok_or(log)
        })
        .await;
    }

    /// Sends a signal to the daemon.
    fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Tries to start zebra, which insists on a group that an unprivileged user namespace does not have.
async fn zebra(neighbour: &mut Neighbour, folder: &Path) -> bool {
    let command = command("zebra", folder, None);
    let zebra = neighbour.start(&command[0], &command[1..]);
    eventually("zebra, or its end", || match folder.join("zserv").exists() {
        true => Ok(true),
        false if neighbour.has_ended(zebra) => Ok(false),
        false => Err("neither"),
    })
    .await
}

pub(crate) fn peer() -> PeerConfig {
    PeerConfig::new("frr", 64500, RemoteAs::Asn(64501), "10.0.0.2".parse().unwrap())
}

pub(crate) const NEIGHBOR: &[&str] = &["neighbor 10.0.0.1 remote-as 64500", "neighbor 10.0.0.1 passive"];

fn with<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    [NEIGHBOR, lines].concat()
}

pub(crate) async fn up(handle: &BgpHandle) {
    session(handle, "frr", |state| state.up).await;
}

// BGP-57, BGP-23, BGP-64
pub(crate) fn frr_learns_routes_with_their_communities_and_loses_them() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let large = LargeCommunity {
            global: 64500,
            data1: 1,
            data2: 2,
        };
        let colours = Attributes {
            communities: [64500 << 16 | 7, 0xffff_ff02].into(),
            large_communities: [large].into(),
            ..Attributes::default()
        };
        let coloured = route_with("192.168.0.1/32", colours);
        let handle = speaker(peer(), vec![coloured, route("192.168.7.0/24")]);
        up(&handle).await;
        let details = ["64500:7 no-advertise", "64500:1:2", "64500", "10.0.0.1"];
        frr.shows("show bgp ipv4 unicast 192.168.0.1/32", &details).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.7.0/24"]).await;
        handle.change_routes(gone(vec![route("192.168.0.1/32")]));
        eventually("the withdrawal", || {
            let table = frr.vtysh("show bgp ipv4 unicast");
            let left = table.contains("192.168.7.0/24") && !table.contains("192.168.0.1");
            left.then_some(()).ok_or(table)
        })
        .await;
        handle.shutdown().await;
        // BGP-32
        frr.is_notified("Administrative Shutdown").await;
    });
}

// BGP-46
pub(crate) fn frr_in_our_as_sees_the_local_preference() {
    in_namespace(async move {
        let lines = ["neighbor 10.0.0.1 remote-as 64501", "neighbor 10.0.0.1 passive"];
        let frr = Frr::start(&lines).await;
        let preference = Attributes {
            local_pref: 250,
            ..Attributes::default()
        };
        let preferred = route_with("192.168.0.1/32", preference);
        let inside = PeerConfig {
            my_asn: 64501,
            remote: RemoteAs::Internal,
            ..peer()
        };
        let handle = speaker(inside, vec![preferred, route("192.168.0.2/32")]);
        up(&handle).await;
        frr.shows("show bgp ipv4 unicast 192.168.0.1/32", &["localpref 250", "Local"])
            .await;
        frr.shows("show bgp ipv4 unicast 192.168.0.2/32", &["localpref 0"])
            .await;
    });
}

// BGP-57, BGP-61, BGP-62
pub(crate) fn frr_learns_ipv6_routes_over_either_family() {
    in_namespace(async move {
        let lines = [
            "neighbor fd00::1 remote-as 64500",
            "neighbor fd00::1 passive",
            "address-family ipv6 unicast",
            "neighbor 10.0.0.1 activate",
            "neighbor fd00::1 activate",
        ];
        let frr = Frr::start(&with(&lines)).await;
        let routes = vec![route("192.168.0.1/32"), route("2001:db8::1/128")];
        let six = PeerConfig {
            name: "six".to_owned(),
            address: "fd00::2".parse().unwrap(),
            ..peer()
        };
        let handle = speaker(six.clone(), routes);
        session(&handle, "six", |state| state.up).await;
        frr.shows("show bgp ipv6 unicast 2001:db8::1/128", &["fd00::1 from fd00::1"])
            .await;
        assert!(!frr.vtysh("show bgp ipv4 unicast").contains("192.168.0.1"));

        let dual = PeerConfig {
            dual_stack: true,
            ..peer()
        };
        handle.set_peers(vec![dual]);
        up(&handle).await;
        frr.shows("show bgp ipv6 unicast 2001:db8::1/128", &["fd00::1 from 10.0.0.1"])
            .await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
    });
}

// BGP-50
pub(crate) fn frozen_frr_is_down_at_the_hold_time() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let handle = speaker(
            PeerConfig {
                hold_time: Some(Duration::from_secs(3)),
                ..peer()
            },
            vec![],
        );
        up(&handle).await;
        frr.signal("-STOP");
        let state = session(&handle, "frr", |state| !state.up).await;
        assert!(state.reason.unwrap().contains("4/0"));
        assert_eq!(state.counters.sent(MessageType::Notification), 1);
        frr.signal("-CONT");
        up(&handle).await;
    });
}

// BGP-52
pub(crate) fn frr_that_expects_another_as_is_not_stormed() {
    in_namespace(async move {
        let lines = ["neighbor 10.0.0.1 remote-as 64999", "neighbor 10.0.0.1 passive"];
        let _frr = Frr::start(&lines).await;
        let handle = speaker(peer(), vec![]);
        let refused = |reason: &String| reason.contains("2/2");
        let began = Instant::now();
        let state = session(&handle, "frr", |state| state.reason.as_ref().is_some_and(refused)).await;
        let attempts = || state.counters.sent(MessageType::Open);
        eventually("a second attempt", || (attempts() >= 2).then_some(()).ok_or("one")).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let attempts = attempts();
        let seconds = began.elapsed().as_secs();
        assert!(attempts <= seconds + 2, "{attempts} attempts in {seconds} seconds");
    });
}

// BGP-73
pub(crate) fn frr_with_a_password_wants_the_same_one() {
    in_namespace(async move {
        let _frr = Frr::start(&with(&["neighbor 10.0.0.1 password secret"])).await;
        let with_key = |key: &str| PeerConfig {
            password: Some(Password::new(key)),
            ..peer()
        };
        let handle = speaker(with_key("wrong"), vec![]);
        let state = session(&handle, "frr", |state| state.reason.is_some()).await;
        assert!(!state.up);
        handle.set_peers(vec![with_key("secret")]);
        up(&handle).await;
    });
}

// BGP-66
pub(crate) fn frr_may_ask_for_everything_again() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let offer = Offer {
            route_refresh: true,
            ..Offer::default()
        };
        let handle = speaker(PeerConfig { offer, ..peer() }, vec![route("192.168.0.1/32")]);
        up(&handle).await;
        frr.shows("show bgp ipv4 unicast", &["192.168.0.1/32"]).await;
        frr.vtysh("clear bgp ipv4 unicast 10.0.0.1 soft in");
        let updates = || handle.sessions().borrow()["frr"].counters.sent(MessageType::Update);
        eventually("the table a second time", || {
            (updates() >= 2).then_some(()).ok_or("one UPDATE")
        })
        .await;
    });
}

// BGP-58
pub(crate) fn frr_takes_fifteen_hundred_prefixes_in_two_updates_each_way() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let handle = speaker(peer(), host_routes(1500));
        up(&handle).await;
        frr.shows(
            "show bgp ipv4 unicast statistics",
            &["Total Prefixes                :         1500"],
        )
        .await;
        let sent = |handle: &BgpHandle| handle.sessions().borrow()["frr"].counters.sent(MessageType::Update);
        assert_eq!(sent(&handle), 2);
        handle.change_routes(gone(host_routes(1500)));
        frr.shows("show bgp ipv4 unicast", &["No BGP prefixes displayed"]).await;
        assert_eq!(sent(&handle), 4);
        assert!(handle.sessions().borrow()["frr"].up);
    });
}
