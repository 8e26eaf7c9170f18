//! How long a user waits: from creating a Service to its address, to the first ARP frame and the first BGP route that
//! name it, in the lab; and what the components weigh meanwhile. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-judges --bench latency`

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use metallb_net::{Instruction, PacketSocket};
use metallb_test_support::harness::{Test, main as run};
use metallb_test_support::{ClusterKind, Inside, Lab, Options, RouterKind, Steps};
use serde_json::json;

use metallb_judges::figures::{report, weigh};

const ROUNDS: usize = 40;
const ETH_P_ARP: u16 = 0x0806;
/// The filter program `ret 65535`: the socket is open for nothing else than ARP already.
const ACCEPT_ALL: Instruction = Instruction {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 65535,
};
/// Where the sender's protocol address stands in an ARP frame.
const SENDER: std::ops::Range<usize> = 28..32;

fn main() -> ExitCode {
    run(&[Test {
        name: "latency",
        on: ClusterKind::EMBEDDED,
        skip: || None,
        body: latency,
    }])
}

fn latency(inside: Inside, options: Options) -> Pin<Box<dyn Future<Output = Result<()>>>> {
    Box::pin(async move {
        let lab = Lab::start(
            inside,
            &Options {
                router: RouterKind::Builtin,
                ..options
            },
        )
        .await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        let began = Instant::now();
        steps.create_metallb().await?;
        println!("MetalLB created to all ready: {:?} (goal 2 s)", began.elapsed());
        steps.configure().await?;
        steps.start_backends().await?;
        let (mut address, mut arp, mut route) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let layer2 = create(&lab, &format!("l2-{round}"), "layer2", Wait::Arp).await?;
            let bgp = create(&lab, &format!("bgp-{round}"), "bgp", Wait::Route).await?;
            address.extend([layer2.address, bgp.address]);
            arp.push(layer2.announced);
            route.push(bgp.announced);
        }
        report("Service created to address in status", address, 20);
        report("Service created to first ARP frame", arp, 50);
        report("Service created to route in the router's kernel", route, 50);
        for program in ["metallb-operator", "metallb-controller", "metallb-speaker"] {
            weigh(program)?;
        }
        lab.stop().await;
        Ok(())
    })
}

#[derive(Clone, Copy)]
enum Wait {
    Arp,
    Route,
}

struct Took {
    address: Duration,
    announced: Duration,
}

/// Creates a Service, waits for its address and its first announcement, and deletes it.
async fn create(lab: &Lab, name: &str, pool: &str, wait: Wait) -> Result<Took> {
    let api: Api<Service> = Api::namespaced(lab.kube(), "default");
    let socket = lab.topology().client.run(|| PacketSocket::open(ETH_P_ARP))??;
    socket.set_filter(&[ACCEPT_ALL])?;
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut changes = api.watch(&only, "0").await?.boxed();
    let service = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"metallb.io/address-pool": pool}},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))?;
    let began = Instant::now();
    api.create(&PostParams::default(), &service).await?;
    let ip = loop {
        match changes.try_next().await?.context("the watch ended")? {
            WatchEvent::Added(service) | WatchEvent::Modified(service) => {
                if let Some(ip) = ingress(&service) {
                    break ip;
                }
            }
            _ => {}
        }
    };
    let address = began.elapsed();
    match wait {
        Wait::Arp => first_arp(&socket, ip).await?,
        Wait::Route => while lab.router().next_hops(ip.into()).await?.is_empty() {},
    }
    let announced = began.elapsed();
    api.delete(name, &DeleteParams::default()).await?;
    Ok(Took { address, announced })
}

fn ingress(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.as_ref()?.parse().ok()
}

async fn first_arp(socket: &PacketSocket, ip: Ipv4Addr) -> Result<()> {
    let mut frame = [0; 128];
    loop {
        socket.receive(&mut frame).await?;
        if frame.get(SENDER) == Some(&ip.octets()[..]) {
            return Ok(());
        }
    }
}
