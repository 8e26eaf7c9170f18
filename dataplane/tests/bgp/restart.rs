//! Graceful restart over real TCP, against a scripted router (RFC 4724, RFC 8538).

use metallb_bgp::wire::{
    Capability, Family, Message, Notification, Open, RestartCapability, Update, notification::Code,
};
use metallb_dataplane::bgp::{BgpHandle, Farewell, GracefulRestart, PeerConfig, StopReason};

use crate::{
    route,
    router::{Line, Router},
    session, shell,
    shell::announced,
    speaker,
};

/// Has a peer keep our routes.
pub(crate) fn restarting(peer: PeerConfig) -> PeerConfig {
    PeerConfig {
        graceful_restart: Some(GracefulRestart::default()),
        ..peer
    }
}

pub(crate) fn comes_back() -> Farewell {
    Farewell {
        reason: StopReason::Restart,
        text: String::new(),
    }
}

/// What the router says of restarts: it helps, also after a NOTIFICATION.
fn helper() -> Capability {
    Capability::GracefulRestart(RestartCapability {
        notification: true,
        time: 120,
        ..RestartCapability::default()
    })
}

async fn establish(router: &Router) -> (Line, Open) {
    let mut line = router.accept().await;
    let open = line.establish_offering(&[Family::IPV4_UNICAST], &[helper()]).await;
    (line, open)
}

fn says_restarted(open: &Open) -> bool {
    let restart = open.capabilities.iter().find_map(Capability::restart);
    restart.expect("the capability").restarted
}

async fn end_of_rib(line: &mut Line) {
    assert_eq!(line.update().await, Update::end_of_rib(Family::IPV4_UNICAST));
}

// BGP-70
pub(crate) async fn only_the_first_peers_are_told_of_a_restart_and_only_once() {
    let (first, later) = (Router::listen().await, Router::listen().await);
    let handle = shell();
    handle.set_peers(vec![restarting(first.peer("first"))]);
    let (line, open) = establish(&first).await;
    assert!(says_restarted(&open));
    drop(line);
    let (_line, open) = establish(&first).await;
    assert!(!says_restarted(&open));
    handle.set_peers(vec![restarting(first.peer("first")), restarting(later.peer("later"))]);
    let (_later, open) = establish(&later).await;
    assert!(!says_restarted(&open));
}

// BGP-67
pub(crate) async fn end_of_rib_waits_until_the_routes_are_known() {
    let router = Router::listen().await;
    let handle = shell();
    handle.set_peers(vec![restarting(router.peer("r"))]);
    let (mut line, _) = establish(&router).await;
    session(&handle, "r", |state| state.up).await;
    handle.change_routes(vec![route("192.0.2.1/32")]);
    // Whatever was said of the table by now would come before this.
    handle.routes_known();
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
    end_of_rib(&mut line).await;
    handle.change_routes(vec![route("192.0.2.2/32")]);
    assert_eq!(announced(&line.update().await), ["192.0.2.2/32"]);
    drop(line);
    let (mut line, _) = establish(&router).await;
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32", "192.0.2.2/32"]);
    end_of_rib(&mut line).await;
}

async fn leave(handle: &BgpHandle, line: &mut Line, farewell: Farewell) -> Option<Message> {
    handle.leave(farewell).await;
    line.next().await
}

// BGP-67, BGP-69
pub(crate) async fn who_comes_back_says_nothing_and_who_leaves_says_so_hard() {
    let router = Router::listen().await;
    let one = || async {
        let handle = speaker(restarting(router.peer("r")), vec![]);
        let (mut line, _) = establish(&router).await;
        end_of_rib(&mut line).await;
        (handle, line)
    };
    let (handle, mut line) = one().await;
    assert_eq!(leave(&handle, &mut line, comes_back()).await, None);

    let (handle, mut line) = one().await;
    let drain = Farewell {
        text: "node drain".to_owned(),
        ..Farewell::default()
    };
    let inside = Notification::with_data(Code::Cease, 2, *b"\x0anode drain");
    let told = leave(&handle, &mut line, drain).await;
    assert_eq!(told, Some(Message::Notification(inside.hard())));

    // Who does not keep routes is told whatever there is to tell.
    let handle = speaker(restarting(router.peer("r")), vec![]);
    let mut line = router.establish().await;
    session(&handle, "r", |state| state.up).await;
    let told = leave(&handle, &mut line, comes_back()).await;
    assert_eq!(told, Some(Message::Notification(StopReason::Shutdown.notification())));
}

pub(crate) async fn peer_that_is_changed_keeps_the_routes_unless_it_leads_elsewhere() {
    let router = Router::listen().await;
    let handle = speaker(restarting(router.peer("r")), vec![]);
    let (mut line, _) = establish(&router).await;
    let peer = PeerConfig {
        router_id: None,
        ..restarting(router.peer("r"))
    };
    handle.set_peers(vec![peer.clone()]);
    assert_eq!(line.notification().await, StopReason::ConfigChange.notification());
    let (mut line, _) = establish(&router).await;
    handle.set_peers(vec![PeerConfig {
        source: Some("127.0.0.1".parse().unwrap()),
        ..peer
    }]);
    let moved = StopReason::ConfigChange.notification().hard();
    assert_eq!(line.notification().await, moved);
    let (mut line, _) = establish(&router).await;
    handle.set_peers(vec![]);
    assert_eq!(
        line.notification().await,
        StopReason::Deconfigured.notification().hard()
    );
}
