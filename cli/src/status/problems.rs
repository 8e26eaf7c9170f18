//! What is wrong, as far as objects tell.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use metallb_announce::ServiceView;
use metallb_announce::reach::{Barred, Reach, Surroundings};
use metallb_api::{ConfigurationResult, names};
use metallb_ipam::{Assigner, Key};

use super::rows::{Ready, Status};
use crate::facts::Facts;
use crate::report::Severity::{Error, Warning};
use crate::report::{Problem, age};
use crate::sessions::{Sessions, is_up, wanted};
use crate::table::{few, many};
use crate::world::World;

/// Names in one text.
const NAMED: usize = 3;
/// Seconds that a Service may wait before it is a problem.
const PATIENCE: i64 = 60;
/// A Lease that was not renewed for this many seconds has no holder; far above any difference between clocks.
const STALE: i64 = 120;

/// Finds all of them, causes before what they bring about.
pub(super) fn problems(
    facts: &Facts,
    world: &World,
    status: &Status,
    sessions: Option<&Sessions<'_>>,
    assigner: &mut Assigner,
) -> Vec<Problem> {
    let mut all = programs(facts, world, status);
    all.extend(config(facts, world));
    all.extend(nodes(facts, world, status));
    all.extend(sessions.iter().flat_map(|sessions| bgp(facts, world, sessions)));
    all.extend(announced(facts, world, status));
    all.extend(pending(facts, world, assigner));
    all
}

fn programs(facts: &Facts, world: &World, status: &Status) -> Vec<Problem> {
    let mut found = Vec::new();
    let namespace = &world.namespace;
    let versions: BTreeSet<&String> = status.versions.values().flatten().collect();
    if versions.len() > 1 {
        let text = versions.into_iter().cloned().collect::<Vec<_>>();
        let text = format!("the pods run different images: {}", text.join(", "));
        let next = format!("kubectl -n {namespace} rollout status daemonset");
        found.push(Problem::new("install.version", Warning, text).next(next));
    }
    let deployments = format!("kubectl -n {namespace} get deployments,pods");
    let none = |ready: &Ready| ready.ready == 0;
    if status.controller.ready.get().is_some_and(none) {
        let text = "no controller is Ready: addresses are neither given nor taken back";
        found.push(Problem::new("control.ready", Error, text).next(deployments.clone()));
    }
    if status.webhooks.as_ref().is_some_and(none) {
        let text = "no webhook server is Ready: changes of the configuration are refused";
        found.push(Problem::new("control.webhook", Error, text).next(deployments));
    }
    let lease = facts.leases.list().iter();
    let lease = lease.filter(|lease| lease.name_any() == names::CONTROLLER_LEASE);
    for spec in lease.filter_map(|lease| lease.spec.as_ref()) {
        let renewed = spec.renew_time.as_ref().map(|at| at.0);
        let next = format!("kubectl -n {namespace} get lease {} -o yaml", names::CONTROLLER_LEASE);
        if renewed.is_none_or(|at| facts.now.as_second() - at.as_second() > STALE) {
            let since = renewed.map_or_else(String::new, |at| format!(" for {}", age(facts.now, at)));
            let text = format!("no controller has renewed its Lease{since}: none leads");
            found.push(Problem::new("control.leader", Error, text).next(next));
        }
    }
    found
}

/// What components refuse, the same of several in one; where none says anything, what they should refuse.
fn config(facts: &Facts, world: &World) -> Vec<Problem> {
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for state in facts.config_states.list() {
        let name = state.name_any();
        let alive = name.strip_prefix("speaker-").is_none_or(|node| world.is_alive(node));
        let status = state
            .status
            .as_ref()
            .filter(|_| alive && state.namespace().as_ref() == Some(&world.namespace));
        if let Some(status) = status.filter(|status| status.result == Some(ConfigurationResult::Invalid)) {
            let text = status.error_summary.replace('\n', "; ");
            refused.entry(text).or_default().push(name);
        }
    }
    let told = refused.iter().map(|(text, who)| {
        let next = format!(
            "kubectl -n {} get configurationstate {} -o yaml",
            world.namespace, who[0]
        );
        Problem::new("control.config", Error, format!("{}: {text}", few(who, NAMED))).next(next)
    });
    let mut told: Vec<Problem> = told.collect();
    if told.is_empty() {
        let should = world.parsed.refused.iter().map(|refused| {
            let text = format!("should be refused: {refused}");
            Problem::new("control.config", Error, text).about(&refused.object.kind, &refused.object.name)
        });
        told.extend(should);
    }
    told
}

