//! How the components treat the API server, counted at the proxy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::PostParams;
use metallb_test_support::faults::{Request, Tally, Verb};

use crate::world::{Pool, World, service, wait_for};

/// How long nothing happens: long enough for every watch to be begun anew, on the API server that counts.
const REST: Duration = Duration::from_secs(60);
/// The same on the one in memory.
const SHORT_REST: Duration = Duration::from_secs(20);
/// How long a component may take to come to rest.
const SETTLE: Duration = Duration::from_secs(3);
/// The operator asks for its rights after its start, without haste; whoever says nothing for so long is done.
const SILENT: Duration = Duration::from_secs(3);
const PREFLIGHT: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(20);
/// How many Services are created to see what one costs.
const SERVICES: usize = 10;
/// How many Services are created in a row to see whether somebody holds requests back.
const BURST: usize = 200;
/// The limit of a list that asks only whether a kind is there.
const PROBE: u32 = 1;

/// Measures all of it, and prints the table.
pub(crate) async fn measure(world: &World) -> Result<()> {
    at_rest(world).await?;
    per_service(world).await?;
    unthrottled(world).await?;
    per_restart(world).await
}

/// Nothing is written, but for renewals of Leases, and nothing is listed.
async fn at_rest(world: &World) -> Result<()> {
    wait_for("the end of questions about rights", PREFLIGHT, async || {
        Ok(all_asked(world))
    })
    .await?;
    world.faults.forget();
    let rest = if world.real { REST } else { SHORT_REST };
    tokio::time::sleep(rest).await;
    let requests = world.faults.requests();
    let tally = Tally::of(&requests);
    println!("etiquette: at rest for {rest:?}\n{tally}");
    let writes = tally.writes();
    ensure!(writes.is_empty(), "written at rest: {}", writes.join(", "));
    let lists = tally.count(|_, verb, _| verb == Verb::List);
    ensure!(lists == 0, "{lists} lists at rest");
    bookmarked(&requests)
}

fn all_asked(world: &World) -> Option<()> {
    let requests = world.faults.requests();
    let last = requests
        .iter()
        .rfind(|request| request.group == "authorization.k8s.io")?;
    (last.at.elapsed() > SILENT).then_some(())
}

/// Every watch asks for bookmarks and goes on where the last one ended.
fn bookmarked(requests: &[Request]) -> Result<()> {
    let watches = requests.iter().filter(|request| request.verb == Verb::Watch);
    for watch in watches {
        let who = format!("{} of {}", watch.resource, watch.caller.component);
        ensure!(watch.bookmarks, "the watch {who} asks for no bookmarks");
        let from = watch.resource_version.as_deref();
        ensure!(
            from.is_some_and(|version| !version.is_empty() && version != "0"),
            "the watch {who} begins anew"
        );
    }
    Ok(())
}

async fn per_service(world: &World) -> Result<()> {
    world.faults.forget();
    let names: Vec<String> = (0..SERVICES).map(|number| format!("polite-{number}")).collect();
    for name in &names {
        world.create(name, Pool::Layer2).await?;
    }
    for name in &names {
        world.assigned(name, PATIENCE).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let created = Tally::of(&world.faults.requests());
    println!("etiquette: {SERVICES} layer-2 Services created\n{created}");
    let written = created.count(|who, verb, what| who == "controller" && verb.writes() && what == "services/status");
    // The address, and once it is announced, that it is.
    let polite = SERVICES..=2 * SERVICES;
    ensure!(
        polite.contains(&written),
        "{written} status writes for {SERVICES} Services"
    );
    let lists = created.count(|who, verb, _| who == "controller" && verb == Verb::List);
    ensure!(
        lists == 0,
        "the controller listed {lists} times for Services it was told about"
    );
    for name in &names {
        world.delete(name).await?;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

/// Addresses are written about as fast as Services are created: nobody holds requests back. The limits that are usual in
/// Go, 5 or 20 requests a second, would take 40 or 9 seconds.
async fn unthrottled(world: &World) -> Result<()> {
    world.faults.forget();
    let names: Vec<String> = (0..BURST).map(|number| format!("many-{number}")).collect();
    let began = Instant::now();
    for name in &names {
        let silent = service(name, Pool::Bgp, false)?;
        world.services().create(&PostParams::default(), &silent).await?;
    }
    let created = began.elapsed();
    for name in &names {
        world.assigned(name, PATIENCE).await?;
    }
    let requests = world.faults.requests();
    let writes = requests
        .iter()
        .filter(|request| request.resource == "services/status" && request.caller.component == "controller");
    let last = writes.map(|request| request.at).max().context("no write")?;
    let written = last.duration_since(began);
    println!("etiquette: {BURST} Services created in {created:.1?}, their addresses written in {written:.1?}");
    ensure!(written < created * 2 + SETTLE, "somebody holds requests back");
    for name in &names {
        world.delete(name).await?;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

/// A new pod lists every kind once, then watches. Whoever begins to assign looks once more what is there, without the
/// contents, because a list may come from a cache that is behind.
async fn per_restart(world: &World) -> Result<()> {
    for component in ["controller", "speaker"] {
        world.faults.forget();
        world.restart(component).await?;
        tokio::time::sleep(SETTLE).await;
        let mut requests = world.faults.requests();
        requests.retain(|request| request.caller.component == component);
        println!("etiquette: {component} restarted\n{}", Tally::of(&requests));
        once_each(&requests)?;
    }
    Ok(())
}

fn once_each(requests: &[Request]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let lists = requests.iter().filter(|request| request.verb == Verb::List);
    for list in lists.filter(|list| list.limit != Some(PROBE)) {
        let Request { caller, resource, .. } = list;
        let what = (
            &caller.pod,
            &list.group,
            resource,
            &list.namespace,
            &list.selector,
            list.metadata_only,
        );
        ensure!(seen.insert(what), "{} listed {resource} twice", caller.pod);
        ensure!(
            list.limit.is_some() || list.metadata_only || list.resource_version.as_deref() == Some("0"),
            "{} lists {resource} without limit, and not from the cache",
            caller.pod
        );
    }
    Ok(())
}
