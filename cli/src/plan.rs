//! `plan`: what a change would do to addresses, owners, routes and sessions, before anybody makes it.
//!
//! Files are applied one object after the other to a copy of what was read: admission's verdict on each, then the
//! controller's own engine until it is quiet. At the end both states are announced, and what differs is told.

mod announce;
mod change;
mod controller;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use metallb_announce::{NodeView, ServiceView, is_drained};
use metallb_api::names::CONDITION_ALLOCATED;
use metallb_config::{Options, Parsed, Settled, View};
use metallb_ipam::{Key, is_of_class};
use metallb_verdict::{Kind, Rules};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{FailOn, Global, Plan as Asked};
use crate::explain::announcers::Slices;
use crate::facts::Facts;
use crate::input::{self, Failure, Wanted, files};
use crate::lint;
use crate::program::{Printed, print};
use crate::report::{NotSeen, Problem, Report, Severity};
use crate::table::{Style, many};
use crate::world::{self, World};
use announce::{Announced, Owner, Routes, Sessions, Side};
use change::{Effect, Object, State, Wish};
use controller::Controller;

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    plan: Plan,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    objects: Vec<Object>,
    addresses: Vec<Address>,
    /// Services that keep their addresses.
    kept: usize,
    /// Services without an address before and after.
    waiting: usize,
    /// None, as the three that follow, if Nodes are not known.
    owners: Option<Vec<Owner>>,
    sessions: Option<Vec<Sessions>>,
    routes: Option<Vec<Routes>>,
    /// Services that lose or change an address, or have nobody any more who announces it.
    interrupted: BTreeSet<String>,
    /// Objects of kinds that change nothing here.
    skipped: usize,
}

/// What happens to the addresses of a Service.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    service: String,
    before: Vec<IpAddr>,
    after: Vec<IpAddr>,
    effect: Fate,
    /// Why it does not keep or get one.
    text: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
enum Fate {
    Moved,
    Lost,
    Gets,
    /// The Service itself is deleted, or is one of ours no more.
    Released,
}

pub(crate) async fn run(global: &Global, asked: &Asked) -> Printed {
    let texts = files::texts(&asked.files).map_err(Failure::Usage)?;
    let facts = input::read(global, Wanted::Everything).await?;
    let lacking = facts.services.lacks("Services");
    if let Some(text) = lacking.or_else(|| facts.lacks_configuration()) {
        return Err(Failure::Cluster(anyhow!(text)));
    }
    let report = report(&facts, global, asked, &texts).map_err(Failure::Usage)?;
    // As for kubectl diff, a change is something found.
    let report = report.judged(global.fail_on.unwrap_or(FailOn::Warning));
    let style = Style::of(global);
    let text = print(&report, global.output, |style| text::text(&report, style), style);
    Ok((text.map_err(Failure::Usage)?, report.exit_code))
}

fn report(facts: &Facts, global: &Global, asked: &Asked, texts: &[files::Text]) -> Result<Report<Body>> {
    let mut before = World::new(facts, global)?;
    let namespace = world::namespace(facts, global.metallb_namespace.as_deref())?;
    let resources = world::resources(facts, &namespace);
    let options = Options {
        backend: before.settings.backend,
        view: View::Load { node: None },
        ..Options::default()
    };
    let settled = Settled::new(&resources, None, &options);
    let controller = Controller::start(&before.settings, &resources, facts.services.list(), facts.now);
    let rules = Rules {
        namespace,
        backend: before.settings.backend,
        ..Rules::default()
    };
    let services = global
        .namespace
        .as_deref()
        .or(facts.namespace.as_deref())
        .unwrap_or("default");
    let (wishes, skipped) = wishes(facts, asked, texts, [&rules.namespace, services])?;
    let old = controller.services.clone();
    let mut state = State {
        resources,
        controller,
        rules: &rules,
    };
    let objects = state.change(wishes)?;
    let settings = &before.settings;
    let mut plan = Plan {
        objects,
        addresses: Vec::new(),
        kept: 0,
        waiting: 0,
        owners: None,
        sessions: None,
        routes: None,
        interrupted: BTreeSet::new(),
        skipped,
    };
    addresses(&mut plan, &old, &state.controller, &settings.class);
    if facts.nodes.is_known() {
        let after = after(&before, &settled, &state, &options);
        before.parsed = parsed(settled);
        let [before, after] =
            [(&before, &old), (&after, &state.controller.services)].map(|(world, services)| Side { world, services });
        let Announced {
            owners,
            routes,
            sessions,
            silenced,
        } = announce::compare(&before, &after, &Slices::new(facts));
        plan.interrupted.extend(silenced.iter().map(ToString::to_string));
        (plan.owners, plan.sessions, plan.routes) = (Some(owners), Some(sessions), Some(routes));
    }
    let problems = problems(&plan);
    let news = plan
        .objects
        .iter()
        .any(|object| object.effect == Effect::Created && object.object.starts_with("Service "));
    let mut report = Report::new("Plan", facts, Body { plan });
    report.problems = problems;
    report.assumptions.clone_from(&before.assumptions);
    report.assumptions.extend(unquiet(facts, &old));
    if before.settings.backend.is_frr() {
        report
            .assumptions
            .push("FRR ends a session where the native back-end does".to_owned());
    }
    if news {
        report
            .assumptions
            .push("pods of new Services are ready on every node".to_owned());
    }
    report.not_seen = not_seen(facts);
    Ok(report)
}

