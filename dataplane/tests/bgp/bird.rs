//! BIRD as the router.

use std::{path::Path, process::Command};

use metallb_bgp::{LargeCommunity, Offer, RemoteAs};
use metallb_dataplane::bgp::{Attributes, MessageType, PeerConfig};
use metallb_test_runner::skip;
use tempfile::TempDir;

use crate::{
    eventually, gone, host_routes,
    neighbour::{Neighbour, in_namespace},
    route, route_with, session, speaker,
};

const BIRD: &str = "/usr/sbin/bird";

pub(crate) struct Bird {
    _neighbour: Neighbour,
    folder: TempDir,
}

impl Bird {
    /// Starts a router at 10.0.0.2 and fd00::2 with this text in its BGP protocol; skips the test if BIRD is not there.
    pub(crate) fn start(text: &str) -> Self {
        Self::start_with(text, "")
    }

    /// Like [`Bird::start`], with this text in its IPv4 channel.
    pub(crate) fn start_with(text: &str, channel: &str) -> Self {
        if !Path::new(BIRD).exists() {
            skip("BIRD is not installed");
        }
        let mut neighbour = Neighbour::new(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.2/24", "fd00::2/64"]);
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let config = format!(
            "router id 10.0.0.2;\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n\
             protocol bgp speaker {{ passive on; {text} ipv4 {{ {channel} import all; export none; }}; \
             ipv6 {{ import all; export none; }}; }}\n"
        );
        std::fs::write(path("bird.conf"), config).unwrap();
        neighbour.start(
            BIRD,
            &[
                "-f",
                "-c",
                &path("bird.conf"),
                "-s",
                &path("control"),
                "-P",
                &path("pid"),
            ],
        );
        Self {
            _neighbour: neighbour,
            folder,
        }
    }

    pub(crate) fn birdc(&self, command: &str) -> String {
        let control = self.folder.path().join("control");
        let output = Command::new("birdc")
            .arg("-s")
            .arg(control)
            .arg(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) async fn shows(&self, command: &str, wanted: &[&str]) {
        let what = format!("{wanted:?} in {command}");
        eventually(&what, || {
            let answer = self.birdc(command);
            let complete = wanted.iter().all(|text| answer.contains(text));
            complete.then_some(()).ok_or(answer)
        })
        .await;
    }
}

pub(crate) const IPV4: &str = "local 10.0.0.2 as 64501; neighbor 10.0.0.1 as 64500;";

pub(crate) fn peer() -> PeerConfig {
    PeerConfig::new("bird", 64500, RemoteAs::External, "10.0.0.2".parse().unwrap())
}

// BGP-57, BGP-62, BGP-64
pub(crate) fn bird_learns_both_families_with_their_communities() {
    in_namespace(async move {
        let bird = Bird::start(IPV4);
        let large = LargeCommunity {
            global: 64500,
            data1: 1,
            data2: 2,
        };
        let colours = Attributes {
            communities: [64500 << 16 | 7].into(),
            large_communities: [large].into(),
            ..Attributes::default()
        };
        let coloured = route_with("192.168.0.1/32", colours);
        let dual = PeerConfig {
            dual_stack: true,
            ..peer()
        };
        let handle = speaker(dual, vec![coloured, route("2001:db8::1/128")]);
        session(&handle, "bird", |state| state.up).await;
        let details = ["BGP.as_path: 64500", "next_hop: 10.0.0.1", "(64500,7)", "(64500, 1, 2)"];
        bird.shows("show route 192.168.0.1/32 all", &details).await;
        bird.shows("show route 2001:db8::1/128 all", &["next_hop: fd00::1"])
            .await;
        handle.shutdown().await;
        bird.shows("show protocols all speaker", &["Administrative shutdown"])
            .await;
    });
}

// BGP-57, BGP-61
pub(crate) fn bird_takes_an_ipv6_session() {
    in_namespace(async move {
        let text = "local fd00::2 as 64501; neighbor fd00::1 as 64500;";
        let bird = Bird::start(text);
        let six = PeerConfig {
            address: "fd00::2".parse().unwrap(),
            ..peer()
        };
        let handle = speaker(six, vec![route("2001:db8::1/128")]);
        session(&handle, "bird", |state| state.up).await;
        bird.shows("show route 2001:db8::1/128 all", &["BGP.next_hop: fd00::1 fe80::"])
            .await;
    });
}

// BGP-45
pub(crate) fn bird_without_four_octet_numbers_understands_the_path() {
    in_namespace(async move {
        let text = format!("{IPV4} enable as4 off;");
        let bird = Bird::start(&text);
        let handle = speaker(peer(), vec![route("192.168.0.1/32")]);
        session(&handle, "bird", |state| state.up).await;
        bird.shows("show route 192.168.0.1/32 all", &["BGP.as_path: 64500"])
            .await;
    });
}

// BGP-47
pub(crate) fn bird_without_four_octet_numbers_learns_a_long_one() {
    in_namespace(async move {
        let bird = Bird::start("local 10.0.0.2 as 64501; neighbor 10.0.0.1 external; enable as4 off;");
        let long = PeerConfig {
            my_asn: 4_200_000_000,
            ..peer()
        };
        let handle = speaker(long, vec![route("192.168.0.1/32")]);
        session(&handle, "bird", |state| state.up).await;
        // It puts AS_TRANS in AS_PATH and what AS4_PATH says together.
        bird.shows("show route 192.168.0.1/32 all", &["BGP.as_path: 4200000000"])
            .await;
    });
}

// BGP-58
pub(crate) fn bird_takes_fifteen_hundred_prefixes_in_one_extended_update_each_way() {
    in_namespace(async move {
        let text = format!("{IPV4} enable extended messages on;");
        let bird = Bird::start(&text);
        let offer = Offer {
            extended_message: true,
            ..Offer::default()
        };
        let handle = speaker(PeerConfig { offer, ..peer() }, host_routes(1500));
        session(&handle, "bird", |state| state.up).await;
        // The connected network is the one more.
        bird.shows("show route count", &["1501 of 1501"]).await;
        handle.change_routes(gone(host_routes(1500)));
        eventually("an empty table", || {
            let table = bird.birdc("show route protocol speaker");
            (!table.contains("192.168.")).then_some(()).ok_or(table)
        })
        .await;
        assert_eq!(handle.sessions().borrow()["bird"].counters.sent(MessageType::Update), 2);
        assert!(handle.sessions().borrow()["bird"].up);
    });
}
