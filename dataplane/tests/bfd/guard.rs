//! BGP that is guarded by BFD, against a scripted router on loopback.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use metallb_bgp::wire::notification::Code;
use metallb_dataplane::{
    bfd::{BfdHandle, Guarded, Networks, Sessions, State, follow_addresses, guard},
    bgp::{BgpHandle, Command, StopReason},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    bgp_router, down, fast, key,
    neighbour::{in_namespace, run, take_descriptors},
    router::{Router, at},
    sessions, set, speaker, up,
};

/// One router, which speaks BGP and perhaps BFD, and us.
struct Pair {
    bgp_router: bgp_router::Router,
    bfd_router: Router,
    bgp: BgpHandle,
    bfd: BfdHandle,
    guarded: watch::Sender<Guarded>,
}

impl Pair {
    async fn new() -> Self {
        let bgp_router = bgp_router::Router::listen_on("127.0.0.2".parse().unwrap()).await;
        let (bgp, run) = metallb_dataplane::bgp::start(CancellationToken::new());
        tokio::spawn(run);
        bgp.routes_known();
        bgp.set_peers(vec![bgp_router.peer("tor")]);
        let bfd = speaker([key("127.0.0.2")]);
        sessions(&bfd, |sessions| sessions.len() == 1).await;
        let (guarded, reader) = watch::channel(BTreeMap::from([("tor".to_owned(), key("127.0.0.2"))]));
        tokio::spawn(guard(bfd.clone(), bgp.clone(), reader));
        Self {
            bgp_router,
            bfd_router: Router::listen(at("127.0.0.2", 3784), None),
            bgp,
            bfd,
            guarded,
        }
    }

    fn is_up(&self) -> bool {
        self.bgp.sessions().borrow()["tor"].up
    }
}

// BGP-88, BGP-91
pub(crate) fn bgp_ends_when_the_path_fails_and_does_not_wait_for_it() {
    in_namespace(async {
        let pair = Pair::new().await;
        let mut line = pair.bgp_router.establish().await;
        let heard = pair.bfd_router.establish().await;
        up(&pair.bfd, &key("127.0.0.2")).await;
        pair.bfd_router.say(&heard, State::Down);
        let notification = line.notification().await;
        assert_eq!(notification, StopReason::BfdDown.notification());
        assert_eq!((notification.code, notification.subcode), (Code::Cease, 10));
        // The router has no BFD any more, and is dialled all the same.
        let mut line = pair.bgp_router.establish().await;
        assert_eq!(down(&pair.bfd, &key("127.0.0.2")).await.failures, 1);
        // It fails a second time.
        let heard = pair.bfd_router.until(|packet| packet.state < State::Up).await;
        pair.bfd_router.say(&heard, State::Init);
        let heard = pair.bfd_router.until(|packet| packet.state == State::Up).await;
        pair.bfd_router.say(&heard, State::Down);
        assert_eq!(line.notification().await, StopReason::BfdDown.notification());
        assert_eq!(down(&pair.bfd, &key("127.0.0.2")).await.failures, 2);
        // A peer that is not guarded any more is left alone.
        let _line = pair.bgp_router.establish().await;
        pair.guarded.send_replace(BTreeMap::new());
        let heard = pair.bfd_router.until(|packet| packet.state < State::Up).await;
        pair.bfd_router.say(&heard, State::Init);
        let heard = pair.bfd_router.until(|packet| packet.state == State::Up).await;
        pair.bfd_router.say(&heard, State::Down);
        sessions(&pair.bfd, |sessions| sessions[&key("127.0.0.2")].failures == 3).await;
        assert!(!pair.bgp_router.is_dialled().await);
    });
}

