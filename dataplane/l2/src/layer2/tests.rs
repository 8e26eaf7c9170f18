mod releases;
mod unattended;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use proptest::{collection::vec, prelude::*};
use smoltcp::wire::EthernetAddress;

use super::*;
use crate::{
    Conflict, Form, Instruction, Link, Report,
    arp::gratuitous,
    filter::tests::run,
    ndp::{
        self,
        tests::{Message, OURS},
    },
};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const CLIENT: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x50]);
const SUCCESSOR: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x60]);
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);

fn vip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, n)
}

fn link(index: u32, mac: u8) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        mac: EthernetAddress([2, 0, 0, 0, 0, mac]),
        carrier_ups: 1,
        link_local: None,
    }
}

fn selection(links: Vec<Link>) -> Selection {
    Selection {
        own_macs: links.iter().map(|link| link.mac).collect(),
        links,
        ..Selection::default()
    }
}

fn only(names: &[&str]) -> Option<Interfaces> {
    Some(Interfaces::Only(names.iter().map(|name| (*name).to_owned()).collect()))
}

/// A core with its clock, and what the kernel has: filters and groups.
struct Bench {
    core: Core,
    now: Instant,
    filters: BTreeMap<Protocol, Vec<Instruction>>,
    groups: BTreeSet<(u32, Ipv6Addr)>,
    told: Vec<Conflict>,
    sent: Vec<(u32, IpAddr, Purpose)>,
    largest: usize,
}

impl Bench {
    fn new(links: Vec<Link>) -> Self {
        let mut bench = Self {
            core: Core::new(None, 1),
            now: *START,
            filters: BTreeMap::new(),
            groups: BTreeSet::new(),
            told: Vec::new(),
            sent: Vec::new(),
            largest: 0,
        };
        bench.feed(Event::Links(selection(links)));
        bench
    }

    fn feed(&mut self, event: Event<'_>) {
        let actions = self.core.handle(self.now, event);
        self.largest = self.largest.max(actions.len());
        for action in actions {
            match action {
                Action::Filter { protocol, program } => drop(self.filters.insert(protocol, program)),
                Action::Join { ifindex, group } => assert!(self.groups.insert((ifindex, group)), "joined twice"),
                Action::Leave { ifindex, group } => assert!(self.groups.remove(&(ifindex, group)), "left twice"),
                Action::Send {
                    ifindex, ip, purpose, ..
                } => self.sent.push((ifindex, ip, purpose)),
                Action::Conflict(conflict) => self.told.push(conflict),
                Action::Found { .. } | Action::ClaimsEnded(_) | Action::Count(_) => {}
            }
        }
    }

    fn change(&mut self, ip: impl Into<IpAddr>, wanted: Option<Interfaces>) {
        self.feed(Event::Changed(vec![(ip.into(), wanted)]));
    }

    /// Works through what needs no time.
    fn settle(&mut self) {
        while self.core.next_deadline().is_some_and(|due| due <= self.now) {
            self.feed(Event::Tick);
        }
    }

    /// Which hardware address is told to a client that asks, if any.
    fn ask(&mut self, ifindex: u32, ip: impl Into<IpAddr>) -> Option<EthernetAddress> {
        let ip = ip.into();
        let question = match ip {
            IpAddr::V4(v4) => {
                let mut request = gratuitous(Form::Request, CLIENT, v4);
                request[28..32].copy_from_slice(&CLIENT_IP.octets());
                request
            }
            IpAddr::V6(target) => Message {
                to: ndp::solicited_node(target),
                target,
                ..Message::default()
            }
            .frame(),
        };
        let answer = self.hear(ifindex, &question)?;
        Some(EthernetAddress::from_bytes(&answer[6..12]))
    }

    /// What is answered to a frame that the filter lets pass.
    fn hear(&mut self, ifindex: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.filters.values().any(|program| run(program, bytes)) {
            return None;
        }
        let packet_type = PacketType::Multicast;
        let packet_type = if bytes[0] == 0xff {
            PacketType::Broadcast
        } else {
            packet_type
        };
        let frame = Event::Frame {
            ifindex,
            packet_type,
            bytes,
        };
        self.core
            .handle(self.now, frame)
            .into_iter()
            .find_map(|action| match action {
                Action::Send { frame, .. } => Some(frame.to_vec()),
                _ => None,
            })
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn hear_claim(&mut self, ip: Ipv4Addr, mac: EthernetAddress) {
        let bytes = &gratuitous(Form::Request, mac, ip);
        self.feed(Event::Frame {
            ifindex: 1,
            packet_type: PacketType::Broadcast,
            bytes,
        });
    }

    fn bursts(&self) -> usize {
        self.sent
            .iter()
            .filter(|(.., purpose)| *purpose == Purpose::Gratuitous)
            .count()
    }
}

fn pools(count: u32) -> Vec<(IpAddr, Option<Interfaces>)> {
    let address = |n: u32| Ipv4Addr::from(0x0A00_0000 + n).into();
    (0..count).map(|n| (address(n), Some(Interfaces::All))).collect()
}

#[test]
fn a_long_list_of_changes_is_worked_through_in_slices_with_answers_in_between() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.feed(Event::Changed(pools(10_000)));
    let early = Ipv4Addr::from(0x0A00_0000);
    assert!(bench.ask(1, early).is_some(), "the first slice is in force");
    assert!(
        bench.ask(1, Ipv4Addr::from(0x0A00_0000 + 9_999)).is_none(),
        "the last is not yet"
    );
    bench.settle();
    assert!(bench.ask(1, Ipv4Addr::from(0x0A00_0000 + 9_999)).is_some());
    assert!(bench.largest <= SLICE, "{} actions at a time", bench.largest);
}