fn nodes(facts: &Facts, world: &World, status: &Status) -> Vec<Problem> {
    let explain = |node: &str| format!("kubectl metallb explain node {node}");
    if facts.pods.is_known() && status.speakers.iter().all(|row| row.pod.is_none()) {
        let text = format!("no speaker runs in namespace {}: nothing is announced", world.namespace);
        let next = format!("kubectl -n {} get daemonsets,pods", world.namespace);
        return vec![Problem::new("node.speaker", Error, text).next(next)];
    }
    let excluded = |node: &str| {
        let view = world.nodes.get(node);
        view.and_then(|view| view.excluded_by(world.settings.ignore_exclude_label))
    };
    let dead = status
        .speakers
        .iter()
        .filter(|row| row.ready.get() == Some(&false) && excluded(&row.node).is_none());
    let dead = dead.map(|row| {
        let note = row.note.as_deref().unwrap_or_default();
        let (severity, text) = match row.pod {
            Some(_) if note.starts_with("NotReady") => {
                (Error, format!("{}: {note}; its speaker is not Ready", row.node))
            }
            Some(_) => (Error, format!("{}: {note}", row.node)),
            None => (Warning, format!("{}: {note}", row.node)),
        };
        let problem = Problem::new("node.speaker", severity, text).about("Node", &row.node);
        problem.on(&row.node).next(explain(&row.node))
    });
    let mut found: Vec<Problem> = dead.collect();
    let out: Vec<&str> = world
        .nodes
        .keys()
        .map(|node| &**node)
        .filter(|node| excluded(node).is_some())
        .collect();
    if !out.is_empty() && out.len() == world.nodes.len() {
        let text = format!(
            "all {} are excluded, by label {} or condition NetworkUnavailable: nothing is announced",
            many(out.len(), "node"),
            names::LABEL_EXCLUDE_LB
        );
        found.push(Problem::new("node.excluded", Error, text).next(explain(out[0])));
    }
    found
}

/// Sessions that are not up; with many nodes, one line for a peer.
fn bgp(facts: &Facts, world: &World, sessions: &Sessions<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for peer in world.parsed.config.peers.values() {
        let (mut down, mut total) = (Vec::new(), 0);
        for node in wanted(world, peer) {
            total += 1;
            match sessions.of(node, &peer.name) {
                None => down.push((node, "no session: its speaker tells of none".to_owned())),
                Some(state) if !is_up(state) => {
                    let since = state
                        .since
                        .as_ref()
                        .map(|since| format!(" for {}", age(facts.now, since.0)));
                    let error = Some(&state.last_error).filter(|error| !error.is_empty());
                    let error = error.map(|error| format!(": {error}")).unwrap_or_default();
                    down.push((
                        node,
                        format!("{}{}{error}", state.bgp_status, since.unwrap_or_default()),
                    ));
                }
                Some(state) if peer.bfd_profile.is_some() && state.bfd_status != "up" => {
                    let text = format!(
                        "{} from {node}: BFD is {}, and the session is up",
                        peer.name, state.bfd_status
                    );
                    let problem = Problem::new("bgp.bfd", Warning, text)
                        .about("BGPPeer", &peer.name)
                        .on(node);
                    found.push(problem.next(format!("kubectl metallb explain peer {}", peer.name)));
                }
                Some(_) => {}
            }
        }
        let next = format!("kubectl metallb explain peer {}", peer.name);
        let problem = |text| {
            Problem::new("bgp.sessions", Error, text)
                .about("BGPPeer", &peer.name)
                .next(next.clone())
        };
        match down.as_slice() {
            few if few.len() <= NAMED => found.extend(few.iter().map(|(node, text)| {
                let text = format!("{} from {node}: {text}", peer.name);
                problem(text).on(node)
            })),
            [(node, text), ..] => found.push(problem(format!(
                "{}: {} of {total} sessions are down; from {node}: {text}",
                peer.name,
                down.len()
            ))),
            [] => {}
        }
    }
    found
}

