//! Asking who has an address, for a second opinion about a node that is silent elsewhere.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::{
    arp,
    event::{Action, Purpose},
    frame::Message,
    interfaces::Link,
    ndp::{self, Kind},
    table::{Place, Table},
};

/// How long an answer is listened for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Highest number of addresses asked about at a time; each widens the kernel's filter.
const MOST: usize = 64;

/// Addresses that are asked about, and until when.
#[derive(Debug, Default)]
pub(crate) struct Probes(BTreeMap<IpAddr, Instant>);

impl Probes {
    /// Listens for an answer from now on; says whether it did not before.
    pub(crate) fn begin(&mut self, now: Instant, ip: IpAddr) -> bool {
        if self.0.len() >= MOST && !self.0.contains_key(&ip) {
            return false;
        }
        self.0.insert(ip, now + PATIENCE).is_none()
    }

    /// Removes addresses whose time is over.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<IpAddr> {
        self.0
            .extract_if(.., |_, until| *until <= now)
            .map(|(ip, _)| ip)
            .collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Another host says that it has an address that is asked about.
    pub(crate) fn answered(&self, table: &Table, message: &Message) -> Option<Action> {
        let (ip, mac) = match message {
            Message::Arp(arp) if arp.operation == ArpOperation::Reply => (arp.sender_ip.into(), arp.sender),
            Message::Ndp(ndp) if ndp.kind == Kind::Advertisement => (ndp.target.into(), ndp.sender),
            Message::Arp(_) | Message::Ndp(_) => return None,
        };
        (self.0.contains_key(&ip) && !table.is_own(mac)).then_some(Action::Found { ip, mac })
    }
}

/// One question on each interface that can ask it.
pub(crate) fn questions(table: &Table, ip: IpAddr) -> impl Iterator<Item = Action> {
    table.links().filter_map(move |link| question(link, ip, None))
}

/// One question on each interface where `ip` is silent, to everybody there.
pub(crate) fn questions_where_silent(table: &Table, ip: IpAddr) -> impl Iterator<Item = Action> {
    let silent = move |link: &&Link| table.place(ip, link) == Place::Silent;
    table
        .links()
        .filter(silent)
        .filter_map(move |link| question(link, ip, None))
}

/// The question to one host on one interface, so that the segment hears nothing of it; without one to everybody.
pub(crate) fn questions_to(
    table: &Table,
    ip: IpAddr,
    whom: Option<(u32, EthernetAddress)>,
) -> impl Iterator<Item = Action> {
    let asks = move |link: &&Link| whom.is_none_or(|(ifindex, _)| link.index == ifindex);
    let mac = whom.map(|(_, mac)| mac);
    table
        .links()
        .filter(asks)
        .filter_map(move |link| question(link, ip, mac))
}

fn question(link: &Link, ip: IpAddr, to: Option<EthernetAddress>) -> Option<Action> {
    let mut frame = match ip {
        IpAddr::V4(v4) => arp::probe(link.mac, v4),
        IpAddr::V6(v6) => ndp::solicitation(link.mac, link.link_local?, v6),
    };
    if let Some(to) = to {
        // RFC 6085 lets a multicast packet go to one host.
        frame[..6].copy_from_slice(to.as_bytes());
    }
    Some(Action::Send {
        ifindex: link.index,
        ip,
        purpose: Purpose::Probe,
        frame,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::{Core, Event, Instruction, Interfaces, PacketType, Protocol, Selection, filter::tests::run};

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// A node with one interface.
    fn node(number: u8) -> Core {
        let mut core = Core::new(None, 1);
        let link = Link {
            index: 1,
            name: "eth0".into(),
            mac: EthernetAddress([2, 0, 0, 0, 0, number]),
            carrier_ups: 1,
            link_local: Some([0xfe80, 0, 0, 0, 0, 0, 0, number.into()].into()),
        };
        let selection = Selection {
            own_macs: [link.mac].into(),
            links: vec![link],
            ..Selection::default()
        };
        core.handle(*START, Event::Links(selection));
        core
    }

    fn frame(actions: &[Action]) -> Option<Vec<u8>> {
        actions.iter().find_map(|action| match action {
            Action::Send { frame, .. } => Some(frame.to_vec()),
            _ => None,
        })
    }

    fn filter(actions: &[Action]) -> Option<(Protocol, Vec<Instruction>)> {
        actions.iter().find_map(|action| match action {
            Action::Filter { protocol, program } => Some((*protocol, program.clone())),
            _ => None,
        })
    }

    fn hear(core: &mut Core, packet_type: PacketType, bytes: &[u8]) -> Vec<Action> {
        let ifindex = 1;
        core.handle(
            *START,
            Event::Frame {
                ifindex,
                packet_type,
                bytes,
            },
        )
    }

    // L2-75
    #[test]
    fn a_node_that_answers_is_found_and_one_that_does_not_is_not() {
        for ip in ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let (mut asker, mut owner, mut other) = (node(1), node(2), node(3));
            owner.handle(*START, Event::Changed(vec![(ip, Some(Interfaces::All))]));
            let asked = asker.handle(*START, Event::Probe(ip));
            let question = frame(&asked).unwrap();
            let kind = if ip.is_ipv4() {
                PacketType::Broadcast
            } else {
                PacketType::Multicast
            };
            assert_eq!(frame(&hear(&mut other, kind, &question)), None);
            let heard = hear(&mut owner, kind, &question);
            assert!(!heard.iter().any(|action| matches!(action, Action::Conflict(_))));
            let answer = frame(&heard).unwrap();
            let (protocol, program) = filter(&asked).unwrap();
            assert_eq!(protocol, Protocol::of(ip));
            assert!(run(&program, &answer), "the kernel shows it");
            let found = hear(&mut asker, PacketType::Host, &answer);
            let mac = EthernetAddress([2, 0, 0, 0, 0, 2]);
            assert!(found.contains(&Action::Found { ip, mac }), "{found:?}");
            let late = asker.handle(*START + PATIENCE, Event::Tick);
            let (_, program) = filter(&late).unwrap();
            assert!(!run(&program, &answer), "nobody listens for it any more");
            assert!(!hear(&mut asker, PacketType::Host, &answer).contains(&Action::Found { ip, mac }));
        }
    }

    #[test]
    fn an_address_that_is_announced_here_is_not_asked_about() {
        let (mut core, ip) = (node(1), "192.0.2.1".parse().unwrap());
        core.handle(*START, Event::Changed(vec![(ip, Some(Interfaces::All))]));
        assert_eq!(core.handle(*START, Event::Probe(ip)), []);
    }

    #[test]
    fn the_question_teaches_nobody_anything() {
        let question = arp::probe(EthernetAddress([2, 0, 0, 0, 0, 1]), [192, 0, 2, 1].into());
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1,
        ];
        assert_eq!(question[..42], expected);
    }
}
