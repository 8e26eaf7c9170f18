//! FRR's bfdd as the router's side.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use metallb_dataplane::{
    bfd::{BfdHandle, Diagnostic, Guarded, SessionConfig, SessionKey, Sessions, State, guard},
    bgp::{self, Attributes, BgpHandle, MessageType, Path as Route, PeerConfig, RemoteAs, RouteChange},
};
use metallb_test_runner::{
    frr::{bgpd_log, command, has},
    skip,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    PATIENCE, agreed, bgp_settled, down, eventually, far, fast, freeze, key,
    neighbour::{Neighbour, in_namespace, run},
    session, sessions, set, signal, speaker, up,
};

pub(crate) struct Frr {
    neighbour: Neighbour,
    folder: TempDir,
    pid: u32,
}

impl Frr {
    /// Starts bfdd at 10.0.0.2 and fd00::2 with these peers; skips the test if FRR is not there.
    pub(crate) async fn start(peers: &[&str]) -> Self {
        if !has("bfdd") {
            skip("FRR is not installed");
        }
        let mut neighbour = Neighbour::new(
            &["10.0.0.1/24", "fd00::1/64", "fe80::1/64"],
            &["10.0.0.2/24", "fd00::2/64", "fe80::2/64"],
        );
        let folder = TempDir::new().unwrap();
        // Patient, as the machine may be busy.
        let rates = "  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 30\n  no shutdown\n";
        let peers: String = peers.iter().map(|peer| format!(" peer {peer}\n{rates}")).collect();
        let config = folder.path().join("bfdd.conf");
        std::fs::write(&config, format!("bfd\n{peers}")).unwrap();
        zebra(&mut neighbour, folder.path()).await;
        let command = command("bfdd", folder.path(), Some(&config));
        let pid = neighbour.start(&command[0], &command[1..]);
        Self { neighbour, folder, pid }
    }

    /// Starts bgpd, too, which makes the session with 10.0.0.1 itself; returns its process id.
    pub(crate) fn start_bgpd(&mut self) -> u32 {
        self.start_bgpd_with(&[
            " neighbor 10.0.0.1 remote-as 64500",
            " neighbor 10.0.0.1 passive",
            " neighbor 10.0.0.1 bfd",
        ])
    }

    pub(crate) fn start_bgpd_with(&mut self, neighbor: &[&str]) -> u32 {
        let config = self.folder.path().join("bgpd.conf");
        let lines = [
            "router bgp 64501",
            " no bgp ebgp-requires-policy",
            " bgp router-id 10.0.0.2",
            " bgp log-neighbor-changes",
        ];
        std::fs::write(&config, [&lines, neighbor].concat().join("\n")).unwrap();
        let command = command("bgpd", self.folder.path(), Some(&config));
        self.neighbour.start(&command[0], &command[1..])
    }

