use std::{net::Ipv4Addr, sync::LazyLock};

use super::*;
use crate::{
    Action, Core, Event, Form, Interfaces, Link, PacketType, Purpose, Selection,
    event::Count,
    gratuitous,
    ndp::{
        self,
        tests::{CLIENT_IP, Message},
    },
};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const ETH0: u32 = 2;
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SECOND: Duration = Duration::from_secs(1);
/// The burst of a gain is over by then.
const CALM: Duration = Duration::from_secs(5);

/// A core that announces the VIP, its clock since the burst was over, and what it did.
struct Bench {
    core: Core,
    now: Duration,
    told: Vec<(Duration, Conflict)>,
    announced: Vec<Duration>,
    asked: Vec<(Duration, EthernetAddress)>,
    ended: Vec<Duration>,
    foreign: u64,
    peer: u64,
}

impl Bench {
    fn new() -> Self {
        let link = Link {
            index: ETH0,
            name: "eth0".to_owned(),
            mac: MAC,
            carrier_ups: 1,
            link_local: Some([0xfe80, 0, 0, 0, 0, 0, 0, 1].into()),
        };
        let mut bench = Self {
            core: Core::new(None, 1),
            now: Duration::ZERO,
            told: Vec::new(),
            announced: Vec::new(),
            asked: Vec::new(),
            ended: Vec::new(),
            foreign: 0,
            peer: 0,
        };
        bench.feed(Event::Links(Selection {
            links: vec![link],
            own_macs: [MAC].into(),
            ..Selection::default()
        }));
        bench.change(Some(Interfaces::All));
        bench.run(CALM);
        bench.announced.clear();
        bench
    }

    fn with_peer() -> Self {
        let mut bench = Self::new();
        bench.feed(Event::Peers([OTHER].into()));
        bench
    }

    fn change(&mut self, wanted: Option<Interfaces>) {
        self.feed(Event::Changed(vec![(VIP.into(), wanted)]));
    }

    fn hear(&mut self, mac: EthernetAddress) {
        self.hear_frame(&gratuitous(Form::Request, mac, VIP));
    }

    fn hear_frame(&mut self, bytes: &[u8]) {
        self.feed(Event::Frame {
            ifindex: ETH0,
            packet_type: PacketType::Broadcast,
            bytes,
        });
        self.run(Duration::ZERO);
    }

    /// Hears a claim twice a second for so long.
    fn hear_for(&mut self, mac: EthernetAddress, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.hear(mac);
            self.run(SECOND / 2);
        }
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(*START + self.now, event) {
            match action {
                Action::Conflict(conflict) => self.told.push((self.now, conflict)),
                Action::Count(Count::Claims { frames, peer, .. }) => {
                    *(if peer { &mut self.peer } else { &mut self.foreign }) += frames;
                }
                Action::Send {
                    purpose: Purpose::Gratuitous,
                    ..
                } => self.announced.push(self.now),
                Action::Send {
                    purpose: Purpose::Probe,
                    frame,
                    ..
                } => self.asked.push((self.now, EthernetAddress::from_bytes(&frame[..6]))),
                Action::ClaimsEnded(_) => self.ended.push(self.now),
                _ => {}
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= *START + end) {
            self.now = self.now.max(due.saturating_duration_since(*START));
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn reports(&self) -> Vec<Report> {
        self.told.iter().map(|(_, conflict)| conflict.report).collect()
    }

    /// Times since the burst was over.
    fn since(times: &[Duration]) -> Vec<Duration> {
        let whole = |time: &Duration| Duration::from_millis(u64::try_from((*time - CALM).as_millis()).unwrap());
        times.iter().map(whole).collect()
    }

    fn answers(&mut self) -> bool {
        let mut request = gratuitous(Form::Request, EthernetAddress([2, 0, 0, 0, 0, 0x50]), VIP);
        request[28..32].copy_from_slice(&[192, 0, 2, 50]);
        let event = Event::Frame {
            ifindex: ETH0,
            packet_type: PacketType::Broadcast,
            bytes: &request,
        };
        let actions = self.core.handle(*START + self.now, event);
        actions.iter().any(|action| {
            matches!(
                action,
                Action::Send {
                    purpose: Purpose::Answer { .. },
                    ..
                }
            )
        })
    }
}

#[test]
fn the_new_owner_heard_before_the_own_withdrawal_is_reported_but_no_conflict() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    assert_eq!(bench.reports(), [Report::First]);
    bench.run(SECOND * 9 / 10);
    bench.change(None);
    bench.run(20 * SECOND);
    assert_eq!(bench.reports(), [Report::First]);
    assert_eq!((bench.foreign, bench.announced.len(), bench.ended.len()), (0, 0, 0));
}

#[test]
fn an_address_that_comes_back_meanwhile_is_not_suspected_for_what_was_before() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.change(None);
    bench.change(Some(Interfaces::All));
    bench.run(20 * SECOND);
    assert_eq!((bench.told.len(), bench.foreign), (1, 0));
}

