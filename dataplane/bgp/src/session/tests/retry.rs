//! When a peer is dialled again.

use super::*;

#[test] // BGP-52
fn attempts_back_off_with_jitter_up_to_two_minutes() {
    let mut peer = Scripted::new(config());
    let pauses = pauses(&mut peer, 10, |peer| {
        peer.refuse_tcp();
    });
    for (pause, nominal) in pauses
        .iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0, 120.0])
    {
        assert!(
            (0.75..1.25).contains(&(pause.as_secs_f64() / nominal)),
            "{pause:?} instead of {nominal} s"
        );
    }
}

#[test] // BGP-52
fn peer_that_refuses_our_as_is_dialled_at_most_ten_times_in_the_first_minute() {
    let mut peer = Scripted::new(config());
    let start = peer.now;
    let mut attempts = 0;
    while peer.now - start < secs(60) {
        attempts += 1;
        // As FRR does: its own OPEN first, then the refusal.
        peer.open()
            .receive(&Message::Notification(Notification::new(Code::Open, 2)));
        while peer.state() != State::Connect {
            peer.tick();
        }
    }
    assert!(attempts <= 10, "{attempts}");
    assert!(
        peer.take()
            .contains(&Action::Down(DownReason::Received(Notification::new(Code::Open, 2))))
    );
}

fn hold_up(peer: &mut Scripted) -> &mut Scripted {
    peer.establish();
    for _ in 0..9 {
        peer.sleep(secs(1)).receive(&Message::Keepalive);
    }
    peer
}

#[test]
fn back_off_starts_anew_only_after_a_session_that_lasted() {
    let mut peer = Scripted::new(config());
    let flap = |peer: &mut Scripted| {
        peer.establish().close();
    };
    let flapping = pauses(&mut peer, 5, flap);
    assert_eq!(flapping[0], Duration::ZERO);
    assert!(flapping[4] > secs(5), "{flapping:?}");
    let lasting = |peer: &mut Scripted| {
        hold_up(peer).close();
    };
    assert_eq!(pauses(&mut peer, 1, lasting), [Duration::ZERO]);
}

fn cease(subcode: u8) -> Notification {
    Notification::new(Code::Cease, subcode)
}

/// What a router may do instead of keeping the session.
#[derive(Clone, Debug)]
enum Refusal {
    ToOpen(Notification),
    AfterKeepalives(Notification),
    WithoutAByte,
}

impl Refusal {
    fn perform(&self, peer: &mut Scripted) {
        match self {
            Self::ToOpen(notification) => peer.connect().receive(&Message::Notification(notification.clone())),
            Self::AfterKeepalives(notification) => {
                peer.establish().receive(&Message::Notification(notification.clone()))
            }
            Self::WithoutAByte => peer.connect().close(),
        };
    }
}

#[rstest] // BGP-109
#[case::shutdown(Refusal::ToOpen(Notification::with_data(Code::Cease, 2, *b"\x05night")))]
#[case::out_of_resources(Refusal::ToOpen(cease(8)))]
#[case::other_as(Refusal::ToOpen(Notification::new(Code::Open, 2)))]
#[case::hold_timer(Refusal::ToOpen(Notification::new(Code::HoldTimerExpired, 0)))]
#[case::shutdown_once_up(Refusal::AfterKeepalives(cease(2)))]
#[case::out_of_resources_once_up(Refusal::AfterKeepalives(cease(8)))]
#[case::hold_timer_once_up(Refusal::AfterKeepalives(Notification::new(Code::HoldTimerExpired, 0)))]
#[case::silent(Refusal::WithoutAByte)]
fn router_that_refuses_is_dialled_ever_more_rarely(#[case] refusal: Refusal, #[values(false, true)] lasted: bool) {
    let mut peer = Scripted::new(config());
    if lasted {
        hold_up(&mut peer).close();
        while peer.state() != State::Connect {
            peer.tick();
        }
    }
    let start = peer.now;
    let mut attempts = 0;
    while peer.now - start < secs(120) {
        attempts += 1;
        let refused = pauses(&mut peer, 1, |peer| refusal.perform(peer));
        // Only what was up before may be dialled at once, and only the first time.
        let lost = !lasted
            && attempts == 1
            && matches!(refusal, Refusal::AfterKeepalives(ref why) if *why != cease(2) && *why != cease(8));
        assert_eq!(refused[0] == Duration::ZERO, lost, "attempt {attempts}");
    }
    assert!(attempts <= 10, "{attempts}");
}

#[rstest] // BGP-109
#[case::shutdown(cease(2), false)]
#[case::deconfigured(cease(3), false)]
#[case::rejected(cease(5), false)]
#[case::hard_reset(cease(9), false)]
#[case::reset(cease(4), true)]
#[case::config_change(cease(6), true)]
#[case::bfd_down(cease(10), true)]
fn router_that_ends_a_lasting_session_says_whether_to_come_back(
    #[case] notification: Notification,
    #[case] at_once: bool,
) {
    let mut peer = Scripted::new(config());
    let pauses = pauses(&mut peer, 1, |peer| {
        hold_up(peer).receive(&Message::Notification(notification.clone()));
    });
    assert_eq!(pauses[0] == Duration::ZERO, at_once, "{pauses:?}");
}

#[test]
fn connect_time_replaces_the_doubling() {
    let mut peer = Scripted::new(PeerConfig {
        connect_time: Some(secs(7)),
        ..config()
    });
    let pauses = pauses(&mut peer, 4, |peer| {
        peer.refuse_tcp();
    });
    assert_eq!(pauses, [7, 7, 7, 7].map(secs));
}

#[test]
fn silent_peer_is_given_up() {
    let mut peer = Scripted::new(config());
    peer.sleep(secs(10));
    assert!(
        peer.take()
            .contains(&Action::Down(DownReason::ConnectTimeout(secs(10))))
    );
    let mut peer = Scripted::new(config());
    peer.connect().sleep(secs(240));
    assert_eq!(refusal(&peer.take()), hex!("0400"));
}

#[test] // BGP-55
fn peer_that_refuses_capabilities_gets_fewer_once() {
    let mut peer = Scripted::new(config());
    let refuse = |peer: &mut Scripted, notification| {
        peer.connect().receive(&Message::Notification(notification));
        while peer.state() != State::Connect {
            peer.tick();
        }
        peer.sent().remove(0)[13..].to_vec()
    };
    let all = refuse(&mut peer, Notification::with_data(Code::Open, 7, hex!("0104 00020001")));
    let without_families = refuse(&mut peer, Notification::new(Code::Open, 4));
    let all_again = refuse(&mut peer, Notification::new(Code::Open, 4));
    let none = refuse(&mut peer, Notification::new(Code::Open, 2));
    assert_eq!(all, all_again);
    assert_eq!(without_families, hex!("0206 41040000fbf4"));
    assert_eq!(none, []);
}