// BGP-89, BGP-91, BGP-113
pub(crate) fn bgp_outlives_bfd_that_is_switched_off_or_was_never_there() {
    in_namespace(async {
        let pair = Pair::new().await;
        let _line = pair.bgp_router.establish().await;
        // Nothing but hellos without an answer so far.
        pair.bfd_router.hear().await;
        let mut table = pair.bgp.sessions();
        table.wait_for(|sessions| sessions["tor"].up).await.unwrap();
        // The router switches it off.
        let heard = pair.bfd_router.establish().await;
        up(&pair.bfd, &key("127.0.0.2")).await;
        pair.bfd_router.say(&heard, State::AdminDown);
        assert_eq!(down(&pair.bfd, &key("127.0.0.2")).await.failures, 0);
        // And we do.
        let heard = pair.bfd_router.until(|packet| packet.state < State::Up).await;
        pair.bfd_router.say(&heard, State::Init);
        up(&pair.bfd, &key("127.0.0.2")).await;
        set(&pair.bfd, [], &fast());
        let goodbye = pair.bfd_router.until(|packet| packet.state == State::AdminDown).await;
        pair.bfd_router.say(&goodbye, State::Down);
        sessions(&pair.bfd, Sessions::is_empty).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(pair.is_up() && !pair.bgp_router.is_dialled().await);
    });
}

// BGP-114
pub(crate) fn what_concerns_no_peer_is_noticed_by_no_router() {
    in_namespace(async {
        let pair = Pair::new().await;
        let mut line = pair.bgp_router.establish().await;
        pair.bfd_router.establish().await;
        up(&pair.bfd, &key("127.0.0.2")).await;
        let peers = vec![pair.bgp_router.peer("tor")];
        for _ in 0..200 {
            pair.bgp.set_peers(peers.clone());
            pair.guarded.send_modify(|_| ());
            set(&pair.bfd, [key("127.0.0.2")], &fast());
            tokio::task::yield_now().await;
        }
        // What ended the session meanwhile, if anything did, comes before what is asked for now.
        pair.bgp.command("tor", Command::Reset(StopReason::Reset));
        assert_eq!(line.notification().await, StopReason::Reset.notification());
        let state = up(&pair.bfd, &key("127.0.0.2")).await;
        assert_eq!(
            (state.counters.ups(), state.counters.downs(), state.failures),
            (1, 0, 0)
        );
    });
}

pub(crate) fn a_peer_that_gets_onto_the_link_is_noticed() {
    in_namespace(async {
        run("ip link add node0 type veth peer name node1 && ip link set node0 up");
        let peer = "10.1.15.255".parse().unwrap();
        let (changed, mut answers) = watch::channel(Networks::read().contain(peer));
        tokio::spawn(follow_addresses(move || {
            changed.send_replace(Networks::read().contain(peer));
        }));
        for (command, wanted) in [("add", true), ("del", false)] {
            // Whoever follows may not have begun yet, so it is told again and again.
            let told = answers.wait_for(|on_link| *on_link == wanted);
            let tell = async {
                run(&format!("ip addr {command} 10.1.2.3/20 dev node0"));
                loop {
                    run("ip addr add 10.9.9.9/32 dev node0 && ip addr del 10.9.9.9/32 dev node0");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                told = tokio::time::timeout(crate::PATIENCE, told) => drop(told.unwrap().unwrap()),
                () = tell => {}
            }
        }
    });
}

pub(crate) fn addresses_are_followed_again_after_a_failure_of_netlink() {
    in_namespace(async {
        let (changed, mut answers) = watch::channel(());
        let mut follow = pin!(follow_addresses(|| changed.send_replace(())));
        let taken = take_descriptors();
        assert!(futures::poll!(&mut follow).is_pending());
        assert!(
            !answers.has_changed().unwrap(),
            "nothing can be followed without a socket"
        );
        drop(taken);
        let followed = async {
            // Once it follows, and once more for the address.
            answers.changed().await.unwrap();
            run("ip addr add 10.9.9.9/32 dev lo");
            answers.changed().await.unwrap();
        };
        tokio::select! {
            followed = tokio::time::timeout(crate::PATIENCE, followed) => followed.unwrap(),
            never = follow => match never {},
        }
    });
}

pub(crate) fn neighbours_are_told_from_others() {
    in_namespace(async {
        run("ip link add node0 type veth peer name node1 && ip link set node0 up");
        run("ip addr add 10.1.2.3/20 dev node0 && ip addr add fd00:1::3/64 dev node0 nodad");
        for (peer, on_link) in [
            ("10.1.15.255", true),
            ("10.1.16.0", false),
            ("fd00:1::9", true),
            ("fd00:2::9", false),
            ("127.0.0.2", true),
            ("::10.1.2.3", false),
        ] {
            assert_eq!(Networks::read().contain(peer.parse().unwrap()), on_link, "{peer}");
        }
    });
}