// L2-78
#[test]
fn a_claim_that_outlasts_a_move_is_confirmed_and_the_address_defended_once() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.run(SECOND / 2);
    bench.hear(OTHER);
    bench.run(SECOND);
    let conflict = |report| Conflict {
        ip: VIP.into(),
        ifindex: ETH0,
        mac: OTHER,
        report,
    };
    let expected = [
        (CALM, conflict(Report::First)),
        (CALM + SECOND, conflict(Report::Confirmed)),
    ];
    assert_eq!(bench.told, expected);
    assert_eq!(bench.foreign, 2);
    assert_eq!(Bench::since(&bench.announced), [SECOND]);
    assert!(bench.answers(), "the address goes on being announced");
}

// L2-78
#[test]
fn a_conflict_is_confirmed_once_defended_every_ten_seconds_and_every_claim_is_counted() {
    let mut bench = Bench::new();
    bench.hear_for(OTHER, 60 * SECOND);
    assert_eq!(bench.foreign, 120);
    let confirmed = bench.reports().iter().filter(|report| report.is_for_users()).count();
    assert_eq!(confirmed, 1);
    let defences = Bench::since(&bench.announced);
    assert_eq!(defences, [1, 11, 21, 31, 41, 51].map(Duration::from_secs));
}

// L2-78: each frame of the other, who does not keep to ten seconds, is answered by none of ours.
#[test]
fn two_hosts_that_fight_do_not_flood_the_segment() {
    let mut bench = Bench::new();
    for _ in 0..10_000 {
        bench.hear(OTHER);
        bench.run(Duration::from_millis(1));
    }
    bench.run(SECOND);
    assert_eq!(bench.announced.len(), 1);
    // The first, the confirmed one, and one in each of the ten seconds.
    assert!(bench.told.len() <= 12, "{}", bench.told.len());
    assert_eq!(bench.foreign, 10_000);
}

#[test]
fn a_claimant_is_reported_once_a_second_while_it_lasts() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.hear(OTHER);
        bench.run(SECOND / 10);
    }
    let repeated = bench.told.iter().filter(|(_, told)| told.report == Report::Repeated);
    let times: Vec<Duration> = repeated.map(|(at, _)| *at).collect();
    assert_eq!(
        Bench::since(&times),
        (1..10).map(Duration::from_secs).collect::<Vec<_>>()
    );
}

#[test]
fn an_episode_ends_with_a_minute_of_silence() {
    let mut bench = Bench::new();
    for (pause, confirmed) in [(50, 1), (59, 1), (61, 2)] {
        bench.hear(OTHER);
        bench.run(pause * SECOND);
        bench.hear(OTHER);
        bench.run(2 * SECOND);
        let told = bench.reports().iter().filter(|report| report.is_for_users()).count();
        assert_eq!(told, confirmed, "after a pause of {pause} s");
    }
}

#[test]
fn two_claimants_are_two_conflicts_and_the_own_frames_are_none() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.hear(EthernetAddress([2, 0, 0, 0, 0, 10]));
    bench.hear(MAC);
    bench.run(12 * SECOND);
    let confirmed = bench.told.iter().filter(|(_, told)| told.report.is_for_users());
    assert_eq!(confirmed.count(), 2);
    assert_eq!(bench.announced.len(), 2);
}

#[test]
fn a_claim_in_the_name_of_no_host_is_none() {
    let mut bench = Bench::new();
    bench.hear(EthernetAddress([0; 6]));
    bench.hear(EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
    bench.hear(EthernetAddress::BROADCAST);
    bench.run(12 * SECOND);
    assert_eq!((bench.told.len(), bench.foreign, bench.announced.len()), (0, 0, 0));
}

#[test]
fn a_forger_of_addresses_fills_neither_memory_nor_events() {
    let mut bench = Bench::new();
    for n in 0..10_000_u16 {
        let [a, b] = n.to_be_bytes();
        bench.hear(EthernetAddress([2, 7, 0, 0, a, b]));
        bench.run(Duration::from_millis(1));
    }
    bench.run(SECOND);
    // Four hosts are told apart in a second.
    let told = bench.told.len();
    assert!(told <= 60, "{told} reports");
    let confirmed = bench.reports().iter().filter(|report| report.is_for_users()).count();
    assert_eq!(confirmed, 2);
    assert_eq!(bench.announced.len(), 2);
}

#[test]
fn a_forger_of_claims_about_every_address_is_confirmed_for_some() {
    let mut bench = Bench::new();
    let ips: Vec<Ipv4Addr> = (0..1000_u32).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n)).collect();
    let all = ips.iter().map(|ip| ((*ip).into(), Some(Interfaces::All)));
    bench.feed(Event::Changed(all.collect()));
    bench.run(SECOND);
    for ip in &ips {
        bench.hear_frame(&gratuitous(Form::Request, OTHER, *ip));
    }
    bench.run(3 * SECOND);
    let confirmed = bench.reports().iter().filter(|report| report.is_for_users()).count();
    assert_eq!(confirmed, CONFIRMED);
}

