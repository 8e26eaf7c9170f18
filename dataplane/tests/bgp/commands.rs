//! What a running shell can be told, and what it tells.

use std::{collections::BTreeSet, time::Instant};

use metallb_bgp::wire::{Attribute, Message, Notification, Update, notification::Code};
use metallb_dataplane::bgp::{
    Attributes, BgpHandle, Command, Family, MessageType, Part, PeerConfig, Posture, State, StopReason, View,
};

use crate::{host_routes, route, router::Router, session, shell, shell::announced, speaker};

async fn look(handle: &BgpHandle, peer: &str) -> View {
    handle.look(peer, Part::After(None, 100)).await.unwrap()
}

/// Lists what the peer knows.
fn prefixes(view: &View) -> Vec<String> {
    let known = view.routes.iter().filter(|route| route.advertised.is_some());
    known.map(|route| route.prefix.to_string()).collect()
}

fn communities(update: &Update) -> Vec<u32> {
    let listed = update.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Communities(communities) => Some(communities.clone()),
        _ => None,
    });
    listed.unwrap_or_default()
}

// BGP-72
pub(crate) async fn routes_are_shunned_before_they_go_with_peers_to_come_as_well() {
    let (one, two) = (Router::listen().await, Router::listen().await);
    let handle = speaker(one.peer("one"), vec![route("192.0.2.1/32")]);
    let mut first = one.establish().await;
    assert!(communities(&first.update().await).is_empty());
    handle.show(Posture::Shun);
    let farewell = [Attributes::GRACEFUL_SHUTDOWN];
    assert_eq!(communities(&first.update().await), farewell);
    handle.set_peers(vec![one.peer("one"), two.peer("two")]);
    let mut second = two.establish().await;
    assert_eq!(communities(&second.update().await), farewell);
    handle.show(Posture::Withdraw);
    for line in [&mut first, &mut second] {
        assert_eq!(line.update().await.all_withdrawn().count(), 1);
    }
    handle.show(Posture::Announce);
    for line in [&mut first, &mut second] {
        let update = line.update().await;
        assert_eq!(announced(&update), ["192.0.2.1/32"]);
        assert!(communities(&update).is_empty());
    }
}

// BGP-28
pub(crate) async fn nothing_is_announced_before_the_routes_are_known() {
    let router = Router::listen().await;
    let handle = shell();
    handle.set_peers(vec![router.peer("r")]);
    let mut line = router.establish().await;
    handle.change_routes(vec![route("192.0.2.1/32")]);
    session(&handle, "r", |state| state.up).await;
    assert!(look(&handle, "r").await.routes.is_empty());
    handle.change_routes(vec![route("192.0.2.2/32")]);
    handle.routes_known();
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32", "192.0.2.2/32"]);
}

pub(crate) async fn reset_session_is_told_so_and_returns_at_once() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    line.update().await;
    handle.command("r", Command::Reset(StopReason::Reset));
    assert_eq!(line.notification().await, StopReason::Reset.notification());
    let mut line = router.establish().await;
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
}

pub(crate) async fn drained_session_stays_up_until_it_is_resumed() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32")]);
    let mut line = router.establish().await;
    line.update().await;
    handle.show(Posture::Withdraw);
    let update = line.update().await;
    assert_eq!(update.all_withdrawn().count(), 1);
    let drained = look(&handle, "r").await;
    assert!(drained.drained && prefixes(&drained).is_empty());
    assert_eq!(drained.state, State::Established);
    // Another configuration does not undo it.
    let changed = PeerConfig {
        router_id: None,
        ..router.peer("r")
    };
    handle.set_peers(vec![changed]);
    line.notification().await;
    let mut line = router.establish().await;
    session(&handle, "r", |state| state.up).await;
    assert!(look(&handle, "r").await.drained);
    handle.show(Posture::Announce);
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
    let sessions = handle.sessions();
    assert_eq!(sessions.borrow()["r"].counters.sent(MessageType::Update), 1);
}

