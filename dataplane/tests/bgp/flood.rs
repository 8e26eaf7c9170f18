//! A router that sends far more than anybody asked for.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use metallb_bgp::wire::{AsPath, Attribute, Message, Origin, Update};
use metallb_dataplane::bgp::MessageType;

use crate::{
    eventually,
    neighbour::in_namespace,
    router::{ROUTER_ASN, Router},
    session, speaker,
};

const ROUTES: u32 = 1_000_000;
const IN_ONE_UPDATE: u32 = 800;
/// Far less than the routes would take, which is twenty octets each at the very least.
const SLACK: usize = 4 << 20;

/// How many octets of memory this process has in use.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn update(first: u32) -> Message {
    let host = |n: u32| Ipv4Net::new(Ipv4Addr::from(0x1400_0000 + n), 32).unwrap();
    Message::Update(Update {
        withdrawn: vec![],
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence([ROUTER_ASN])),
            Attribute::NextHop(Ipv4Addr::LOCALHOST),
        ],
        announced: (first..first + IN_ONE_UPDATE).map(host).collect(),
    })
}

// BGP-82
pub(crate) fn a_million_routes_of_the_router_take_no_memory() {
    // In a process of its own, where nothing else takes memory.
    in_namespace(async {
        let router = Router::listen().await;
        let handle = speaker(router.peer("r"), vec![]);
        let mut line = router.establish().await;
        let state = session(&handle, "r", |state| state.up).await;
        let mut sent = 0;
        let mut before = 0;
        for first in (0..ROUTES).step_by(IN_ONE_UPDATE as usize) {
            line.send(&update(first)).await;
            sent += 1;
            if sent == 100 {
                // Buffers have their size by now.
                before = resident();
            }
        }
        eventually("all of them", || {
            let received = state.counters.received(MessageType::Update);
            (received == sent).then_some(()).ok_or(received)
        })
        .await;
        let grown = resident().saturating_sub(before);
        println!("{ROUTES} routes in {sent} messages took {grown} octets");
        assert!(grown < SLACK, "{grown} octets");
        assert!(handle.sessions().borrow()["r"].up);
    });
}