// L2-59
#[test]
fn a_host_that_only_asks_whether_an_address_is_free_is_told_by_the_answer_and_not_defended_against() {
    let (mut bench, vip) = (Bench::new(), "2001:db8::100".parse().unwrap());
    bench.feed(Event::Changed(vec![(IpAddr::V6(vip), Some(Interfaces::All))]));
    bench.run(CALM);
    bench.announced.clear();
    bench.hear_frame(&Message::probe().frame());
    bench.run(2 * SECOND);
    assert_eq!(bench.reports(), [Report::First, Report::Confirmed]);
    assert!(bench.announced.is_empty());
    bench.hear_frame(&ndp::unsolicited(OTHER, CLIENT_IP, vip));
    bench.run(12 * SECOND);
    assert_eq!(bench.reports().len(), 4);
    assert_eq!(bench.announced.len(), 1);
}

// L2-77
#[test]
fn a_yielded_address_is_silent_at_once_and_nothing_is_told_to_users() {
    let mut bench = Bench::with_peer();
    bench.change(None);
    bench.change(Some(Interfaces::All));
    bench.run(SECOND / 2);
    bench.hear(OTHER);
    assert_eq!(bench.reports(), [Report::First]);
    let said = bench.announced.len();
    assert!(bench.answers());
    bench.feed(Event::Yield(VIP.into()));
    assert!(!bench.answers());
    bench.hear_for(OTHER, 20 * SECOND);
    assert_eq!(bench.announced.len(), said, "the rest of the burst is not sent");
    assert!(bench.reports()[1..].iter().all(|report| *report == Report::Repeated));
    assert_eq!((bench.foreign, bench.peer), (0, 41));
    assert!(bench.ended.is_empty());
    bench.change(Some(Interfaces::All));
    assert!(!bench.answers(), "other interfaces do not end it");
    bench.feed(Event::Resume(VIP.into()));
    assert!(bench.answers());
    bench.run(CALM);
    assert_eq!(bench.announced.len(), said + 10, "told as a new one");
}

// L2-77
#[test]
fn the_claimant_of_a_yielded_address_is_asked_and_its_silence_is_told_again_and_again() {
    let mut bench = Bench::with_peer();
    bench.hear(OTHER);
    bench.feed(Event::Yield(VIP.into()));
    bench.run(Duration::from_millis(6500));
    let asked: Vec<Duration> = bench.asked.iter().map(|(at, _)| *at).collect();
    let expected = [100, 300, 500, 2700, 3100, 3500, 5700, 6100, 6500].map(Duration::from_millis);
    assert_eq!(Bench::since(&asked), expected);
    assert!(bench.asked.iter().all(|(_, whom)| *whom == OTHER));
    assert_eq!(Bench::since(&bench.ended), [700, 3700].map(Duration::from_millis));
    bench.feed(Event::Resume(VIP.into()));
    bench.ended.clear();
    bench.run(20 * SECOND);
    assert!(bench.ended.is_empty());
    assert_eq!(bench.asked.len(), 9);
}

// L2-77
#[test]
fn a_claimant_that_answers_when_asked_has_not_ended_its_claim() {
    let mut bench = Bench::with_peer();
    bench.hear(OTHER);
    bench.feed(Event::Yield(VIP.into()));
    for _ in 0..100 {
        let asked = bench.asked.len();
        bench.run(SECOND / 10);
        if bench.asked.len() > asked {
            let mut answer = gratuitous(Form::Reply, OTHER, VIP);
            answer[..6].copy_from_slice(MAC.as_bytes());
            bench.hear_frame(&answer);
        }
    }
    assert_eq!(bench.asked.len(), 5, "once in two seconds");
    assert!(bench.ended.is_empty());
}