pub(crate) async fn a_look_shows_what_the_peer_knows() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32"), route("2001:db8::1/128")]);
    let mut line = router.accept().await;
    line.establish().await;
    line.update().await;
    let view = look(&handle, "r").await;
    assert_eq!(view.state, State::Established);
    assert_eq!(view.negotiated.as_ref().unwrap().remote_asn, crate::router::ROUTER_ASN);
    assert_eq!(prefixes(&view), ["192.0.2.1/32"]);
    drop(line);
    session(&handle, "r", |state| !state.up).await;
    assert_eq!(prefixes(&look(&handle, "r").await), [""; 0]);
    assert!(handle.look("nobody", Part::Nothing).await.is_none());
}

// A router that still has the old session may refuse the new one. Tried often, since the order was a matter of luck.
pub(crate) async fn renamed_peer_is_dialled_when_the_old_connection_is_closed() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("0"), vec![]);
    let mut line = router.establish().await;
    for name in 1..100 {
        handle.set_peers(vec![router.peer(&name.to_string())]);
        let next = router.accept().await;
        assert!(line.is_closed(), "peer {name} is dialled beside the old connection");
        line = next;
        line.establish().await;
    }
    assert_eq!(handle.sessions().borrow().len(), 1);
}

// BGP-109
pub(crate) async fn router_that_refuses_is_not_dialled_at_once() {
    let refusals = [None, Some(2), Some(8)];
    for refusal in refusals.map(|subcode| subcode.map(|subcode| Notification::new(Code::Cease, subcode))) {
        let router = Router::listen().await;
        let handle = speaker(router.peer("r"), vec![]);
        let mut line = router.accept().await;
        if let Some(notification) = &refusal {
            line.next().await;
            line.send(&Message::Notification(notification.clone())).await;
        }
        drop(line);
        assert!(!router.is_dialled().await, "{refusal:?}");
        let state = session(&handle, "r", |state| state.reason.is_some()).await;
        assert_eq!(state.counters.sent(MessageType::Open), 1);
        let _line = router.establish().await;
        session(&handle, "r", |state| state.up).await;
    }
}

pub(crate) async fn burst_of_single_changes_is_packed() {
    const BURST: u32 = 5000;
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("198.51.100.0/24")]);
    let mut line = router.establish().await;
    line.update().await;
    let wanted: BTreeSet<_> = host_routes(BURST)
        .iter()
        .map(|change| change.prefix.to_string())
        .collect();
    let changes = host_routes(BURST);
    let began = Instant::now();
    for change in changes {
        handle.change_routes(vec![change]);
    }
    let took = began.elapsed();
    let updates = line.learn(&mut BTreeSet::new(), &wanted).await;
    // As many as a whole table takes, and a fresh one for each two milliseconds that the burst lasted.
    let flushes = usize::try_from(took.as_millis() / 2).unwrap() + 2;
    assert!(updates <= 7 + flushes, "{updates} messages, {took:?}");
}

// BGP-62, BGP-97
pub(crate) async fn family_that_the_peer_does_not_offer_is_told() {
    let router = Router::listen().await;
    let handle = speaker(router.peer("r"), vec![route("192.0.2.1/32"), route("2001:db8::1/128")]);
    let mut line = router.accept().await;
    line.establish_with(&[Family::IPV6_UNICAST]).await;
    let state = session(&handle, "r", |state| state.up).await;
    assert_eq!((state.carries, state.lacking), (vec![], vec![Family::IPV4_UNICAST]));
    look(&handle, "r").await;
    let counters = &state.counters;
    assert_eq!(
        (counters.desired(), counters.advertised(), counters.unsendable()),
        (0, 0, 1)
    );
    drop(line);
    let state = session(&handle, "r", |state| !state.up).await;
    assert_eq!((state.carries, state.lacking), (vec![], vec![]));
    let mut line = router.establish().await;
    assert_eq!(announced(&line.update().await), ["192.0.2.1/32"]);
    let state = session(&handle, "r", |state| state.up).await;
    assert_eq!((state.carries, state.lacking), (vec![Family::IPV4_UNICAST], vec![]));
}
