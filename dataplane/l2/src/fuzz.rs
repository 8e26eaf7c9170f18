//! The bodies of the fuzz targets in `tests/fuzz`, which stable tests call, too.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use smoltcp::wire::EthernetAddress;

use crate::{
    Action, Core, Event, Interfaces, Link, PacketType, Purpose, Selection, arp,
    frame::Message,
    ndp::{self, Kind},
};

const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// An event of a script is a kind, an argument, and with a frame its length.
const EVENTS: usize = 256;

/// Reads bytes as a frame, and as the ARP message that they would be with its EtherType; who asks is answered rightly.
///
/// # Panics
/// When it is not.
pub fn arp(bytes: &[u8]) {
    let _ = Message::parse(bytes);
    let mut frame = bytes.to_vec();
    if let Some(ether_type) = frame.get_mut(12..14) {
        ether_type.copy_from_slice(&[8, 6]);
    }
    let Ok(Message::Arp(request)) = Message::parse(&frame) else {
        return;
    };
    let Ok(Message::Arp(reply)) = Message::parse(&arp::reply(MAC, &request)) else {
        panic!("the answer to {request:?} is no ARP message");
    };
    assert_eq!(
        (reply.source, reply.sender, reply.destination),
        (MAC, MAC, request.sender)
    );
    assert_eq!(
        (reply.sender_ip, reply.target_ip),
        (request.target_ip, request.sender_ip)
    );
}

/// Reads bytes as a frame, and as the neighbour discovery message that they would be if its fixed parts were right; who
/// asks is answered rightly.
///
/// # Panics
/// When it is not.
pub fn ndp(bytes: &[u8]) {
    let _ = Message::parse(bytes);
    let mut frame = bytes.to_vec();
    ndp::mend(&mut frame);
    let Ok(Message::Ndp(question)) = Message::parse(&frame) else {
        return;
    };
    if question.kind != Kind::Solicitation {
        return;
    }
    let Ok(Message::Ndp(answer)) = Message::parse(&ndp::answer(MAC, LINK_LOCAL, &question)) else {
        panic!("the answer to {question:?} is no valid message");
    };
    assert_eq!((answer.kind, answer.target), (Kind::Advertisement, question.target));
    assert_eq!((answer.source, answer.sender), (MAC, MAC));
}

/// Has a core take in a script of frames, commands and waits after `start`; it never answers for an address that is
/// silent or not announced, and speaks in its own name only.
///
/// # Panics
/// When it does not.
pub fn core(start: Instant, mut script: &[u8]) {
    let mut run = Run::new(start);
    for _ in 0..EVENTS {
        let [kind, argument, rest @ ..] = script else { break };
        script = rest;
        let ip: IpAddr = if argument % 2 == 0 { VIP.into() } else { VIP6.into() };
        let event = match kind % 9 {
            0 => Event::Changed(vec![(ip, Some(Interfaces::All))]),
            1 => Event::Changed(vec![(ip, None)]),
            2 => Event::Yield(ip),
            3 => Event::Resume(ip),
            4 => Event::Defend(ip),
            5 => Event::Probe([192, 0, 2, *argument].into()),
            6 => {
                run.wait(Duration::from_millis(u64::from(*argument) * 50));
                continue;
            }
            _ => {
                let (bytes, rest) = script.split_at(script.len().min(usize::from(*argument)));
                script = rest;
                run.hear(*kind, bytes);
                continue;
            }
        };
        run.note(&event);
        run.feed(event);
    }
    run.wait(Duration::from_secs(100));
}

struct Run {
    core: Core,
    now: Instant,
    /// Whether the two addresses may be answered.
    answered: [bool; 2],
    held: [bool; 2],
}

impl Run {
    fn new(start: Instant) -> Self {
        let link = Link {
            index: 1,
            name: "eth0".to_owned(),
            mac: MAC,
            carrier_ups: 1,
            link_local: Some(LINK_LOCAL),
        };
        let mut run = Self {
            core: Core::new(Some(Duration::from_secs(60)), 1),
            now: start,
            answered: [false; 2],
            held: [false; 2],
        };
        run.feed(Event::Links(Selection {
            own_macs: [MAC].into(),
            links: vec![link],
            ..Selection::default()
        }));
        run
    }

    fn note(&mut self, event: &Event<'_>) {
        let (ip, answered) = match event {
            Event::Changed(changes) => {
                let (ip, wanted) = &changes[0];
                let at = usize::from(ip.is_ipv6());
                let was = std::mem::replace(&mut self.held[at], wanted.is_some());
                (*ip, wanted.is_some() && (self.answered[at] || !was))
            }
            Event::Yield(ip) => (*ip, false),
            Event::Resume(ip) | Event::Defend(ip) => (*ip, self.held[usize::from(ip.is_ipv6())]),
            _ => return,
        };
        self.answered[usize::from(ip.is_ipv6())] = answered;
    }

    /// Once as it is, and once as a frame of neighbour discovery that is right as far as it can be mended.
    fn hear(&mut self, kind: u8, bytes: &[u8]) {
        let packet_type = [
            PacketType::Host,
            PacketType::Broadcast,
            PacketType::Multicast,
            PacketType::Other,
        ][usize::from(kind >> 6)];
        let mut mended = bytes.to_vec();
        ndp::mend(&mut mended);
        for bytes in [bytes, &mended] {
            self.feed(Event::Frame {
                ifindex: 1,
                packet_type,
                bytes,
            });
        }
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(self.now, event) {
            let Action::Send { ip, purpose, frame, .. } = action else {
                continue;
            };
            assert_eq!(frame[6..12], *MAC.as_bytes());
            if purpose != Purpose::Probe {
                assert!([VIP.into(), VIP6.into()].contains(&ip), "{ip} was never announced");
                assert!(self.answered[usize::from(ip.is_ipv6())], "{ip} is silent");
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.feed(Event::Tick);
        }
        self.now = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{arp::Form, gratuitous, ndp::tests::Message as Question};

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; its value does not matter"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// Real frames, spoilt in one place.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let claim = gratuitous(Form::Request, EthernetAddress([2, 0, 0, 0, 0, 9]), VIP);
        let mut request = claim.clone();
        request[28..32].copy_from_slice(&[192, 0, 2, 50]);
        let solicitation = Question::default().frame();
        let probe = Question::probe().frame();
        let advertisement = ndp::unsolicited(EthernetAddress([2, 0, 0, 0, 0, 9]), LINK_LOCAL, VIP6).to_vec();
        let frames = prop_oneof![
            Just(claim),
            Just(request),
            Just(solicitation),
            Just(probe),
            Just(advertisement),
            vec(any::<u8>(), 0..200),
        ];
        let spoilt = (frames, any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
        spoilt.prop_map(|(mut frame, at, value, spoil)| {
            if spoil && !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            frame
        })
    }

    fn event() -> impl Strategy<Value = Vec<u8>> {
        let heard = (prop_oneof![Just(7_u8), Just(71), Just(134), Just(8)], frame());
        let heard = heard.prop_map(|(kind, frame)| {
            let len = u8::try_from(frame.len()).unwrap();
            [vec![kind, len], frame].concat()
        });
        prop_oneof![2 => heard, 1 => (0_u8..7, any::<u8>()).prop_map(|(kind, argument)| vec![kind, argument])]
    }

    proptest! {
        #[test]
        fn decoders_stand_any_frame(bytes in frame()) {
            arp(&bytes);
            ndp(&bytes);
        }

        #[test]
        fn the_core_stands_any_script(script in vec(event(), 0..40)) {
            core(start(), &script.concat());
        }
    }
}