#[test]
fn one_change_among_ten_thousand_addresses_sends_and_compiles_only_for_itself() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.feed(Event::Changed(pools(9_990)));
    while let Some(due) = bench.core.next_deadline() {
        bench.now = bench.now.max(due);
        bench.feed(Event::Tick);
    }
    bench.now += Duration::from_secs(1);
    bench.sent.clear();
    bench.filters.clear();
    bench.change(Ipv4Addr::from(0x0A00_0000 + 9_990), Some(Interfaces::All));
    assert_eq!(bench.bursts(), 2);
    assert!(
        bench.filters.is_empty(),
        "its neighbours have brought it into the filter"
    );
    bench.change(Ipv4Addr::from(0xC0A8_0001), Some(Interfaces::All));
    let program = &bench.filters[&Protocol::Arp];
    assert!(program.len() < 100, "{} instructions", program.len());
}

#[test]
fn the_deltas_of_one_list_take_effect_in_order() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    let ip = vip(1).into();
    bench.feed(Event::Changed(vec![(ip, Some(Interfaces::All)), (ip, None)]));
    assert_eq!(bench.ask(1, vip(1)), None);
    bench.feed(Event::Changed(vec![(ip, None), (ip, Some(Interfaces::All))]));
    assert!(bench.ask(1, vip(1)).is_some());
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_the_same_address() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.feed(Event::Changed(vec![(
        vip(1).to_ipv6_mapped().into(),
        Some(Interfaces::All),
    )]));
    assert!(bench.ask(1, vip(1)).is_some());
}

#[test]
fn an_address_is_answered_until_its_successor_is_heard() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.feed(Event::Changed(
        [1, 2].map(|n| (vip(n).into(), Some(Interfaces::All))).to_vec(),
    ));
    bench.feed(Event::HandOver);
    assert!(bench.ask(1, vip(1)).is_some());
    bench.hear_claim(vip(1), SUCCESSOR);
    assert!(!bench.core.is_handed_over());
    assert_eq!(bench.ask(1, vip(1)), None);
    assert!(bench.ask(1, vip(2)).is_some());
    bench.hear_claim(vip(2), EthernetAddress([2, 0, 0, 0, 0, 1]));
    assert!(bench.ask(1, vip(2)).is_some(), "a frame of our own is no claim");
    bench.hear_claim(vip(2), SUCCESSOR);
    assert!(bench.core.is_handed_over());
}

#[test]
fn handing_over_says_nothing_unasked_and_takes_nothing_new() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.change(vip(1), Some(Interfaces::All));
    bench.feed(Event::HandOver);
    bench.sent.clear();
    bench.change(vip(2), Some(Interfaces::All));
    bench.feed(Event::Reannounce);
    bench.feed(Event::Links(selection(vec![link(1, 7)])));
    bench.hear_claim(vip(1), CLIENT);
    assert_eq!(bench.core.next_deadline(), None);
    assert_eq!(bench.sent, []);
    assert_eq!(bench.ask(1, vip(2)), None);
}

#[test]
fn what_is_withdrawn_or_heard_nowhere_need_not_be_handed_over() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.change(vip(1), Some(Interfaces::All));
    bench.change(vip(2), only(&["eth9"]));
    bench.feed(Event::HandOver);
    assert!(!bench.core.is_handed_over());
    bench.change(vip(1), None);
    assert!(bench.core.is_handed_over());
}

#[test]
fn a_long_list_is_handed_over_in_slices_with_answers_in_between() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    let elsewhere = pools(10_000).into_iter().map(|(ip, _)| (ip, only(&["eth9"])));
    bench.feed(Event::Changed(elsewhere.collect()));
    bench.settle();
    bench.feed(Event::HandOver);
    let left = bench.core.table.addresses().count();
    assert!(left >= 9_000, "{left} are left after the first slice");
    assert_eq!(bench.core.next_deadline(), Some(bench.now), "it goes on at once");
    bench.settle();
    assert!(bench.core.is_handed_over());
}

