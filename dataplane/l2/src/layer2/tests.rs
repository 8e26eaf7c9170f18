use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::LazyLock,
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Form, Link, arp::gratuitous, filter::tests::run};

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

/// A core with its clock and the filter that the kernel has.
struct Bench {
    core: Core,
    now: Instant,
    filter: Option<Vec<Instruction>>,
    sent: Vec<(u32, IpAddr, Purpose)>,
    largest: usize,
}

impl Bench {
    fn new(links: Vec<Link>) -> Self {
        let mut bench = Self {
            core: Core::new(None, 1),
            now: *START,
            filter: None,
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
                Action::Filter(program) => self.filter = Some(program),
                Action::Send {
                    ifindex, ip, purpose, ..
                } => self.sent.push((ifindex, ip, purpose)),
                Action::Count(_) | Action::Conflict(_) => {}
            }
        }
    }

    fn change(&mut self, ip: Ipv4Addr, wanted: Option<Interfaces>) {
        self.feed(Event::Changed(vec![(ip.into(), wanted)]));
    }

    /// Works through what needs no time.
    fn settle(&mut self) {
        while self.core.next_deadline().is_some_and(|due| due <= self.now) {
            self.feed(Event::Tick);
        }
    }

    /// Which hardware address is told to a client that asks, if any.
    fn ask(&mut self, ifindex: u32, ip: Ipv4Addr) -> Option<EthernetAddress> {
        let mut request = gratuitous(Form::Request, CLIENT, ip);
        request[28..32].copy_from_slice(&CLIENT_IP.octets());
        if !self.filter.as_ref().is_some_and(|program| run(program, &request)) {
            return None;
        }
        let frame = Event::Frame {
            ifindex,
            packet_type: PacketType::Broadcast,
            bytes: &request,
        };
        self.core
            .handle(self.now, frame)
            .into_iter()
            .find_map(|action| match action {
                Action::Send { frame, .. } => Some(EthernetAddress::from_bytes(&frame[6..12])),
                _ => None,
            })
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
    bench.filter = None;
    bench.change(Ipv4Addr::from(0x0A00_0000 + 9_990), Some(Interfaces::All));
    assert_eq!(bench.bursts(), 2);
    assert_eq!(bench.filter, None, "its neighbours have brought it into the filter");
    bench.change(Ipv4Addr::from(0xC0A8_0001), Some(Interfaces::All));
    let program = bench.filter.as_ref().unwrap();
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
fn without_addresses_all_is_handed_over_at_once() {
    let mut bench = Bench::new(vec![link(1, 1)]);
    assert!(!bench.core.is_handed_over());
    bench.feed(Event::HandOver);
    assert!(bench.core.is_handed_over());
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
    (index, 1_u8..4).prop_map(|(indexes, mac)| {
        let mac = |index: u32| mac * 16 + u8::try_from(index).unwrap();
        indexes.into_iter().map(|index| link(index, mac(index))).collect()
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
    announced: BTreeMap<u8, Interfaces>,
    links: Vec<Link>,
}

impl Model {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Change(changes) => {
                for (n, wanted) in changes {
                    match wanted {
                        Some(interfaces) => drop(self.announced.insert(*n, interfaces.clone())),
                        None => drop(self.announced.remove(n)),
                    }
                }
            }
            Step::Links(links) => self.links.clone_from(links),
            Step::Reannounce | Step::Wait(_) | Step::Settle => {}
        }
    }

    fn answer(&self, n: u8, ifindex: u32) -> Option<EthernetAddress> {
        let link = self.links.iter().find(|link| link.index == ifindex)?;
        let interfaces = self.announced.get(&n)?;
        interfaces.contains(&link.name).then_some(link.mac)
    }

    fn pairs(&self) -> BTreeSet<(u32, IpAddr)> {
        let all = self
            .links
            .iter()
            .flat_map(|link| (0..=u8::MAX).map(|n| (link.index, n)));
        all.filter(|(index, n)| self.answer(*n, *index).is_some())
            .map(|(index, n)| (index, vip(n).into()))
            .collect()
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
                    let changes = changes.into_iter().map(|(n, wanted)| (vip(n).into(), wanted)).collect();
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
                prop_assert_eq!(bench.ask(ifindex, vip(n)), model.answer(n, ifindex), "{} on {}", n, ifindex);
            }
        }
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