// Found by tests/simulation: a node that did not know yet that it is a member claimed the address and withdrew it at once.
#[test]
fn a_claimant_that_withdraws_at_once_is_not_waited_for_in_vain() {
    let mut bench = Bench::with_peer();
    bench.hear(OTHER);
    bench.feed(Event::Yield(VIP.into()));
    bench.run(SECOND);
    assert_eq!(Bench::since(&bench.ended), [Duration::from_millis(700)]);
    let mut bench = Bench::with_peer();
    bench.hear(OTHER);
    bench.feed(Event::Yield(VIP.into()));
    bench.hear(OTHER);
    bench.run(SECOND);
    assert!(bench.ended.is_empty(), "that one goes on");
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.feed(Event::Yield(VIP.into()));
    bench.run(Duration::from_millis(700));
    bench.feed(Event::Resume(VIP.into()));
    bench.told.clear();
    bench.run(SECOND);
    assert!(bench.told.is_empty(), "nobody is told of a claim that is over");
}

#[test]
fn without_a_known_claimant_everybody_is_asked() {
    let mut bench = Bench::new();
    bench.feed(Event::Yield(VIP.into()));
    bench.run(SECOND);
    assert_eq!(bench.asked.len(), 3);
    assert!(bench.asked.iter().all(|(_, whom)| whom.is_broadcast()));
    assert_eq!(Bench::since(&bench.ended), [Duration::from_millis(700)]);
}

#[test]
fn the_end_of_a_claim_is_told_once_if_the_address_was_not_yielded() {
    let mut bench = Bench::new();
    bench.hear_for(OTHER, 2 * SECOND);
    bench.run(20 * SECOND);
    assert_eq!(Bench::since(&bench.ended), [Duration::from_millis(4500)]);
    assert!(bench.asked.is_empty());
}

// L2-77
#[test]
fn a_defended_address_is_announced_at_once_after_a_second_and_then_seldom() {
    let mut bench = Bench::with_peer();
    for _ in 0..60 {
        bench.hear(OTHER);
        bench.feed(Event::Defend(VIP.into()));
        bench.run(SECOND / 2);
    }
    let expected = [0, 1100, 11_500, 21_500].map(Duration::from_millis);
    assert_eq!(Bench::since(&bench.announced), expected);
    assert_eq!((bench.foreign, bench.peer), (0, 60));
    assert!(!bench.reports().contains(&Report::Confirmed));
}

// L2-77
#[test]
fn a_new_conflict_is_defended_at_once_again() {
    let mut bench = Bench::with_peer();
    for _ in 0..2 {
        bench.hear(OTHER);
        bench.feed(Event::Defend(VIP.into()));
        bench.run(4 * SECOND);
    }
    let expected = [0, 1100, 4000, 5100].map(Duration::from_millis);
    assert_eq!(Bench::since(&bench.announced), expected);
    assert_eq!(Bench::since(&bench.ended), [3 * SECOND, 7 * SECOND]);
}

#[test]
fn a_claim_by_a_speaker_is_not_defended_against_unasked() {
    let mut bench = Bench::with_peer();
    bench.hear_for(OTHER, 30 * SECOND);
    assert!(bench.announced.is_empty());
    assert!(!bench.reports().contains(&Report::Confirmed));
    assert_eq!((bench.foreign, bench.peer), (0, 60));
}

#[test]
fn defending_ends_a_silence_and_yielding_a_defence() {
    let mut bench = Bench::with_peer();
    bench.hear(OTHER);
    bench.feed(Event::Defend(VIP.into()));
    bench.feed(Event::Yield(VIP.into()));
    let said = bench.announced.len();
    bench.run(SECOND * 2);
    assert_eq!((bench.announced.len(), bench.answers()), (said, false));
    bench.feed(Event::Defend(VIP.into()));
    assert!(bench.answers());
}

#[test]
fn what_is_not_announced_is_neither_yielded_nor_defended() {
    let mut bench = Bench::new();
    bench.change(None);
    for event in [
        Event::Yield(VIP.into()),
        Event::Defend(VIP.into()),
        Event::Resume(VIP.into()),
    ] {
        bench.feed(event);
    }
    bench.run(20 * SECOND);
    assert_eq!((bench.announced.len(), bench.asked.len(), bench.ended.len()), (0, 0, 0));
    bench.change(Some(Interfaces::All));
    assert!(bench.answers());
}

#[test]
fn a_withdrawal_ends_the_silence() {
    let mut bench = Bench::new();
    bench.feed(Event::Yield(VIP.into()));
    bench.change(None);
    bench.run(20 * SECOND);
    assert!(bench.ended.is_empty());
    bench.change(Some(Interfaces::All));
    assert!(bench.answers());
}

#[test]
fn a_yielded_address_needs_no_successor() {
    let mut bench = Bench::new();
    bench.feed(Event::Yield(VIP.into()));
    bench.feed(Event::HandOver);
    assert!(bench.core.is_handed_over());
}
