//! Random faults over a day of churn: whatever the API server does, no promise is broken, and all is well soon after.
//!
//! Each run plays the same day; `METALLB_CHAOS_SEED` plays another, and `METALLB_CHAOS_FAULTS` makes it longer or shorter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use futures::future::join_all;
use metallb_test_support::faults::{Faults, Tally};
use metallb_test_support::{Inside, Options};
use tokio::sync::Mutex;

use crate::churn::Day;
use crate::judge::{self, Findings};
use crate::memory;
use crate::plan::{self, Planned, What};
use crate::world::{Outcome, World};

/// Which day, unless told otherwise.
const SEED: u64 = 1;
/// How many faults, unless told otherwise.
const FAULTS: usize = 200;
/// One fault every so often.
const PACE: Duration = Duration::from_millis(250);
/// One change by users every so often.
const CHURN: Duration = Duration::from_millis(150);
/// All must be well again so long after the last fault.
const CONVERGED: Duration = Duration::from_secs(5);
/// What a component may grow by between a third of the day and its end, in KiB.
const GROWTH: u64 = 8 << 10;
/// The most requests that one pod may send within a second. Sixteen Services with all their statuses and events, made
/// up for after an absence, are about half of it; a loop without backoff sends thousands.
const BUSY: usize = 200;

pub(crate) fn random_faults(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let world = World::start(inside, options).await?;
        let findings = Findings::default();
        let played = tokio::select! {
            played = play(&world) => played,
            () = judge::watch(&world, &findings) => Err(anyhow::anyhow!("nobody watches any more")),
        };
        // What was seen explains more than what was waited for in vain.
        let judged = findings.none().and(played);
        world.lab.stop().await;
        judged
    })
}

fn number(name: &str) -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(name) else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map(Some).with_context(|| format!("{name} is no number"))
}

async fn play(world: &World) -> Result<()> {
    let seed = number("METALLB_CHAOS_SEED")?.unwrap_or(SEED);
    let count = number("METALLB_CHAOS_FAULTS")?.map_or(Ok(FAULTS), usize::try_from)?;
    println!("chaos: seed {seed}, {count} faults (METALLB_CHAOS_SEED plays others)");
    let mut rng = Rng::with_seed(seed);
    let plan = plan::faults(&mut rng, count, PACE);
    let mut day = Day::begin(world, rng).await?;
    world.faults.forget();
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let mut early = BTreeMap::new();
    let (faults, users, ()) = tokio::join!(
        async {
            let played = faults(&world.faults, &plan).await;
            over.store(true, Ordering::Relaxed);
            played
        },
        live(&mut day, &over),
        async {
            tokio::time::sleep(PACE * u32::try_from(count / 3).unwrap_or(u32::MAX)).await;
            early = memory::resident();
        },
    );
    users?;
    let (took, back) = (began.elapsed(), Instant::now());
    let converged = converged(&day, back).await;
    println!("chaos: {} in {took:.1?}; {}", counts(&faults), counts(&day.done));
    println!("chaos: converged {:.1?} after the last fault", back.elapsed());
    converged.with_context(|| format!("with seed {seed}"))?;
    flat(&early)?;
    calm(world, took)
}

/// The users of the cluster.
async fn live(day: &mut Day<'_>, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        day.step().await.context("while users changed something")?;
        tokio::time::sleep(CHURN).await;
    }
    Ok(())
}

/// Plays the plan; returns what was played how often.
async fn faults(faults: &Faults, plan: &[Planned]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    // The API server is away, deaf or out of date for one reason at a time.
    let door = Arc::new(Mutex::new(()));
    let mut running = Vec::new();
    for planned in plan {
        tokio::time::sleep(planned.after).await;
        let what = match planned.what {
            What::Away => "times away",
            What::Deaf => "times deaf",
            What::Expired => "times with an expired certificate",
            What::Rule(_) => "times for some requests",
        };
        *counts.entry(what).or_insert(0) += 1;
        running.push(tokio::spawn(hold(faults.clone(), planned.clone(), door.clone())));
    }
    join_all(running).await;
    counts
}

async fn hold(faults: Faults, planned: Planned, door: Arc<Mutex<()>>) {
    let leave = match planned.what {
        What::Away => Faults::away,
        What::Deaf => Faults::deaf,
        What::Expired => Faults::expire_certificate,
        What::Rule(rule) => {
            let _rule = faults.inject(rule);
            return tokio::time::sleep(planned.lasts).await;
        }
    };
    let _alone = door.lock().await;
    leave(&faults);
    tokio::time::sleep(planned.lasts).await;
    faults.back();
}

/// Waits until everything is as the users want it.
async fn converged(day: &Day<'_>, since: Instant) -> Result<()> {
    loop {
        let unfinished = day.unfinished().await?;
        if unfinished.is_empty() {
            return Ok(());
        }
        ensure!(
            since.elapsed() < CONVERGED,
            "{CONVERGED:?} after the last fault:\n  {}",
            unfinished.join("\n  ")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No process grew, and none was started anew.
fn flat(early: &BTreeMap<(&'static str, u32), u64>) -> Result<()> {
    let late = memory::resident();
    for (process, before) in early {
        let (name, pid) = process;
        let now = late
            .get(process)
            .with_context(|| format!("{name} (process {pid}) has ended"))?;
        println!(
            "chaos: {name} had {} MiB after a third, {} MiB at the end",
            before >> 10,
            now >> 10
        );
        ensure!(*now < before + GROWTH, "{name} grew from {before} KiB to {now} KiB");
    }
    Ok(())
}

/// Nobody asked without end.
fn calm(world: &World, took: Duration) -> Result<()> {
    let requests = world.faults.requests();
    let (pod, peak) = Tally::peak(&requests, Duration::from_secs(1)).context("nobody asked anything")?;
    let average = requests.len() as f64 / took.as_secs_f64();
    println!(
        "chaos: {} requests, {average:.0} a second; at most {peak} within a second, by {pod}",
        requests.len()
    );
    print!("{}", Tally::of(&requests));
    ensure!(peak <= BUSY, "{pod} sent {peak} requests within a second");
    Ok(())
}

fn counts(all: &BTreeMap<&'static str, usize>) -> String {
    let words: Vec<String> = all.iter().map(|(what, count)| format!("{count} {what}")).collect();
    words.join(", ")
}
