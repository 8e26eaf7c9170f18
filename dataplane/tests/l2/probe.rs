//! Asking Linux who has an address.

use std::{net::IpAddr, time::Duration};

use metallb_l2::EthernetAddress;
use metallb_test_runner::in_namespace;
use tokio::time::timeout;

use crate::{
    Node, ipv6,
    segment::{CLIENT_MAC, PATIENCE},
};

/// As a node asks whether its default gateway is there; it has no address of its own for it.
pub(crate) fn linux_answers_who_has_its_addresses() {
    in_namespace(async {
        let segment = ipv6::segment();
        let node = Node::start();
        node.usable(&["node0"]).await;
        let mut found = node.l2.found();
        for ip in ["192.0.2.50", "2001:db8::50", "fe80::50"] {
            let ip: IpAddr = ip.parse().unwrap();
            // The shell may hear of its interfaces after the one who asks.
            let answer = async {
                loop {
                    node.l2.probe(ip);
                    if let Ok(answer) = timeout(Duration::from_millis(600), found.recv()).await {
                        break answer.unwrap();
                    }
                }
            };
            let answer = timeout(PATIENCE, answer).await.unwrap();
            assert_eq!((answer.ip, answer.mac), (ip, EthernetAddress(CLIENT_MAC)));
        }
        assert!(
            segment.client("ip neigh show 0.0.0.0").is_empty(),
            "the question teaches nobody"
        );
    });
}
