use std::{net::Ipv4Addr, sync::LazyLock};

use rstest::rstest;
use smoltcp::wire::EthernetAddress;

use super::*;
use crate::{
    Action, Conflict, Core, Event, Form, Interfaces, Link, PacketType, Purpose, Report, Selection, gratuitous,
    ndp::{self, tests::CLIENT_IP},
};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const SECOND: Duration = Duration::from_secs(1);

fn vip6() -> IpAddr {
    "2001:db8::100".parse().unwrap()
}

struct Bench {
    core: Core,
    now: Duration,
    asked: Vec<Duration>,
    announced: Vec<Duration>,
    told: Vec<Conflict>,
}

impl Bench {
    fn new(links: u32) -> Self {
        let mut bench = Self {
            core: Core::new(None, 1).check_before_announcing(true),
            now: Duration::ZERO,
            asked: Vec::new(),
            announced: Vec::new(),
            told: Vec::new(),
        };
        let link = |index| Link {
            index,
            name: format!("eth{index}"),
            mac: MAC,
            carrier_ups: 1,
            link_local: Some([0xfe80, 0, 0, 0, 0, 0, 0, 1].into()),
        };
        bench.feed(Event::Links(Selection {
            links: (0..links).map(link).collect(),
            own_macs: [MAC].into(),
            ..Selection::default()
        }));
        bench
    }

    fn change(&mut self, ip: impl Into<IpAddr>, wanted: Option<Interfaces>) {
        self.feed(Event::Changed(vec![(ip.into(), wanted)]));
        self.run(Duration::ZERO);
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(*START + self.now, event) {
            match action {
                Action::Send {
                    purpose: Purpose::Probe,
                    ..
                } => self.asked.push(self.now),
                Action::Send { .. } => self.announced.push(self.now),
                Action::Conflict(conflict) => self.told.push(conflict),
                _ => {}
            }
        }
    }