/// What is to be done, deletions first, and how many objects are nothing to a plan.
fn wishes(facts: &Facts, asked: &Asked, texts: &[files::Text], namespaces: [&str; 2]) -> Result<(Vec<Wish>, usize)> {
    let delete = asked.delete.iter();
    let delete = delete.map(|text| Wish::deletion(text, namespaces).with_context(|| format!("--delete {text}")));
    let mut wishes = delete.collect::<Result<Vec<Wish>>>()?;
    let (mut files, mut skipped) = (Vec::new(), 0);
    for (value, misfits) in lint::objects(texts)? {
        match Wish::read(&value, misfits, namespaces)? {
            Some(wish) => files.push(wish),
            None => skipped += 1,
        }
    }
    ensure!(
        !files.is_empty() || !wishes.is_empty(),
        "there is no object of MetalLB, Service, Node or Namespace in the input"
    );
    if asked.replace_all {
        let known: BTreeSet<String> = files.iter().chain(&wishes).map(Wish::title).collect();
        let all = all(facts, namespaces[0]).filter_map(|text| Wish::deletion(&text, namespaces).ok());
        wishes.extend(all.filter(|wish| !known.contains(&wish.title())));
    }
    wishes.extend(files);
    Ok((wishes, skipped))
}

/// All objects of the configuration, as `--delete` names them.
fn all(facts: &Facts, namespace: &str) -> impl Iterator<Item = String> {
    fn names<K: ResourceExt>(kind: Kind, list: &[K], namespace: &str) -> Vec<String> {
        let ours = list
            .iter()
            .filter(|own| own.meta().namespace.as_ref().is_none_or(|own| own == namespace));
        ours.map(|own| format!("{}/{}", kind.as_str(), own.name_any()))
            .collect()
    }
    let all = [
        names(Kind::IpAddressPool, facts.pools.list(), namespace),
        names(Kind::AddressPool, facts.address_pools.list(), namespace),
        names(Kind::L2Advertisement, facts.l2_advertisements.list(), namespace),
        names(Kind::BgpAdvertisement, facts.bgp_advertisements.list(), namespace),
        names(Kind::BgpPeer, facts.peers.list(), namespace),
        names(Kind::BfdProfile, facts.bfd_profiles.list(), namespace),
        names(Kind::Community, facts.communities.list(), namespace),
    ];
    all.into_iter().flatten()
}

fn parsed(settled: Settled) -> Parsed {
    Parsed {
        config: settled.config,
        refused: settled.refused,
        warnings: settled.warnings,
    }
}

/// The world after the change, as speakers see it that knew the one before.
fn after(before: &World, settled: &Settled, state: &State<'_>, options: &Options) -> World {
    let nodes = &state.resources.nodes;
    let mut settings = before.settings.clone();
    let views: BTreeMap<Arc<str>, NodeView> = nodes
        .iter()
        .map(|node| (node.name_any().into(), NodeView::from(node)))
        .collect();
    if let Some(speakers) = &mut settings.speakers {
        // The speaker of a node goes with it.
        speakers.retain(|node| views.contains_key(node) || !before.nodes.contains_key(node));
    }
    let drained = nodes.iter().filter(|node| is_drained(node.labels()));
    World {
        namespace: before.namespace.clone(),
        parsed: parsed(Settled::new(&state.resources, Some(settled), options)),
        drained: drained.map(|node| node.name_any().into()).collect(),
        nodes: views,
        settings,
        assumptions: Vec::new(),
    }
}

