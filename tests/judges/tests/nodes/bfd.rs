//! BFD between the speaker's pod, with the user, capabilities and seccomp profile that it ships with, and FRR's bfdd.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use metallb_api::BGPSessionState;
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps, apply, wait_for};
use metallb_tests::Outcome;
use metallb_tests::metrics::{Reader, value};

use crate::processes;

const MANIFEST: &str = include_str!("../../../../manifests/metallb-native.yaml");
const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(120);
const ROUTER: &str = "172.30.0.2";
/// The router's address on its other side. BGP is not spoken there, but BFD is, over several hops.
const FAR: &str = "172.31.0.1";
const CONFIG: &str = include_str!("../../../../lab/manifests/config.yaml");
const TIMERS: &str = "holdTime: 3s\n  keepaliveTime: 1s";
const WATCHED: &str = "holdTime: 90s\n  keepaliveTime: 30s\n  bfdProfile: usual";
/// Far above the detection time, to tell the two apart on a slow machine.
const HOLD: Duration = Duration::from_secs(90);
/// 3 × 300 ms, at both ends.
const DETECTION: Duration = Duration::from_millis(900);
/// Echo mode needs a packet socket (NET_RAW).
const OBJECTS: &str = "
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: usual, namespace: metallb-system}
spec: {receiveInterval: 300, transmitInterval: 300, echoMode: true, echoInterval: 300}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: far, namespace: metallb-system}
spec: {minimumTtl: 250}
";
/// Over several hops, which needs UDP port 4784.
const FAR_PEER: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: far, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64502, peerAddress: 172.31.0.1, ebgpMultiHop: true, bfdProfile: far}
";

// BGP-84, BGP-86, BGP-88, BGP-95
pub(crate) fn from_pods(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 1,
            router: RouterKind::Frr,
            ..options
        };
        let shell = inside.dir.join("router/run");
        let lab = Lab::start(inside, &options).await?;
        let (client, steps) = (lab.kube(), Steps::new(&lab));
        apply(&client, MANIFEST).await?;
        steps.deployment_available(NAMESPACE, "controller").await?;
        steps.speakers_ready().await?;
        ensure!(CONFIG.contains(TIMERS), "the lab's configuration has other timers");
        let config = format!("{OBJECTS}---\n{}", CONFIG.replace(TIMERS, WATCHED));
        wait_for("the configuration to be accepted", PATIENCE, async || {
            Ok(apply(&client, &config).await.ok())
        })
        .await?;
        steps.start_backends().await?;
        let address = steps.create_services().await?.bgp;
        let first = says(&client, "Established", "up").await;
        first.with_context(|| vtysh(&shell, &["show bfd peers"]).unwrap_or_else(|error| error.to_string()))?;
        far_too(&shell, lab.topology().nodes[0].address)?;
        apply(&client, FAR_PEER).await?;
        steps.next_hops(address, 1).await?;
        wait_for("the UDP ports of BFD to be open", PATIENCE, async || {
            Ok(listens()?.then_some(()))
        })
        .await?;
        let reader = Reader::new(&client).await?;
        works(&lab, &reader).await?;

        let silent = Silence::of(&lab)?;
        let began = Instant::now();
        steps.next_hops(address, 0).await?;
        let took = began.elapsed();
        println!("the router had no route {took:.2?} after it fell silent; BFD's detection time is {DETECTION:?}");
        ensure!(took < HOLD / 3, "that was not BFD");
        says(&client, "Active", "down").await?;
        cease(&client).await?;
        silent.end()?;
        steps.next_hops(address, 1).await.context("not silent any more")?;
        says(&client, "Established", "up").await?;
        works(&lab, &reader).await?;
        let text = reader.read(lab.topology().nodes[0].address).await?;
        for peer in [ROUTER, FAR] {
            let downs = value(&text, &series("bfd_session_down_events", peer));
            ensure!(downs.is_some_and(|downs| downs >= 1.0), "{peer}: {downs:?} times down");
        }
        lab.stop().await;
        Ok(())
    })
}

/// Has the router watch the node from its other side, with BFD alone.
fn far_too(shell: &Path, node: Ipv4Addr) -> Result<()> {
    let peer = format!("peer {node} multihop local-address {FAR}");
    let lines = ["configure terminal", "bfd", &peer, "no shutdown"];
    vtysh(shell, &lines).map(drop)
}

