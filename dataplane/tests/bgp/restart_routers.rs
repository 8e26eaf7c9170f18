//! What FRR, BIRD and GoBGP make of a speaker that restarts, leaves or is killed.

use std::{future::Future, time::Duration};

use metallb_dataplane::bgp::{BgpHandle, Farewell, PeerConfig, RouteChange};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    bird::{self, Bird, IPV4},
    eventually,
    frr::{self, Frr, NEIGHBOR, up},
    gobgp::{self, Gobgp},
    neighbour::in_namespace,
    restart::{comes_back, restarting},
    route, session,
};

/// How long the new speaker does not know its routes yet.
const IN_THE_DARK: Duration = Duration::from_secs(3);
/// How long things are watched in which nothing may happen.
const A_WHILE: Duration = Duration::from_secs(2);

/// A speaker that can be killed.
struct Speaker {
    handle: BgpHandle,
    work: JoinHandle<()>,
}

impl Speaker {
    /// Starts one that does not know its routes yet.
    fn start(peer: PeerConfig) -> Self {
        let (handle, run) = metallb_dataplane::bgp::start(CancellationToken::new());
        handle.set_peers(vec![peer]);
        let work = tokio::spawn(async move { drop(run.await) });
        Self { handle, work }
    }

    fn with_routes(peer: PeerConfig, routes: Vec<RouteChange>) -> Self {
        let speaker = Self::start(peer);
        speaker.learn(routes);
        speaker
    }

    fn learn(&self, routes: Vec<RouteChange>) {
        self.handle.change_routes(routes);
        self.handle.routes_known();
    }

    /// Leaves the connection to the kernel, as SIGKILL does.
    async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
    }
}

/// Looks again and again whether a claim holds, for as long as something else takes.
async fn throughout<T>(what: &str, claim: impl Fn() -> bool, period: impl Future<Output = T>) -> T {
    let mut period = std::pin::pin!(period);
    loop {
        assert!(claim(), "not any more: {what}");
        tokio::select! {
            done = &mut period => return done,
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
}

const TABLE: &str = "show bgp ipv4 unicast";

fn has(frr: &Frr, prefix: &str) -> bool {
    frr.vtysh(TABLE).contains(prefix)
}

/// Tells whether FRR keeps a route of a session that is gone.
fn is_stale(frr: &Frr, prefix: &str) -> bool {
    let table = frr.vtysh(TABLE);
    table
        .lines()
        .any(|line| line.trim_start().starts_with('S') && line.contains(prefix))
}

async fn becomes(what: &str, claim: impl Fn() -> bool) {
    eventually(what, || claim().then_some(()).ok_or("")).await;
}

fn routes() -> Vec<RouteChange> {
    vec![route("192.168.0.1/32"), route("192.168.0.2/32")]
}

// BGP-67
pub(crate) fn frr_keeps_the_routes_of_a_killed_speaker_until_it_is_back() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let first = Speaker::with_routes(restarting(frr::peer()), routes());
        up(&first.handle).await;
        frr.shows(TABLE, &["192.168.0.1/32", "192.168.0.2/32"]).await;
        assert!(!is_stale(&frr, "192.168.0.1/32"));
        let restart = async {
            first.kill().await;
            becomes("stale routes", || is_stale(&frr, "192.168.0.1/32")).await;
            let second = Speaker::start(restarting(frr::peer()));
            up(&second.handle).await;
            // Whoever said too early that this was all would lose the routes here.
            sleep(IN_THE_DARK).await;
            assert!(is_stale(&frr, "192.168.0.1/32"));
            // One of them is gone meanwhile.
            second.learn(
                routes()
                    .split_off(1)
                    .into_iter()
                    .chain([route("192.168.0.3/32")])
                    .collect(),
            );
            becomes("the end of the old table", || !has(&frr, "192.168.0.1/32")).await;
            second
        };
        let _second = throughout("the route that stays", || has(&frr, "192.168.0.2/32"), restart).await;
        frr.shows(TABLE, &["192.168.0.3/32"]).await;
        assert!(!is_stale(&frr, "192.168.0.2/32"));
    });
}