/// Pools and Services that nobody announces, as far as configuration and Nodes tell.
fn announced(facts: &Facts, world: &World, status: &Status) -> Vec<Problem> {
    let unused = status.pools.iter().filter(|row| row.advertised_by.is_empty());
    let users = unused
        .filter_map(|row| Some((row, *row.services.get()?)))
        .filter(|(_, users)| *users > 0);
    let pools = users.map(|(row, users)| {
        let users = usize::try_from(users).unwrap_or(usize::MAX);
        let hold = if users == 1 {
            "holds an address"
        } else {
            "hold addresses"
        };
        let text = format!(
            "pool {}: no advertisement selects it; {} {hold}",
            row.name,
            many(users, "Service")
        );
        let problem = Problem::new("pool.not-advertised", Warning, text).about("IPAddressPool", &row.name);
        problem.next(format!("kubectl metallb explain pool {}", row.name))
    });
    let mut found: Vec<Problem> = pools.collect();
    if !facts.nodes.is_known() {
        return found;
    }
    let peers = world.parsed.config.peers.keys().cloned().collect();
    let around = Surroundings {
        nodes: &world.nodes,
        peers: &peers,
        ignore_exclude_label: world.settings.ignore_exclude_label,
    };
    let pools = world.parsed.config.pools.values();
    let reach: BTreeMap<&str, Reach> = pools
        .map(|pool| (pool.name.as_str(), Reach::new(pool, around)))
        .collect();
    let (mut barred, mut homeless) = (BTreeMap::<_, Vec<String>>::new(), Vec::new());
    for service in ours(facts, world) {
        let view = ServiceView::from(service);
        let Some(ips) = view.addresses().filter(|ips| view.load_balancer && !ips.is_empty()) else {
            continue;
        };
        match world.parsed.config.pool_holding(&ips) {
            None => homeless.push(Key::of(service).to_string()),
            Some(pool) => {
                if let Err(why) = reach[pool.name.as_str()].judge(&view)
                    && why != Barred::NoAdvertisement
                {
                    barred
                        .entry((pool.name.as_str(), why))
                        .or_default()
                        .push(Key::of(service).to_string());
                }
            }
        }
    }
    if let Some(first) = homeless.first() {
        let hold = if homeless.len() == 1 { "has" } else { "have" };
        let text = format!(
            "{} {hold} what no pool has: the controller should take it back",
            few(&homeless, NAMED)
        );
        let problem = Problem::new("control.behind", Error, text).about("Service", first);
        found.push(problem.next(format!("kubectl metallb explain svc {first}")));
    }
    found.extend(barred.into_iter().map(|((pool, why), services)| {
        let text = format!("{}: {}", few(&services, NAMED), why.sentence(pool));
        let problem = Problem::new("service.not-announced", Error, text).about("Service", &services[0]);
        problem.next(format!("kubectl metallb explain svc {}", services[0]))
    }));
    found
}

fn ours<'a>(facts: &'a Facts, world: &'a World) -> impl Iterator<Item = &'a Service> {
    let services = facts.services.list().iter();
    services.filter(|service| metallb_ipam::is_of_class(service, &world.settings.class))
}

/// Services that wait for an address, the same reason in one.
fn pending(facts: &Facts, world: &World, assigner: &mut Assigner) -> Vec<Problem> {
    let mut waiting: BTreeMap<Option<String>, Vec<(Timestamp, String)>> = BTreeMap::new();
    for service in ours(facts, world) {
        let seen = metallb_ipam::Service::from(service);
        let conditions = service
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let condition = conditions
            .into_iter()
            .find(|own| own.type_ == names::CONDITION_ALLOCATED);
        let created = service.creation_timestamp().map_or(facts.now, |at| at.0);
        let since = condition.map_or(created, |own| own.last_transition_time.0);
        if !seen.load_balancer || !seen.shown().is_empty() || facts.now.as_second() - since.as_second() < PATIENCE {
            continue;
        }
        let told = condition
            .filter(|own| own.status == "False")
            .map(|own| own.reason.clone());
        let reason = told.or_else(|| {
            let standing = assigner.converge(&seen).standing?;
            (!standing.allocated).then(|| standing.reason.to_owned())
        });
        waiting
            .entry(reason)
            .or_default()
            .push((since, Key::of(service).to_string()));
    }
    let told = waiting.into_iter().map(|(reason, mut services)| {
        services.sort();
        let (since, oldest) = services[0].clone();
        let names: Vec<String> = services.into_iter().map(|(_, name)| name).collect();
        let wait = if names.len() == 1 { "waits" } else { "wait" };
        let text = format!(
            "{} {wait} for an address for {}",
            few(&names, NAMED),
            age(facts.now, since)
        );
        let problem = match reason {
            Some(reason) => Problem::new("control.pending", Warning, format!("{text}: {reason}")),
            None => Problem::new(
                "control.behind",
                Error,
                format!("{text}: the controller should give one"),
            ),
        };
        let next = format!("kubectl metallb explain svc {oldest}");
        problem.about("Service", &oldest).next(next)
    });
    told.collect()
}
