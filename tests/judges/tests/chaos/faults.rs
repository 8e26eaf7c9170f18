//! One fault at a time, each with what must be true in spite of it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use metallb_api::IPAddressPool;
use metallb_test_support::faults::{Fault, Rule, Tally, Verb};
use metallb_test_support::{Inside, Options};
use serde_json::json;

use crate::etiquette;
use crate::judge::{self, Findings};
use crate::world::{Outcome, Pool, World, wait_for};

/// How long anything may take that takes a moment.
const SOON: Duration = Duration::from_secs(5);
/// A watch lasts a minute; what it kept from us is seen after the next one began.
const NOTICED: Duration = Duration::from_secs(75);

/// How many kinds the controller watches, at least.
const CONTROLLER_WATCHES: u32 = 5;

type Claim = (
    &'static str,
    for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>,
);

const CLAIMS: &[Claim] = &[
    ("components treat the API server politely", |world| {
        Box::pin(etiquette::measure(world))
    }),
    ("a conflict on a status is looked at again", |world| {
        Box::pin(conflict(world))
    }),
    ("retry-after is respected", |world| Box::pin(retry_after(world))),
    ("a lost answer to a write gives no second address", |world| {
        Box::pin(lost_answer(world))
    }),
    ("410 leads to one list, not to a loop", |world| Box::pin(gone(world))),
    ("watches that end at once lead to no loop", |world| {
        Box::pin(dropped(world))
    }),
    ("a refusal of all writes delays, and nothing else", |world| {
        Box::pin(refused(world))
    }),
    (
        "an expired certificate is reported, and recovered from without a restart",
        |world| Box::pin(expired(world)),
    ),
    ("a write that is never answered is tried again", |world| {
        Box::pin(unanswered(world))
    }),
    (
        "a list of the webhooks that is never answered refuses nobody",
        |world| Box::pin(judged_in_time(world)),
    ),
    ("without API server the lease passes, and comes back", |world| {
        Box::pin(lease(world))
    }),
    (
        "a dead watch is noticed, and a minute without API server changes no announcement",
        |world| Box::pin(dead_and_away(world)),
    ),
];

pub(crate) fn one_by_one(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let world = World::start(inside, options).await?;
        let only = std::env::var("METALLB_CHAOS_CLAIM").unwrap_or_default();
        let mut failed = Vec::new();
        for (name, claim) in CLAIMS.iter().filter(|(name, _)| name.contains(&only)) {
            let (began, findings) = (Instant::now(), Findings::default());
            // Restarts are part of the first claim, and move announcements.
            let judged = tokio::select! {
                claimed = claim(&world) => match *name == CLAIMS[0].0 {
                    true => claimed,
                    false => findings.none().and(claimed),
                },
                () = judge::watch(&world, &findings) => bail!("nobody watches any more"),
            };
            let word = if judged.is_ok() { "ok" } else { "FAILED" };
            println!("faults: {name} ... {word} ({:.1?})", began.elapsed());
            if let Err(error) = judged {
                println!("  {error:#}");
                failed.push(*name);
            }
        }
        world.lab.stop().await;
        ensure!(failed.is_empty(), "not true: {}", failed.join("; "));
        Ok(())
    })
}

/// Creates a Service, waits for its address, and deletes it.
async fn served(world: &World, name: &str, limit: Duration) -> Result<()> {
    world.create(name, Pool::Bgp).await?;
    let address = world.assigned(name, limit).await?;
    world.routed(address, world.nodes(), limit).await?;
    world.delete(name).await?;
    world.routed(address, 0, SOON).await
}

async fn conflict(world: &World) -> Result<()> {
    let rule = Rule::new(Fault::Conflict).writes().times(8);
    let rule = world.faults.inject(rule.resource("services/status"));
    served(world, "conflict", SOON).await?;
    ensure!(rule.hits() == 8, "only {} of 8 conflicts were met", rule.hits());
    Ok(())
}

async fn retry_after(world: &World) -> Result<()> {
    let seconds = 2;
    let busy = Rule::new(Fault::Busy { retry_after: seconds });
    let _rule = world
        .faults
        .inject(busy.of("controller").resource("services/status").times(1));
    world.faults.forget();
    served(world, "busy", SOON).await?;
    let requests = world.faults.requests();
    let mut writes = requests
        .iter()
        .filter(|r| r.caller.component == "controller" && r.resource == "services/status");
    let (first, second) = (
        writes.next().context("no write")?,
        writes.next().context("no second write")?,
    );
    ensure!(
        first.status == Some(429),
        "the first was answered with {:?}",
        first.status
    );
    let waited = second.at - first.at;
    ensure!(
        waited >= Duration::from_secs(seconds.into()),
        "tried again after {waited:?} instead of {seconds} s"
    );
    Ok(())
}

async fn lost_answer(world: &World) -> Result<()> {
    let lost = Rule::new(Fault::LoseAnswer).of("controller").writes();
    let rule = world.faults.inject(lost.resource("services/status").times(3));
    for number in 0..3 {
        served(world, &format!("lost-{number}"), SOON).await?;
    }
    ensure!(rule.hits() == 3, "{} answers were lost", rule.hits());
    Ok(())
}

