//! BFD beside graceful restart: what FRR makes of both.

use std::time::Duration;

use metallb_dataplane::{
    bfd::{BfdHandle, Guarded, guard},
    bgp::{Attributes, BgpHandle, Farewell, GracefulRestart, Path, PeerConfig, RemoteAs, RouteChange, StopReason},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{bgp_settled, eventually, fast, frr::Frr, key, neighbour::in_namespace, set, shell, up};

/// BGP with a route that FRR keeps over a restart.
async fn announcing(frr: &Frr) -> BgpHandle {
    let (bgp, run) = metallb_dataplane::bgp::start(CancellationToken::new());
    tokio::spawn(run);
    bgp.change_routes(vec![RouteChange {
        prefix: "192.168.0.1/32".parse().unwrap(),
        paths: vec![Path::to_all(Attributes::default())],
    }]);
    bgp.routes_known();
    bgp.set_peers(vec![PeerConfig {
        graceful_restart: Some(GracefulRestart::default()),
        ..PeerConfig::new("frr", 64500, RemoteAs::Asn(64501), "10.0.0.2".parse().unwrap())
    }]);
    frr.shows(TABLE, &["192.168.0.1/32"]).await;
    bgp
}

/// BFD that guards it, up on both sides.
async fn guarding(frr: &Frr, bgp: &BgpHandle) -> (BfdHandle, CancellationToken) {
    let (bfd, stop) = shell();
    set(&bfd, [key("10.0.0.2")], &fast());
    let (guarded, reader) = watch::channel(Guarded::from([("frr".to_owned(), key("10.0.0.2"))]));
    let guarding = guard(bfd.clone(), bgp.clone(), reader);
    tokio::spawn(async move {
        let _guarded = guarded;
        guarding.await;
    });
    up(&bfd, &key("10.0.0.2")).await;
    frr.shows("show bfd peers", &["Status: up"]).await;
    (bfd, stop)
}

const TABLE: &str = "show bgp ipv4 unicast";

// BGP-67, BGP-89
pub(crate) fn bfd_that_is_switched_off_for_a_restart_costs_frr_no_route() {
    in_namespace(async {
        let mut frr = Frr::start(&[]).await;
        frr.start_bgpd();
        let bgp = announcing(&frr).await;
        let (bfd, stop) = guarding(&frr, &bgp).await;
        bgp_settled(&bgp).await;
        frr.shows(TABLE, &["192.168.0.1/32"]).await;
        // As the speaker does on a stop signal.
        bgp.leave(Farewell {
            reason: StopReason::Restart,
            text: String::new(),
        })
        .await;
        stop.cancel();
        eventually("a stale route", || {
            let table = frr.vtysh(&[TABLE]);
            let stale = table
                .lines()
                .any(|line| line.trim_start().starts_with('S') && line.contains("192.168.0.1"));
            stale.then_some(()).ok_or(table)
        })
        .await;
        frr.shows("show bfd peers", &["Status: down"]).await;
        // FRR has heard of it; what it makes of it takes no longer than this.
        tokio::time::sleep(Duration::from_secs(1)).await;
        frr.shows(TABLE, &["192.168.0.1/32"]).await;
        drop(bfd);
    });
}

// BGP-88
pub(crate) fn bfd_that_fails_ends_graceful_restart_as_well() {
    in_namespace(async {
        let mut frr = Frr::start(&[]).await;
        // FRR has no BFD of its own, or on a busy machine it might be the first to end the session.
        frr.start_bgpd_with(&[" neighbor 10.0.0.1 remote-as 64500", " neighbor 10.0.0.1 passive"]);
        let bgp = announcing(&frr).await;
        // As the session is reset when BFD fails, but for good.
        bgp.leave(Farewell {
            reason: StopReason::BfdDown,
            text: String::new(),
        })
        .await;
        frr.is_notified("Hard Reset").await;
        eventually("an empty table", || {
            let table = frr.vtysh(&[TABLE]);
            if table.contains("192.168.0.1") {
                Err(table)
            } else {
                Ok(())
            }
        })
        .await;
    });
}