#[test]
fn without_addresses_all_is_handed_over_at_once() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    assert!(!bench.core.is_handed_over());
    bench.feed(Event::HandOver);
    assert!(bench.core.is_handed_over());
}

fn vip6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100 + u16::from(n))
}

fn speaking(index: u32, mac: u8) -> Link {
    Link {
        link_local: Some(OURS),
        ..link(index, mac)
    }
}

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);

// L2-52
#[test]
fn the_group_of_an_address_is_joined_once_and_left_with_the_last_address() {
    let twin: Ipv6Addr = "2001:db8:7::100".parse().unwrap();
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    bench.change(twin, Some(Interfaces::All));
    assert_eq!(bench.groups, [(1, GROUP)].into());
    bench.change(vip6(0), None);
    assert_eq!(bench.groups, [(1, GROUP)].into());
    bench.change(twin, None);
    assert_eq!(bench.groups, [].into());
}

// L2-53
#[test]
fn an_interface_that_appears_joins_every_group_and_bursts_and_one_that_goes_leaves_them() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    bench.run(Duration::from_secs(60));
    bench.sent.clear();
    bench.feed(Event::Links(selection(vec![speaking(1, 1), speaking(2, 2)])));
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.groups, [(1, GROUP), (2, GROUP)].into());
    assert_eq!(bench.sent, [(2, vip6(0).into(), Purpose::Gratuitous); 5]);
    bench.feed(Event::Links(selection(vec![speaking(2, 2)])));
    assert_eq!(bench.groups, [(2, GROUP)].into());
}

// L2-54
#[test]
fn a_gain_is_told_by_five_advertisements() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    assert_eq!(bench.sent, [(1, vip6(0).into(), Purpose::Gratuitous)]);
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.sent.len(), 5);
}

// L2-56
#[test]
fn a_unicast_solicitation_is_answered() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    let message = Message {
        destination: EthernetAddress([2, 0, 0, 0, 0, 1]),
        from: "fe80::50".parse().unwrap(),
        to: vip6(0),
        options: Vec::new(),
        ..Message::default()
    };
    assert!(bench.hear(1, &message.frame()).is_some());
    let to_another = Message {
        destination: SUCCESSOR,
        ..message
    };
    assert!(bench.hear(1, &to_another.frame()).is_none());
}

// L2-59
#[test]
fn a_probe_by_another_host_is_answered_to_all_nodes_and_is_a_conflict() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    let answer = bench.hear(1, &Message::probe().frame()).unwrap();
    assert_eq!(answer[..6], [0x33, 0x33, 0, 0, 0, 1]);
    bench.run(Duration::from_secs(2));
    let ip = vip6(0).into();
    let (ifindex, mac, report) = (1, CLIENT, Report::Confirmed);
    assert_eq!(
        bench.told,
        [Conflict {
            ip,
            ifindex,
            mac,
            report
        }]
    );
}

fn advertisement_of_a_successor() -> Vec<u8> {
    ndp::unsolicited(SUCCESSOR, OURS, vip6(0)).to_vec()
}

#[test]
fn an_advertisement_by_another_host_is_a_conflict() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    assert_eq!(bench.hear(1, &advertisement_of_a_successor()), None);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.told.len(), 1);
}

