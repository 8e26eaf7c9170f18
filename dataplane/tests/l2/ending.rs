//! How the shell ends, and what becomes of the addresses.

use std::{sync::Arc, time::Duration};

use metallb_dataplane::l2;
use metallb_l2::{EthernetAddress, Form, gratuitous};
use metallb_test_runner::in_namespace;
use tokio_util::sync::CancellationToken;

use crate::{
    Node, OTHER_VIP, VIP,
    segment::{CLIENT_MAC, NODE_MAC, Segment, without_capabilities},
};

pub(crate) fn the_shell_ends_when_it_is_stopped() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        node.stop.cancel();
        node.running.await.unwrap().unwrap();
        segment.client("ip neigh flush all");
        segment.client_fails_to_resolve(VIP).await;
    });
}

pub(crate) fn the_shell_ends_with_an_error_when_one_of_its_tasks_panics() {
    in_namespace(async {
        let _segment = Segment::new();
        let node = Node::excluding(|_| panic!("on purpose"));
        let error = node.running.await.unwrap().unwrap_err();
        assert!(matches!(error, l2::Error::Failed(_)), "{error}");
    });
}

pub(crate) fn an_address_is_answered_until_another_host_claims_it() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP, OTHER_VIP]);
        node.withdraw(OTHER_VIP);
        segment.client_resolves(VIP, NODE_MAC).await;
        let claim = gratuitous(Form::Request, EthernetAddress(CLIENT_MAC), VIP.parse().unwrap());
        let handed_over = async {
            node.l2.hand_over().await.done(Duration::from_secs(60)).await;
        };
        let successor = async {
            segment.client("ip neigh flush all");
            segment.client_resolves(VIP, NODE_MAC).await;
            // Linux promises nobody a frame.
            loop {
                segment.inject(vec![claim.clone()]);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = handed_over => {}
            () = successor => {}
        }
        segment.client("ip neigh flush all");
        segment.client_fails_to_resolve(VIP).await;
    });
}

pub(crate) fn handing_over_ends_at_its_limit_and_the_address_is_still_answered() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        node.l2.hand_over().await.done(Duration::from_millis(1)).await;
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
    });
}

// L2-100
pub(crate) fn a_missing_capability_is_named() {
    without_capabilities(async {
        let config = l2::Config {
            exclude: Arc::new(|_| false),
            garp_interval: None,
            check_before_announcing: false,
        };
        let error = l2::start(config, CancellationToken::new()).err().unwrap().to_string();
        assert!(error.contains("needs capability NET_RAW"), "{error}");
    });
}