// BGP-67
pub(crate) fn frr_keeps_both_families_over_a_restart_and_forgets_what_is_gone() {
    in_namespace(async move {
        let lines = [NEIGHBOR, &["address-family ipv6 unicast", "neighbor 10.0.0.1 activate"]].concat();
        let frr = Frr::start(&lines).await;
        let dual = PeerConfig {
            dual_stack: true,
            ..restarting(frr::peer())
        };
        let both = || vec![route("192.168.0.2/32"), route("2001:db8::1/128")];
        let first = Speaker::with_routes(dual.clone(), both());
        up(&first.handle).await;
        const SIX: &str = "show bgp ipv6 unicast";
        frr.shows(TABLE, &["192.168.0.2/32"]).await;
        frr.shows(SIX, &["2001:db8::1/128"]).await;
        let restart = async {
            first.handle.leave(comes_back()).await;
            becomes("stale routes", || is_stale(&frr, "192.168.0.2/32")).await;
            let second = Speaker::start(dual);
            up(&second.handle).await;
            sleep(A_WHILE).await;
            second.learn(both());
            becomes("fresh routes", || !is_stale(&frr, "192.168.0.2/32")).await;
            sleep(A_WHILE).await;
            second
        };
        let there = || has(&frr, "192.168.0.2/32") && frr.vtysh(SIX).contains("2001:db8::1/128");
        let _second = throughout("both routes", there, restart).await;
        assert!(
            !frr.vtysh(SIX)
                .lines()
                .any(|line| line.trim_start().starts_with('S') && line.contains("2001:"))
        );
    });
}

// BGP-68
pub(crate) fn frr_without_graceful_restart_withdraws_when_the_connection_closes() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let first = Speaker::with_routes(frr::peer(), routes());
        up(&first.handle).await;
        frr.shows(TABLE, &["192.168.0.1/32"]).await;
        first.kill().await;
        becomes("an empty table", || !has(&frr, "192.168.0.1/32")).await;
    });
}

// BGP-69
pub(crate) fn frr_forgets_a_node_that_leaves_at_once() {
    in_namespace(async move {
        let frr = Frr::start(NEIGHBOR).await;
        let speaker = Speaker::with_routes(restarting(frr::peer()), routes());
        up(&speaker.handle).await;
        frr.shows(TABLE, &["192.168.0.1/32"]).await;
        let drain = Farewell {
            text: "node drain".to_owned(),
            ..Farewell::default()
        };
        speaker.handle.leave(drain).await;
        becomes("an empty table", || !has(&frr, "192.168.0.1/32")).await;
        frr.is_notified("Hard Reset").await;
    });
}

// BGP-67, BGP-70
pub(crate) fn frr_keeps_the_routes_when_the_peer_changes() {
    in_namespace(async move {
        let lines = [NEIGHBOR, &["bgp graceful-restart notification"]].concat();
        let frr = Frr::start(&lines).await;
        let speaker = Speaker::with_routes(restarting(frr::peer()), routes());
        up(&speaker.handle).await;
        frr.shows(TABLE, &["192.168.0.1/32"]).await;
        const NEIGHBORS: &str = "show bgp neighbors 10.0.0.1";
        frr.shows(NEIGHBORS, &["Remote GR Mode: Restart", "R bit: True", "N bit: True"])
            .await;
        let changes = async {
            speaker.handle.set_peers(vec![PeerConfig {
                router_id: Some("10.0.0.9".parse().unwrap()),
                ..restarting(frr::peer())
            }]);
            let anew = ["router ID 10.0.0.9", "BGP state = Established", "R bit: False"];
            frr.shows(NEIGHBORS, &anew).await;
            becomes("fresh routes", || !is_stale(&frr, "192.168.0.1/32")).await;
            sleep(A_WHILE).await;
        };
        throughout("the route", || has(&frr, "192.168.0.1/32"), changes).await;
    });
}