    pub(crate) fn vtysh(&self, commands: &[&str]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let commands = commands.iter().flat_map(|command| ["-c", *command]);
        let output = Command::new("vtysh")
            .args(["--vty_socket", folder])
            .args(commands)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until bgpd has received a NOTIFICATION of this name.
    pub(crate) async fn is_notified(&self, name: &str) {
        eventually(name, || {
            let log = bgpd_log(self.folder.path());
            log.contains(name).then_some(()).ok_or(log)
        })
        .await;
    }

    pub(crate) async fn shows(&self, command: &str, wanted: &[&str]) {
        let what = format!("{wanted:?} in {command}");
        eventually(&what, || {
            let answer = self.vtysh(&[command]);
            let complete = wanted.iter().all(|text| answer.contains(text));
            complete.then_some(()).ok_or(answer)
        })
        .await;
    }

    /// Configures its only session.
    fn configure(&self, peer: &str, lines: &[&str]) {
        let peer = format!("peer {peer}");
        self.vtysh(&[&["configure terminal", "bfd", &peer], lines].concat());
    }
}

/// Starts zebra, without which bfdd knows no interfaces.
async fn zebra(neighbour: &mut Neighbour, folder: &Path) {
    let command = command("zebra", folder, None);
    let zebra = neighbour.start(&command[0], &command[1..]);
    eventually("zebra", || match folder.join("zserv").exists() {
        true => Ok(()),
        // It insists on a group that an unprivileged user namespace does not have.
        false if neighbour.has_ended(zebra) => skip("FRR's zebra does not run here"),
        false => Err("not there"),
    })
    .await;
}

/// Changes that a profile may see while its session is up.
pub(crate) fn profiles() -> Vec<SessionConfig> {
    let profile = |transmit, receive, multiplier| SessionConfig {
        transmit_interval: Duration::from_millis(transmit),
        receive_interval: Duration::from_millis(receive),
        multiplier,
        ..SessionConfig::default()
    };
    vec![
        profile(1000, 100, 10),
        profile(100, 1000, 50),
        profile(300, 300, 20),
        profile(150, 100, 30),
        SessionConfig {
            passive: true,
            ..profile(200, 200, 20)
        },
        profile(1200, 1200, 5),
        profile(100, 100, 30),
    ]
}

/// Applies them one after the other, and waits until each is in force.
pub(crate) async fn change_profiles(handle: &BfdHandle, key: &SessionKey) {
    for profile in profiles() {
        set(handle, [key.clone()], &profile);
        agreed(handle, key, profile.transmit_interval).await;
    }
    let state = up(handle, key).await;
    assert_eq!((state.counters.ups(), state.counters.downs()), (1, 0));
}

// BGP-84, BGP-93
pub(crate) fn frr_is_up_over_one_hop_with_either_family() {
    in_namespace(async {
        let frr = Frr::start(&["10.0.0.1 local-address 10.0.0.2", "fd00::1 local-address fd00::2"]).await;
        let handle = speaker([key("10.0.0.2"), key("fd00::2")]);
        up(&handle, &key("10.0.0.2")).await;
        let six = up(&handle, &key("fd00::2")).await;
        assert_eq!((six.counters.ups(), six.counters.downs()), (1, 0));
        let text = [
            "Receive interval: 100ms",
            "Transmission interval: 100ms",
            "Detect-multiplier: 30",
            "Status: up",
        ];
        frr.shows("show bfd peer 10.0.0.1 local-address 10.0.0.2", &text).await;
    });
}

// BGP-86
pub(crate) fn frr_is_up_over_several_hops() {
    in_namespace(async {
        let frr = Frr::start(&["10.0.0.1 multihop local-address 10.0.0.2"]).await;
        let handle = speaker([far("10.0.0.2")]);
        up(&handle, &far("10.0.0.2")).await;
        frr.shows("show bfd peers", &["multihop", "Status: up"]).await;
    });
}

// BGP-93
pub(crate) fn frr_is_up_with_link_local_addresses() {
    in_namespace(async {
        let _frr = Frr::start(&["fe80::1 local-address fe80::2 interface peer0"]).await;
        let local = SessionKey {
            zone: Some("node0".to_owned()),
            local: Some("fe80::1".parse().unwrap()),
            ..key("fe80::2")
        };
        let handle = speaker([local.clone()]);
        up(&handle, &local).await;
    });
}

// BGP-88
pub(crate) fn frozen_frr_is_down_at_the_detection_time_and_comes_back() {
    in_namespace(async {
        let peer = "10.0.0.1 local-address 10.0.0.2";
        let frr = Frr::start(&[peer]).await;
        let handle = speaker([key("10.0.0.2")]);
        up(&handle, &key("10.0.0.2")).await;
        frr.configure(peer, &["detect-multiplier 3"]);
        let quick = Some(Duration::from_millis(300));
        session(&handle, &key("10.0.0.2"), |session| {
            session.status.detection_time == quick
        })
        .await;
        let state = freeze(&handle, &key("10.0.0.2"), frr.pid).await;
        assert!(state.status.has_failed());
        assert_eq!(state.status.diagnostic, Diagnostic::TimeExpired);
        up(&handle, &key("10.0.0.2")).await;
    });
}

// BGP-89, BGP-113
pub(crate) fn frr_takes_the_end_of_a_session_for_no_failure() {
    in_namespace(async {
        let frr = Frr::start(&["10.0.0.1 local-address 10.0.0.2"]).await;
        let handle = speaker([key("10.0.0.2")]);
        up(&handle, &key("10.0.0.2")).await;
        frr.shows("show bfd peers", &["Status: up"]).await;
        set(&handle, [], &fast());
        sessions(&handle, Sessions::is_empty).await;
        frr.shows(
            "show bfd peers",
            &["Status: down", "Remote diagnostics: administratively down"],
        )
        .await;
        set(&handle, [key("10.0.0.2")], &fast());
        up(&handle, &key("10.0.0.2")).await;
    });
}

// BGP-87
pub(crate) fn frr_keeps_the_session_while_our_profile_changes() {
    in_namespace(async {
        let frr = Frr::start(&["10.0.0.1 local-address 10.0.0.2"]).await;
        let handle = speaker([key("10.0.0.2")]);
        up(&handle, &key("10.0.0.2")).await;
        change_profiles(&handle, &key("10.0.0.2")).await;
        frr.shows("show bfd peers counters", &["Session down events: 0"]).await;
    });
}

// BGP-87
pub(crate) fn frr_may_change_its_own_profile() {
    in_namespace(async {
        let peer = "10.0.0.1 local-address 10.0.0.2";
        let frr = Frr::start(&[peer]).await;
        let handle = speaker([key("10.0.0.2")]);
        agreed(&handle, &key("10.0.0.2"), Duration::from_millis(100)).await;
        for (rate, multiplier) in [("1000", "10"), ("200", "20"), ("100", "30")] {
            let lines = [
                format!("receive-interval {rate}"),
                format!("transmit-interval {rate}"),
                format!("detect-multiplier {multiplier}"),
            ];
            frr.configure(peer, &lines.each_ref().map(String::as_str));
            frr.shows("show bfd peers", &[&format!("Receive interval: {rate}ms")])
                .await;
            let shown = format!("Detect-multiplier: {multiplier}");
            frr.shows("show bfd peers", &[&shown]).await;
            // Some packets at the new rate.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let state = up(&handle, &key("10.0.0.2")).await;
        assert_eq!(state.counters.downs(), 0);
        frr.shows("show bfd peers counters", &["Session down events: 0"]).await;
    });
}

// BGP-92
pub(crate) fn frr_returns_our_echoes_and_their_loss_is_noticed() {
    in_namespace(async {
        let frr = Frr::start(&["10.0.0.1 local-address 10.0.0.2"]).await;
        frr.neighbour.run("sysctl -q -w net.ipv4.ip_forward=0");
        let (handle, key) = (speaker([]), key("10.0.0.2"));
        let echoing = SessionConfig {
            echo_transmit: Some(Duration::from_millis(50)),
            ..fast()
        };
        set(&handle, [key.clone()], &echoing);
        let state = up(&handle, &key).await;
        eventually("echoes", || match state.counters.echo_output() {
            40.. => Ok(()),
            few => Err(few),
        })
        .await;
        assert_eq!(
            (state.counters.echo_input(), state.counters.downs()),
            (0, 0),
            "it does not route them"
        );
        frr.neighbour.run("sysctl -q -w net.ipv4.ip_forward=1");
        session(&handle, &key, |session| {
            session.status.echo_interval == Some(Duration::from_millis(50))
        })
        .await;
        frr.shows("show bfd peers", &["Receive interval: 1000ms"]).await;
        eventually("echoes", || match state.counters.echo_input() {
            40.. => Ok(()),
            few => Err(few),
        })
        .await;
        assert_eq!(state.counters.downs(), 0);
        frr.neighbour.run("sysctl -q -w net.ipv4.ip_forward=0");
        // Control packets go on, and may bring the session up again before anybody looks.
        session(&handle, &key, |session| session.failures > 0).await;
    });
}

// BGP-92
pub(crate) fn frr_gets_its_echoes_back() {
    in_namespace(async {
        run("sysctl -q -w net.ipv4.ip_forward=1");
        let peer = "10.0.0.1 local-address 10.0.0.2";
        let frr = Frr::start(&[peer]).await;
        // Its own echoes come to it with its own address.
        let accept = "net.ipv4.conf.peer0.accept_local=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.peer0.rp_filter=0";
        frr.neighbour.run(&format!("sysctl -q -w {accept}"));
        let (handle, key) = (speaker([]), key("10.0.0.2"));
        let returning = SessionConfig {
            echo_receive: Some(Duration::from_millis(50)),
            ..fast()
        };
        set(&handle, [key.clone()], &returning);
        up(&handle, &key).await;
        // Only now: whether FRR sends echoes if it is told before depends on which of its packets is first.
        frr.configure(peer, &["echo-mode"]);
        eventually("echoes of FRR", || {
            let answer = frr.vtysh(&["show bfd peers counters"]);
            let echoes = answer
                .lines()
                .find_map(|line| line.trim().strip_prefix("Echo packet input: "));
            let echoes = echoes.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
            if echoes > Some(40) { Ok(()) } else { Err(answer) }
        })
        .await;
        assert_eq!(up(&handle, &key).await.counters.downs(), 0);
    });
}

// BGP-92
pub(crate) fn frr_stops_its_echoes_when_we_stop_to_forward() {
    in_namespace(async {
        run("sysctl -q -w net.ipv4.ip_forward=1");
        let peer = "10.0.0.1 local-address 10.0.0.2";
        let frr = Frr::start(&[peer]).await;
        let accept = "net.ipv4.conf.peer0.accept_local=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.peer0.rp_filter=0";
        frr.neighbour.run(&format!("sysctl -q -w {accept}"));
        let (handle, key) = (speaker([]), key("10.0.0.2"));
        let returning = SessionConfig {
            echo_receive: Some(Duration::from_millis(50)),
            ..fast()
        };
        set(&handle, [key.clone()], &returning);
        up(&handle, &key).await;
        frr.configure(peer, &["echo-mode"]);
        let remote = |wanted: &str| {
            let answer = frr.vtysh(&["show bfd peers"]);
            let remote = answer.split("Remote timers:").nth(1).unwrap_or_default();
            let found = remote.contains(&format!("Echo receive interval: {wanted}"));
            if found { Ok(()) } else { Err(answer) }
        };
        eventually("a router that may send echoes", || remote("50ms")).await;
        run("sysctl -q -w net.ipv4.ip_forward=0");
        eventually("a router that may not", || remote("disabled")).await;
        // It may have missed some before it was told; after that it has nothing to miss.
        frr.shows("show bfd peers", &["Status: up"]).await;
        let state = up(&handle, &key).await;
        let (downs, heard) = (state.counters.downs(), state.counters.control_input());
        eventually("many packets", || match state.counters.control_input() - heard {
            50.. => Ok(()),
            few => Err(few),
        })
        .await;
        assert_eq!(state.counters.downs(), downs);
    });
}

// BGP-92
pub(crate) fn a_router_returns_our_echoes_over_ipv6() {
    in_namespace(async {
        let frr = Frr::start(&["fd00::1 local-address fd00::2"]).await;
        frr.neighbour.run("sysctl -q -w net.ipv6.conf.all.forwarding=1");
        let (handle, key) = (speaker([]), key("fd00::2"));
        let echoing = SessionConfig {
            echo_transmit: Some(Duration::from_millis(50)),
            ..fast()
        };
        set(&handle, [key.clone()], &echoing);
        let state = up(&handle, &key).await;
        eventually("echoes", || match state.counters.echo_input() {
            40.. => Ok(()),
            few => Err(few),
        })
        .await;
        assert_eq!(state.counters.downs(), 0);
    });
}

/// Steady, as pauses that double would leave a slow router no session within [`PATIENCE`].
const CONNECT_TIME: Option<Duration> = Some(Duration::from_secs(1));

/// Waits until the session with FRR satisfies a claim.
async fn bgp_until(bgp: &BgpHandle, claim: impl Fn(&bgp::SessionState) -> bool) -> bgp::SessionState {
    let mut sessions = bgp.sessions();
    let satisfied = sessions.wait_for(|sessions| sessions.get("frr").is_some_and(&claim));
    match tokio::time::timeout(PATIENCE, satisfied).await {
        Ok(sessions) => sessions.unwrap()["frr"].clone(),
        Err(_) => panic!("still waiting: {:?}", bgp.sessions().borrow()),
    }
}

/// Lets bfdd fall silent, and waits until BGP with FRR is down by a NOTIFICATION of ours. Its code is to be seen for a moment
/// only: the next attempt may fail at once.
async fn ends_by_us(bgp: &BgpHandle, silence: impl FnOnce()) {
    let sent = |sessions: &bgp::Sessions| sessions["frr"].counters.sent(MessageType::Notification);
    let sessions = bgp.sessions();
    let before = sent(&sessions.borrow());
    let begun = Instant::now();
    silence();
    bgp_until(bgp, |session| !session.up).await;
    println!("BGP is down {:?} after SIGSTOP of bfdd", begun.elapsed());
    eventually("our NOTIFICATION", || {
        let session = &sessions.borrow()["frr"];
        let more = session.counters.sent(MessageType::Notification) > before;
        more.then_some(()).ok_or_else(|| format!("{:?}", session.reason))
    })
    .await;
}

// BGP-88
pub(crate) fn bgp_with_frr_ends_when_its_bfd_is_silent_and_is_back_by_itself() {
    in_namespace(async {
        let mut frr = Frr::start(&[]).await;
        frr.start_bgpd();
        let (bgp, run) = metallb_dataplane::bgp::start(CancellationToken::new());
        tokio::spawn(run);
        bgp.routes_known();
        bgp.set_peers(vec![PeerConfig {
            connect_time: CONNECT_TIME,
            ..PeerConfig::new("frr", 64500, RemoteAs::Asn(64501), "10.0.0.2".parse().unwrap())
        }]);
        bgp.change_routes(vec![RouteChange {
            prefix: "192.0.2.1/32".parse().unwrap(),
            paths: vec![Route::to_all(Attributes::default())],
        }]);
        let (bfd, key) = (speaker([key("10.0.0.2")]), key("10.0.0.2"));
        let (_guarded, reader) = watch::channel(Guarded::from([("frr".to_owned(), key.clone())]));
        tokio::spawn(guard(bfd.clone(), bgp.clone(), reader));
        up(&bfd, &key).await;
        bgp_settled(&bgp).await;
        let routes = "show bgp ipv4 unicast";
        frr.shows(routes, &["192.0.2.1/32"]).await;
        ends_by_us(&bgp, || signal(frr.pid, "-STOP")).await;
        signal(frr.pid, "-CONT");
        session(&bfd, &key, |session| {
            session.failures > 0 && session.status.state == State::Up
        })
        .await;
        bgp_until(&bgp, |session| session.up).await;
        frr.shows(routes, &["192.0.2.1/32"]).await;
    });
}

// BGP-79, BGP-88, BGP-93
pub(crate) fn an_unnumbered_frr_is_watched_where_it_is_found() {
    in_namespace(async {
        let mut frr = Frr::start(&[]).await;
        frr.start_bgpd_with(&[
            " neighbor peer0 interface remote-as external",
            " neighbor peer0 bfd 30 100 100",
        ]);
        let (bgp, run) = metallb_dataplane::bgp::start(CancellationToken::new());
        tokio::spawn(run);
        bgp.set_peers(vec![PeerConfig {
            // FRR refuses us until it has heard our advertisement, and once more when BFD begins.
            connect_time: CONNECT_TIME,
            ..PeerConfig::unnumbered("frr", 64500, RemoteAs::External, "node0")
        }]);
        let router = bgp_until(&bgp, |session| session.found.is_some()).await.found;
        let key = SessionKey {
            zone: Some("node0".to_owned()),
            ..key(&router.unwrap().to_string())
        };
        let bfd = speaker([key.clone()]);
        let (_guarded, reader) = watch::channel(Guarded::from([("frr".to_owned(), key.clone())]));
        tokio::spawn(guard(bfd.clone(), bgp.clone(), reader));
        up(&bfd, &key).await;
        bgp_settled(&bgp).await;
        ends_by_us(&bgp, || signal(frr.pid, "-STOP")).await;
    });
}

// BGP-91
pub(crate) fn frr_that_is_shut_down_has_not_failed() {
    in_namespace(async {
        let peer = "10.0.0.1 local-address 10.0.0.2";
        let frr = Frr::start(&[peer]).await;
        let handle = speaker([key("10.0.0.2")]);
        up(&handle, &key("10.0.0.2")).await;
        frr.configure(peer, &["shutdown"]);
        let state = down(&handle, &key("10.0.0.2")).await;
        assert!(!state.status.has_failed(), "{:?}", state.status);
        frr.configure(peer, &["no shutdown"]);
        session(&handle, &key("10.0.0.2"), |session| session.status.state == State::Up).await;
        run("ip link set node0 down");
        assert!(down(&handle, &key("10.0.0.2")).await.status.has_failed());
    });
}