/// Compares what Services of our class have.
fn addresses(plan: &mut Plan, old: &BTreeMap<Key, Arc<Service>>, controller: &Controller, class: &str) {
    let ours = |service: &Arc<Service>| {
        let view = ServiceView::from(&**service);
        (view.load_balancer && is_of_class(service, class)).then(|| view.ingress.into_iter().flatten().collect())
    };
    let new = &controller.services;
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let before: Option<Vec<IpAddr>> = old.get(key).and_then(ours);
        let after: Option<Vec<IpAddr>> = new.get(key).and_then(ours);
        let gone = after.is_none();
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        // Its address was free for a moment, in which others may come first.
        let again = before == after && !after.is_empty() && controller.why.contains_key(key);
        let fate = match (before.is_empty(), after.is_empty()) {
            _ if before == after && !again => {
                plan.kept += usize::from(!after.is_empty());
                plan.waiting += usize::from(after.is_empty() && !gone);
                continue;
            }
            (false, true) if gone => Fate::Released,
            (false, true) => Fate::Lost,
            (true, _) => Fate::Gets,
            (false, false) => Fate::Moved,
        };
        if matches!(fate, Fate::Lost | Fate::Moved) {
            plan.interrupted.insert(key.to_string());
        }
        plan.addresses.push(Address {
            service: key.to_string(),
            text: match fate {
                Fate::Lost => new.get(key).and_then(|service| waits_for(service)),
                Fate::Moved if again => {
                    Some("lost on the way; it gets this one again, or that of another that waits".to_owned())
                }
                Fate::Moved => controller.why.get(key).cloned(),
                Fate::Gets | Fate::Released => None,
            },
            before,
            after,
            effect: fate,
        });
    }
}

/// Why a Service has no address, as its condition says it.
fn waits_for(service: &Service) -> Option<String> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    let own = conditions
        .iter()
        .find(|condition| condition.type_ == CONDITION_ALLOCATED)?;
    Some(own.message.clone())
}

/// Says it if the controller has something to do without any change: the plan is made from what comes of that.
fn unquiet(facts: &Facts, quiet: &BTreeMap<Key, Arc<Service>>) -> Option<String> {
    let ingress = |service: &Service| ServiceView::from(service).ingress;
    let services = facts.services.list().iter();
    let behind = services.filter(|service| {
        quiet
            .get(&Key::of(service))
            .is_some_and(|own| ingress(own) != ingress(service))
    });
    let behind = behind.count();
    let have = if behind == 1 { "has" } else { "have" };
    (behind > 0).then(|| {
        format!(
            "{} {have} first what the controller owes without this change",
            many(behind, "Service")
        )
    })
}

fn not_seen(facts: &Facts) -> Vec<NotSeen> {
    let all = [
        NotSeen::of(&facts.nodes, "nodes", "owners, routes and sessions are not told"),
        NotSeen::of(
            &facts.slices,
            "endpointslices",
            "a ready endpoint on every node is assumed",
        ),
        NotSeen::of(
            &facts.namespaces,
            "namespaces",
            "pools that select namespaces by labels select none",
        ),
    ];
    all.into_iter().flatten().collect()
}

/// What makes the exit code: an effect is a warning, what interrupts or is refused an error.
fn problems(plan: &Plan) -> Vec<Problem> {
    let mut problems = Vec::new();
    for object in plan.objects.iter().filter(|object| object.effect == Effect::Refused) {
        let (rule, why) = (
            object.rule.unwrap_or_default(),
            object.text.as_deref().unwrap_or_default(),
        );
        let text = format!("{} is refused ({rule}): {why}", object.object);
        problems.push(Problem::new("plan.refused", Severity::Error, text));
    }
    problems.extend(plan.interrupted.iter().map(|service| {
        let text = format!("Service {service} is interrupted");
        Problem::new("plan.interrupted", Severity::Error, text).about("Service", service)
    }));
    if plan.objects.iter().any(|object| object.effect != Effect::Refused) {
        let text = "the cluster is not as the files say";
        problems.push(Problem::new("plan.changed", Severity::Warning, text));
    }
    problems
}