#[test]
fn an_ipv6_address_is_handed_over_to_who_uses_it_not_to_who_probes_for_it() {
    let mut bench = Bench::new(vec![speaking(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    bench.feed(Event::HandOver);
    assert_eq!(bench.groups, [(1, GROUP)].into());
    assert!(bench.hear(1, &Message::probe().frame()).is_some());
    assert!(!bench.core.is_handed_over());
    bench.hear(1, &advertisement_of_a_successor());
    assert!(bench.core.is_handed_over());
    bench.feed(Event::Tick);
}

// L2-60
#[test]
fn without_a_link_local_address_ipv6_waits_for_one_and_ipv4_does_not_mind() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    bench.change(vip6(0), Some(Interfaces::All));
    bench.change(vip(1), Some(Interfaces::All));
    bench.run(Duration::from_secs(60));
    assert_eq!((bench.ask(1, vip6(0)), bench.groups.len()), (None, 0));
    assert_eq!(bench.sent.len(), 10);
    bench.sent.clear();
    bench.feed(Event::Links(selection(vec![speaking(1, 1)])));
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.sent, [(1, vip6(0).into(), Purpose::Gratuitous); 5]);
    assert!(bench.ask(1, vip6(0)).is_some());
    bench.feed(Event::Links(selection(vec![link(1, 1)])));
    assert_eq!((bench.ask(1, vip6(0)), bench.groups.len()), (None, 0));
}

/// Both families, by number.
fn address(n: u8) -> IpAddr {
    if n.is_multiple_of(2) {
        vip(n).into()
    } else {
        vip6(n / 4).into()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<(u8, Option<Interfaces>)>),
    Links(Vec<Link>),
    Reannounce,
    Wait(u16),
    Settle,
}

fn interfaces() -> impl Strategy<Value = Option<Interfaces>> {
    prop_oneof![
        2 => Just(None),
        2 => Just(Some(Interfaces::All)),
        3 => proptest::sample::subsequence(vec!["eth1", "eth2", "eth3"], 0..=3).prop_map(|names| only(&names)),
    ]
}

fn links() -> impl Strategy<Value = Vec<Link>> {
    let index = proptest::sample::subsequence(vec![1_u32, 2, 3], 0..=3);
    (index, 1_u8..4, vec(any::<bool>(), 4)).prop_map(|(indexes, mac, speaks)| {
        let mac = |index: u32| mac * 16 + u8::try_from(index).unwrap();
        let link = |index: u32| Link {
            link_local: speaks[index as usize].then_some(OURS),
            ..link(index, mac(index))
        };
        indexes.into_iter().map(link).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => vec((any::<u8>(), interfaces()), 0..200).prop_map(Step::Change),
        5 => vec((0_u8..8, interfaces()), 0..4).prop_map(Step::Change),
        2 => links().prop_map(Step::Links),
        1 => Just(Step::Reannounce),
        1 => any::<u16>().prop_map(Step::Wait),
        2 => Just(Step::Settle),
    ]
}

/// What should be answered, said plainly.
#[derive(Default)]
struct Model {
    announced: BTreeMap<IpAddr, Interfaces>,
    links: Vec<Link>,
}

impl Model {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Change(changes) => {
                for (n, wanted) in changes {
                    match wanted {
                        Some(interfaces) => drop(self.announced.insert(address(*n), interfaces.clone())),
                        None => drop(self.announced.remove(&address(*n))),
                    }
                }
            }
            Step::Links(links) => self.links.clone_from(links),
            Step::Reannounce | Step::Wait(_) | Step::Settle => {}
        }
    }

    fn answer(&self, ip: IpAddr, ifindex: u32) -> Option<EthernetAddress> {
        let link = self.links.iter().find(|link| link.index == ifindex)?;
        let interfaces = self.announced.get(&ip)?;
        let here = interfaces.contains(&link.name) && (ip.is_ipv4() || link.link_local.is_some());
        here.then_some(link.mac)
    }

    fn pairs(&self) -> BTreeSet<(u32, IpAddr)> {
        let all = self
            .links
            .iter()
            .flat_map(|link| self.announced.keys().map(|ip| (link.index, *ip)));
        all.filter(|(index, ip)| self.answer(*ip, *index).is_some()).collect()
    }

    fn groups(&self) -> BTreeSet<(u32, Ipv6Addr)> {
        let group = |(index, ip)| match ip {
            IpAddr::V6(ip) => Some((index, ndp::solicited_node(ip))),
            IpAddr::V4(_) => None,
        };
        self.pairs().into_iter().filter_map(group).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_is_answered_and_told_where_is_what_a_naive_model_says(steps in vec(step(), 0..20)) {
        let mut bench = Bench::new(Vec::new());
        let mut model = Model::default();
        for step in steps {
            model.take(&step);
            match step {
                Step::Change(changes) => {
                    let changes = changes.into_iter().map(|(n, wanted)| (address(n), wanted)).collect();
                    bench.feed(Event::Changed(changes));
                }
                Step::Links(links) => bench.feed(Event::Links(selection(links))),
                Step::Reannounce => bench.feed(Event::Reannounce),
                Step::Wait(millis) => {
                    bench.now += Duration::from_millis(millis.into());
                    bench.feed(Event::Tick);
                }
                Step::Settle => bench.settle(),
            }
        }
        bench.settle();
        for n in 0..=u8::MAX {
            for ifindex in 1..=3 {
                let ip = address(n);
                prop_assert_eq!(bench.ask(ifindex, ip), model.answer(ip, ifindex), "{} on {}", ip, ifindex);
            }
        }
        prop_assert_eq!(&bench.groups, &model.groups());
        bench.sent.clear();
        bench.feed(Event::Reannounce);
        while let Some(due) = bench.core.next_deadline() {
            bench.now = bench.now.max(due);
            bench.feed(Event::Tick);
        }
        let told: BTreeSet<(u32, IpAddr)> = bench.sent.iter().map(|(index, ip, _)| (*index, *ip)).collect();
        prop_assert_eq!(told, model.pairs());
    }
}