/// Every running watch is told 410 once.
async fn gone(world: &World) -> Result<()> {
    world.faults.forget();
    let rule = Rule::new(Fault::Gone)
        .verbs(&[Verb::Watch])
        .of("controller")
        .resource("services");
    let rule = world.faults.inject(rule.times(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(rule.hits() == 1, "the watch was not told");
    let tally = world.faults.tally();
    let lists = tally.count(|who, verb, what| who == "controller" && verb == Verb::List && what == "services");
    ensure!(lists == 1, "{lists} lists instead of one");
    served(world, "gone", SOON).await
}

async fn dropped(world: &World) -> Result<()> {
    let rule = world.faults.inject(Rule::new(Fault::DropWatch));
    world.faults.forget();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (pod, peak) = Tally::peak(&world.faults.requests(), Duration::from_secs(1)).context("no requests")?;
    ensure!(peak < 100, "{pod} asked {peak} times within a second");
    drop(rule);
    served(world, "dropped", SOON).await
}

async fn refused(world: &World) -> Result<()> {
    for fault in [Fault::Answer(500), Fault::Answer(503), Fault::Answer(403)] {
        let rule = world.faults.inject(Rule::new(fault.clone()).of("controller").writes());
        world.faults.forget();
        world.create("refused", Pool::Bgp).await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (pod, peak) = Tally::peak(&world.faults.requests(), Duration::from_secs(1)).context("no requests")?;
        ensure!(peak < 50, "{fault}: {pod} asked {peak} times within a second");
        drop(rule);
        let address = world
            .assigned("refused", SOON)
            .await
            .with_context(|| fault.to_string())?;
        world.delete("refused").await?;
        world.routed(address, 0, SOON).await?;
    }
    Ok(())
}

async fn expired(world: &World) -> Result<()> {
    world.faults.expire_certificate();
    let what = "the components to say that the certificate expired";
    let said = wait_for(what, Duration::from_secs(10), async || {
        let controller = world.said("controller", "xpired")?;
        let speaker = world.said("speaker", "xpired")?;
        Ok((!controller.is_empty() && !speaker.is_empty()).then_some(()))
    });
    let said = said.await;
    world.faults.back();
    said?;
    served(world, "expired", SOON).await
}

/// A write is swallowed by the network; its worker does not wait for ever.
async fn unanswered(world: &World) -> Result<()> {
    let dead = Rule::new(Fault::Dead).of("controller").writes();
    let rule = world.faults.inject(dead.resource("services/status").times(1));
    served(world, "unanswered", Duration::from_secs(15)).await?;
    ensure!(rule.hits() == 1, "no write was swallowed");
    Ok(())
}

/// Whoever creates a pool meanwhile is answered before the API server gives the webhooks up.
async fn judged_in_time(world: &World) -> Result<()> {
    let dead = Rule::new(Fault::Dead).of("webhook-server").verbs(&[Verb::List]);
    let rule = world.faults.inject(dead.resource("ipaddresspools").times(1));
    let pools: Api<IPAddressPool> = Api::namespaced(world.client(), "metallb-system");
    let spec = json!({ "addresses": ["192.0.2.0/24"], "autoAssign": false });
    let pool = json!({ "metadata": { "name": "judged" }, "spec": spec });
    pools
        .create(&PostParams::default(), &serde_json::from_value(pool)?)
        .await?;
    pools.delete("judged", &DeleteParams::default()).await?;
    ensure!(rule.hits() == 1, "no list was swallowed");
    Ok(())
}

/// The only controller cannot renew its lease, stops assigning, and assigns again.
async fn lease(world: &World) -> Result<()> {
    let lost = || world.said("controller", "leaderLost").map(|lines| lines.len());
    let before = lost()?;
    let rule = world
        .faults
        .inject(Rule::new(Fault::Refuse).of("controller").resource("leases"));
    wait_for("the controller to step down", Duration::from_secs(20), async || {
        Ok((lost()? > before).then_some(()))
    })
    .await?;
    drop(rule);
    served(world, "elected", SOON).await
}

/// For a minute the speakers have no API server, the watches of the controller are dead, and a list of the operator is
/// swallowed: three troubles that only time shows, at the same time.
async fn dead_and_away(world: &World) -> Result<()> {
    let list = Rule::new(Fault::Dead)
        .of("manager")
        .verbs(&[Verb::List])
        .resource("configmaps");
    let list = world.faults.inject(list.times(1));
    let gone = Rule::new(Fault::Gone)
        .of("manager")
        .verbs(&[Verb::Watch])
        .resource("configmaps");
    let gone = world.faults.inject(gone.times(1));
    let dead = Rule::new(Fault::Dead).of("controller").verbs(&[Verb::Watch]);
    let rule = world.faults.inject(dead);
    wait_for("the controller's watches to die", SOON, async || {
        Ok((rule.hits() >= CONTROLLER_WATCHES).then_some(()))
    })
    .await?;
    drop(rule);
    let dead = async {
        world.create("unseen", Pool::Bgp).await?;
        world.assigned("unseen", NOTICED).await.context("dead watches")
    };
    let away = async {
        let rule = world.faults.inject(Rule::new(Fault::Reset).of("speaker"));
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(rule);
        anyhow::Ok(())
    };
    let (address, ()) = tokio::try_join!(dead, away)?;
    world
        .routed(address, world.nodes(), SOON)
        .await
        .context("after a minute")?;
    world.delete("unseen").await?;
    world.routed(address, 0, SOON).await?;
    ensure!(
        gone.hits() == 1 && list.hits() == 1,
        "no list of the operator was swallowed"
    );
    repaired(world).await
}

/// The operator still sees what happens to its ConfigMaps.
async fn repaired(world: &World) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(world.client(), "metallb-system");
    maps.delete("metallb-excludel2", &DeleteParams::default()).await?;
    wait_for("the ConfigMap to be back", SOON, async || {
        Ok(maps.get_opt("metallb-excludel2").await?.map(drop))
    })
    .await
}