    /// Hears that another host has the address.
    fn hear(&mut self, ip: IpAddr) {
        let claim = match ip {
            IpAddr::V4(v4) => gratuitous(Form::Reply, OTHER, v4),
            IpAddr::V6(v6) => ndp::unsolicited(OTHER, CLIENT_IP, v6).to_vec(),
        };
        self.feed(Event::Frame {
            ifindex: 0,
            packet_type: PacketType::Host,
            bytes: &claim,
        });
        self.run(Duration::ZERO);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= *START + end) {
            self.now = self.now.max(due.saturating_duration_since(*START));
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn answers(&mut self) -> bool {
        let mut request = gratuitous(Form::Request, EthernetAddress([2, 0, 0, 0, 0, 0x50]), VIP);
        request[28..32].copy_from_slice(&[192, 0, 2, 50]);
        let event = Event::Frame {
            ifindex: 0,
            packet_type: PacketType::Broadcast,
            bytes: &request,
        };
        let actions = self.core.handle(*START + self.now, event);
        actions.iter().any(|action| matches!(action, Action::Send { .. }))
    }
}

// L2-78
#[rstest]
#[case(VIP.into())]
#[case(vip6())]
fn an_address_that_nobody_has_is_announced_after_three_questions(#[case] ip: IpAddr) {
    let mut bench = Bench::new(1);
    bench.change(ip, Some(Interfaces::All));
    bench.run(Duration::from_millis(149));
    assert_eq!(bench.asked, [0, 50, 100].map(Duration::from_millis));
    assert_eq!((bench.announced.len(), bench.answers()), (0, false));
    bench.run(Duration::from_millis(1));
    assert!(!bench.announced.is_empty());
    bench.run(5 * SECOND);
    assert_eq!(bench.announced.len(), if ip.is_ipv4() { 10 } else { 5 });
    assert_eq!((bench.asked.len(), bench.told.len()), (3, 0));
}

// L2-78
#[rstest]
#[case(VIP.into())]
#[case(vip6())]
fn an_address_of_another_host_is_reported_and_asked_about_again_later(#[case] ip: IpAddr) {
    let mut bench = Bench::new(1);
    bench.change(ip, Some(Interfaces::All));
    for _ in 0..3 {
        bench.hear(ip);
        bench.run(10 * SECOND);
    }
    assert_eq!(bench.asked, [0, 10, 20, 30].map(Duration::from_secs));
    assert!(bench.announced.is_empty() && !bench.answers());
    let confirmed = bench.told.iter().filter(|told| told.report == Report::Confirmed);
    assert_eq!(confirmed.count(), 1, "{:?}", bench.told);
    bench.run(SECOND);
    assert!(!bench.announced.is_empty(), "the other host has gone");
}

#[test]
fn an_address_of_another_speaker_is_taken_over_at_once() {
    let mut bench = Bench::new(1);
    bench.feed(Event::Peers([OTHER].into()));
    bench.change(VIP, Some(Interfaces::All));
    bench.hear(VIP.into());
    assert!(!bench.announced.is_empty() && bench.answers());
    assert_eq!(bench.now, Duration::ZERO);
    bench.run(SECOND / 2);
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn an_address_is_asked_about_only_where_it_will_be_announced() {
    let mut bench = Bench::new(3);
    let only = Interfaces::Only(["eth1".to_owned()].into());
    bench.change(VIP, Some(only));
    bench.run(SECOND);
    assert_eq!(bench.asked.len(), 3);
}

#[test]
fn other_interfaces_are_no_first_announcement_and_a_new_one_is() {
    let mut bench = Bench::new(1);
    bench.change(VIP, Some(Interfaces::All));
    bench.run(SECOND);
    bench.change(VIP, Some(Interfaces::Only(["eth0".to_owned()].into())));
    assert!(bench.answers());
    bench.run(SECOND);
    assert_eq!(bench.asked.len(), 3);
    bench.change(VIP, None);
    bench.change(VIP, Some(Interfaces::All));
    assert!(!bench.answers());
    bench.run(SECOND);
    assert_eq!((bench.asked.len(), bench.answers()), (6, true));
}

#[test]
fn a_withdrawal_ends_the_questions() {
    let mut bench = Bench::new(1);
    bench.change(VIP, Some(Interfaces::All));
    bench.change(VIP, None);
    bench.run(20 * SECOND);
    assert_eq!((bench.asked.len(), bench.announced.len()), (1, 0));
    assert!(!bench.answers());
}

#[test]
fn what_is_told_about_the_address_ends_the_questions() {
    for (event, answers) in [
        (Event::Yield(VIP.into()), false),
        (Event::Resume(VIP.into()), true),
        (Event::Defend(VIP.into()), true),
    ] {
        let mut bench = Bench::new(1);
        bench.change(VIP, Some(Interfaces::All));
        bench.feed(event);
        assert_eq!(bench.answers(), answers);
        // Of the yielded one it is asked later whether the other is there.
        bench.run(SECOND / 20);
        assert_eq!((bench.asked.len(), bench.answers()), (1, answers));
    }
}

#[test]
fn what_is_not_announced_yet_needs_no_successor() {
    let mut bench = Bench::new(1);
    bench.change(VIP, Some(Interfaces::All));
    bench.feed(Event::HandOver);
    assert!(bench.core.is_handed_over());
    bench.run(SECOND);
    assert!(bench.announced.is_empty());
}

#[test]
fn a_thousand_addresses_are_asked_about_in_slices() {
    let mut bench = Bench::new(1);
    let many = (0..1000_u32).map(|n| (Ipv4Addr::from_bits(0x0a00_0000 + n).into(), Some(Interfaces::All)));
    bench.feed(Event::Changed(many.collect()));
    let mut slices = 0;
    while bench.core.next_deadline().is_some_and(|due| due <= *START) {
        let before = bench.asked.len();
        bench.feed(Event::Tick);
        assert!(bench.asked.len() - before <= 64);
        slices += 1;
    }
    assert!(slices >= 15, "{slices}");
    assert_eq!(bench.asked.len(), 1000);
}