fn vtysh(shell: &Path, lines: &[&str]) -> Result<String> {
    let mut vtysh = Command::new("vtysh");
    vtysh.arg("--vty_socket").arg(shell);
    let ran = vtysh.args(lines.iter().flat_map(|line| ["-c", *line])).output();
    let ran = ran.context("cannot start vtysh")?;
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    ensure!(ran.status.success(), "vtysh: {text}");
    Ok(text)
}

/// Waits until the BGPSessionState of the router's session has these states.
async fn says(client: &Client, bgp: &str, bfd: &str) -> Result<()> {
    let states: Api<BGPSessionState> = Api::namespaced(client.clone(), NAMESPACE);
    let mut last = None;
    let waited = wait_for(&format!("BGP {bgp} and BFD {bfd}"), PATIENCE, async || {
        let all = states.list(&ListParams::default()).await?.items;
        let mut statuses = all.into_iter().filter_map(|state| state.status);
        last = statuses.find(|status| status.peer == ROUTER);
        let right = last
            .as_ref()
            .is_some_and(|status| status.bgp_status == bgp && status.bfd_status == bfd);
        Ok(right.then_some(()))
    })
    .await;
    waited.with_context(|| format!("it says {last:?}"))
}

/// Tells whether the UDP ports of RFC 5881 and RFC 5883 are open on the node.
fn listens() -> Result<bool> {
    let speakers = processes::called("/speaker")?;
    let [speaker] = speakers.as_slice() else {
        anyhow::bail!("speakers: {speakers:?}")
    };
    let table = fs::read_to_string(format!("/proc/{speaker}/net/udp"))?;
    let local = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    let ports: BTreeSet<u16> = local
        .filter_map(|address| u16::from_str_radix(address.split_once(':')?.1, 16).ok())
        .collect();
    Ok([3784, 4784].iter().all(|port| ports.contains(port)))
}

/// Waits until the metrics say that both sessions are up and that BFD packets and echoes are sent and received.
async fn works(lab: &Lab, reader: &Reader) -> Result<()> {
    let node = lab.topology().nodes[0].address;
    let mut last = String::new();
    let waited = wait_for("the series of BFD", PATIENCE, async || {
        let text = reader.read(node).await?;
        let of = |name: &str, peer: &str| value(&text, &series(name, peer)).unwrap_or_default();
        let counted = [
            "control_packet_input",
            "control_packet_output",
            "echo_packet_input",
            "echo_packet_output",
            "session_up_events",
        ];
        let up = of("bfd_session_up", ROUTER) == 1.0 && of("bgp_session_up", &format!("{ROUTER}:179")) == 1.0;
        let counts = counted.iter().all(|name| of(&format!("bfd_{name}"), ROUTER) > 0.0);
        let far = of("bfd_session_up", FAR) == 1.0 && of("bfd_control_packet_input", FAR) > 0.0;
        last = text;
        Ok((up && counts && far).then_some(()))
    })
    .await;
    waited.with_context(|| {
        let lines = last.lines().filter(|line| line.starts_with("metallb_b"));
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn series(name: &str, peer: &str) -> String {
    format!("metallb_{name}{{peer=\"{peer}\"}}")
}

/// An event on the BGPPeer says that the session was ended with Cease 6/10 (RFC 9384).
async fn cease(client: &Client) -> Result<()> {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    wait_for("an event that the session ended with 6/10", PATIENCE, async || {
        let all = events.list(&ListParams::default()).await?.items;
        let told = all.iter().any(|event| {
            let note = event.note.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some("SessionDown") && note.contains("6/10")
        });
        Ok(told.then_some(()))
    })
    .await
}

/// Drops everything that the router sends or forwards, but nothing that it receives.
struct Silence<'a>(&'a Lab);

impl<'a> Silence<'a> {
    fn of(lab: &'a Lab) -> Result<Self> {
        let chain = "type filter hook postrouting priority 0; policy drop;";
        nft(
            lab,
            &format!("add table inet silence; add chain inet silence out {{ {chain} }}"),
        )?;
        Ok(Self(lab))
    }

    fn end(self) -> Result<()> {
        nft(self.0, "delete table inet silence")
    }
}

fn nft(lab: &Lab, commands: &str) -> Result<()> {
    let ran = lab
        .topology()
        .router
        .run(|| Command::new("nft").arg(commands).output())?;
    let ran = ran.context("cannot start nft")?;
    ensure!(ran.status.success(), "nft: {}", String::from_utf8_lossy(&ran.stderr));
    Ok(())
}
