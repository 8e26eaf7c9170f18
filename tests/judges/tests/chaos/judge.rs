//! What must never be seen, watched all the time, from outside: the API server itself, the router, and a client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

use crate::frames::Wire;
use crate::world::{World, ingress};

/// How often the router is looked at.
const ROUTES: Duration = Duration::from_millis(20);
/// How often a client asks for the layer-2 address.
const REQUESTS: Duration = Duration::from_millis(250);
/// How often somebody asks who has it.
const QUESTIONS: Duration = Duration::from_millis(100);
/// So long nobody answers for other reasons than a machine that is busy with builds.
const SILENCE: Duration = Duration::from_secs(5);
/// So many requests in a row, of two seconds each, fail for other reasons than a machine that is busy with builds.
const MISSES: usize = 3;

/// What was seen that must not be; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Findings(Arc<Mutex<BTreeMap<String, usize>>>);

impl Findings {
    fn add(&self, what: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(what).or_insert(0) += 1;
    }

    /// Fails if there are any.
    pub(crate) fn none(&self) -> Result<()> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = all.iter().map(|(what, count)| format!("{what} ({count}×)")).collect();
        bail!("seen, and must not be:\n  {}", lines.join("\n  "))
    }
}

/// Watches until it is dropped or fails.
pub(crate) async fn watch(world: &World, findings: &Findings) {
    tokio::join!(
        addresses(world.client(), findings),
        routes(world, findings),
        layer2(world, findings),
        frames(world, findings)
    );
}

/// No address moves, and no two Services have the same.
async fn addresses(client: Client, findings: &Findings) {
    let mut has: BTreeMap<String, (String, Ipv4Addr)> = BTreeMap::new();
    let events = watcher::watcher(Api::<Service>::all(client), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(service) | Event::InitApply(service)) => judge(&mut has, &service, findings),
            Ok(Event::Delete(service)) => drop(has.remove(&service.uid().unwrap_or_default())),
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
    }
}

fn judge(has: &mut BTreeMap<String, (String, Ipv4Addr)>, service: &Service, findings: &Findings) {
    let (uid, name) = (service.uid().unwrap_or_default(), service.name_any());
    let before = has.get(&uid).map(|(_, address)| *address);
    let Some(now) = ingress(service) else {
        if let Some(before) = before {
            findings.add(format!("{name} lost {before}"));
        }
        return;
    };
    if before.is_some_and(|before| before != now) {
        findings.add(format!("{name} moved from {before:?} to {now}"));
    }
    if let Some((other, _)) = has
        .iter()
        .find(|(other, (_, address))| **other != uid && *address == now)
        .map(|(_, o)| o)
    {
        findings.add(format!("{now} is of {name} and of {other}"));
    }
    has.insert(uid, (name, now));
}

/// The route of the Service that nobody touches is there, by every node.
async fn routes(world: &World, findings: &Findings) {
    let prefix = world.pinned.bgp.into();
    loop {
        match world.lab.router().next_hops(prefix).await {
            Ok(hops) if hops.len() == world.nodes() => {}
            Ok(hops) => findings.add(format!("the route of the untouched Service was by {hops:?} only")),
            Err(error) => findings.add(format!("the router's routes cannot be read: {error:#}")),
        }
        tokio::time::sleep(ROUTES).await;
    }
}

/// The layer-2 address of the Service that nobody touches is answered, by the same node.
async fn layer2(world: &World, findings: &Findings) {
    let (client, address) = (world.lab.client(), world.pinned.layer2);
    let (mut by, mut misses) = (BTreeSet::new(), 0);
    loop {
        let began = Instant::now();
        match client.get_as_stranger(address, 80).await {
            Ok(reply) => {
                by.insert(reply.via);
                misses = 0;
            }
            Err(error) => {
                misses += 1;
                if misses == MISSES {
                    findings.add(format!("the untouched layer-2 Service did not answer: {error:#}"));
                }
            }
        }
        if by.len() > 1 {
            findings.add(format!("the untouched layer-2 Service went from node to node: {by:?}"));
            by.clear();
        }
        tokio::time::sleep(REQUESTS.saturating_sub(began.elapsed())).await;
    }
}

/// Whoever asks who has that address is told, always by the same node, and nobody else ever claims it.
async fn frames(world: &World, findings: &Findings) {
    if let Err(error) = answers(world, findings).await {
        findings.add(format!("the client's wire cannot be watched: {error:#}"));
    }
}

async fn answers(world: &World, findings: &Findings) -> Result<()> {
    let wire = Wire::open(&world.lab.topology().client, "eth0").await?;
    let address = world.pinned.layer2;
    let (mut owner, mut heard) = (None, Instant::now());
    loop {
        let asked = Instant::now();
        wire.ask(address)?;
        while let Ok(told) = timeout(QUESTIONS.saturating_sub(asked.elapsed()), wire.told(address)).await {
            let mac = told?;
            if owner.replace(mac).is_some_and(|before| before != mac) {
                findings.add("the untouched layer-2 address was claimed by another node".into());
            }
            heard = Instant::now();
        }
        if heard.elapsed() > SILENCE {
            findings.add(format!("nobody claimed the untouched layer-2 address for {SILENCE:?}"));
            heard = Instant::now();
        }
    }
}