async fn bird_up(handle: &BgpHandle) {
    session(handle, "bird", |state| state.up).await;
}

const BIRDS_TABLE: &str = "show route protocol speaker";

// BGP-67
pub(crate) fn bird_keeps_the_routes_of_a_killed_speaker_until_it_is_back() {
    in_namespace(async move {
        let bird = Bird::start(&format!("{IPV4} graceful restart on;"));
        let first = Speaker::with_routes(restarting(bird::peer()), routes());
        bird_up(&first.handle).await;
        bird.shows(BIRDS_TABLE, &["192.168.0.1/32", "192.168.0.2/32"]).await;
        let restart = async {
            first.kill().await;
            bird.shows("show protocols all speaker", &["Neighbor graceful restart active"])
                .await;
            let second = Speaker::start(restarting(bird::peer()));
            bird_up(&second.handle).await;
            sleep(IN_THE_DARK).await;
            assert!(bird.birdc(BIRDS_TABLE).contains("192.168.0.1/32"), "stale, not absent");
            second.learn(routes().split_off(1));
            becomes("the end of the old table", || {
                !bird.birdc(BIRDS_TABLE).contains("192.168.0.1/32")
            })
            .await;
            second
        };
        let there = || bird.birdc(BIRDS_TABLE).contains("192.168.0.2/32");
        let _second = throughout("the route that stays", there, restart).await;
        assert!(
            !bird
                .birdc("show protocols all speaker")
                .contains("graceful restart active")
        );
    });
}

// BGP-68
pub(crate) fn bird_without_graceful_restart_withdraws_when_the_connection_closes() {
    in_namespace(async move {
        let bird = Bird::start(&format!("{IPV4} graceful restart on;"));
        let first = Speaker::with_routes(bird::peer(), routes());
        bird_up(&first.handle).await;
        bird.shows(BIRDS_TABLE, &["192.168.0.1/32"]).await;
        first.kill().await;
        becomes("an empty table", || !bird.birdc(BIRDS_TABLE).contains("192.168.0.1/32")).await;
    });
}

// BGP-67
pub(crate) fn gobgp3_keeps_the_routes_of_a_killed_speaker_until_it_is_back() {
    gobgp_keeps_the_routes(3);
}

// BGP-67
pub(crate) fn gobgp4_keeps_the_routes_of_a_killed_speaker_until_it_is_back() {
    gobgp_keeps_the_routes(4);
}

fn gobgp_keeps_the_routes(version: u8) {
    gobgp::programs(version);
    in_namespace(async move {
        let router = Gobgp::start(version, &gobgp::helping(&gobgp::neighbor("10.0.0.1", 64500, None)));
        let table = || router.ask("global rib -a ipv4");
        let has = |prefix: &str| table().contains(prefix);
        let is_stale = |prefix: &str| {
            table()
                .lines()
                .any(|line| line.starts_with('S') && line.contains(prefix))
        };
        let first = Speaker::with_routes(restarting(frr::peer()), routes());
        up(&first.handle).await;
        becomes("both routes", || has("192.168.0.1/32") && has("192.168.0.2/32")).await;
        let restart = async {
            first.kill().await;
            becomes("stale routes", || is_stale("192.168.0.1/32")).await;
            let second = Speaker::start(restarting(frr::peer()));
            up(&second.handle).await;
            sleep(IN_THE_DARK).await;
            assert!(is_stale("192.168.0.1/32"), "{}", table());
            second.learn(routes().split_off(1));
            becomes("the end of the old table", || !has("192.168.0.1/32")).await;
            second
        };
        let _second = throughout("the route that stays", || has("192.168.0.2/32"), restart).await;
        assert!(!is_stale("192.168.0.2/32"), "{}", table());
    });
}
