//! Why a Service has its address or none, and who announces it: what allocator and election say, put together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use metallb_announce::ServiceView;
use metallb_announce::reach::{Reach, Surroundings};
use metallb_ipam::{Assigner, Families, Key, Outcome, is_of_class};

use super::announcers::announcing;
use super::explanation::{Answering, Asked, Body, Clash, Explanation, Ours, Told, Trial};
use crate::facts::Facts;
use crate::l2::AllHolders;
use crate::report::{NotSeen, Problem, Report, Severity};
use crate::table::many;
use crate::world::World;
use crate::{l2, sent};

/// Explains a Service; none if there is none of that name.
pub(crate) fn report(facts: &Facts, world: &World, namespace: &str, name: &str) -> Option<Report<Body<Explanation>>> {
    let service = facts.service(namespace, name)?;
    let mut explanation = Explanation {
        service: format!("{namespace}/{name}"),
        summary: summary(service),
        ..Explanation::default()
    };
    let mut problems = Vec::new();
    explanation.ours = ours(service, &world.settings.class);
    let local = ServiceView::from(service).local;
    explanation.known = facts.nodes.is_known() && (facts.slices.is_known() || !local);
    if explanation.ours.is_ours {
        let address = addresses(facts, service, world, &mut explanation);
        announcing(facts, service, world, &mut explanation);
        let holders = l2::holders(facts);
        answering(facts, &holders, &mut explanation);
        problems = judge(world, service, &mut explanation, &address);
        problems.extend(unsent(facts, &holders, &explanation));
    } else {
        explanation.verdict = not_ours(service, &explanation.ours);
    }
    let is_ours = explanation.ours.is_ours;
    let mut report = Report::new("Explanation", facts, Body { explanation });
    report.problems = problems;
    if is_ours {
        report.assumptions.clone_from(&world.assumptions);
        report.not_seen = not_seen(facts);
        report.not_seen.extend(facts.asked.not_seen());
    }
    Some(report)
}

/// Who says that it answers for the Service.
fn answering(facts: &Facts, holders: &AllHolders<'_>, explanation: &mut Explanation) {
    if l2::is_heard(facts) && !explanation.layer2.advertisements.is_empty() {
        let all = explanation.address.ips.iter().filter_map(|ip| holders.get(ip));
        let all = all.flatten().map(|(node, address)| Answering {
            node: (*node).to_owned(),
            address: (*address).clone(),
        });
        explanation.layer2.sent = Some(all.collect());
    }
}

/// What is decided and not done.
fn unsent(facts: &Facts, holders: &AllHolders<'_>, explanation: &Explanation) -> Vec<Problem> {
    let told = explanation.bgp.told.iter();
    let mut problems = sent::problems(told.map(|own| (&*own.node, &*own.peer, &*own.prefix, &own.told)));
    let answered = explanation
        .address
        .ips
        .iter()
        .filter_map(|ip| Some((*ip, holders.get(ip)?)));
    problems.extend(answered.filter_map(|(ip, holders)| l2::split(ip, holders)));
    let nobody = explanation.layer2.sent.as_ref().is_some_and(Vec::is_empty);
    // A speaker that did not reply may be the one that answers.
    if let Some(node) = explanation
        .layer2
        .decided
        .as_ref()
        .filter(|_| nobody && facts.asked.not_seen().is_none())
    {
        let text = format!("no speaker answers for it in layer 2; {node} should");
        problems.push(Problem::new("l2.not-answered", Severity::Error, text).on(node));
    }
    problems
}

fn not_seen(facts: &Facts) -> Vec<NotSeen> {
    let all = [
        NotSeen::of(&facts.nodes, "nodes", "it is not told who announces"),
        NotSeen::of(
            &facts.slices,
            "endpointslices",
            "a ready endpoint is assumed, and traffic policy Local is not judged",
        ),
        NotSeen::of(
            &facts.namespaces,
            "namespaces",
            "pools that select namespaces by labels select none",
        ),
    ];
    all.into_iter().flatten().collect()
}

fn summary(service: &Service) -> String {
    let Some(spec) = &service.spec else {
        return String::new();
    };
    let ports = spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        format!("{protocol}/{}", port.port)
    });
    let ports: Vec<_> = ports.collect();
    format!(
        "{}  policy {}  {} {}  ports {}",
        spec.type_.as_deref().unwrap_or("ClusterIP"),
        spec.external_traffic_policy.as_deref().unwrap_or("Cluster"),
        spec.ip_families
            .as_ref()
            .map_or_else(|| "IPv4".to_owned(), |families| families.join(",")),
        spec.ip_family_policy.as_deref().unwrap_or("SingleStack"),
        ports.join(",")
    )
}

fn ours(service: &Service, our_class: &str) -> Ours {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.clone());
    let load_balancer = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    Ours {
        is_ours: load_balancer && is_of_class(service, our_class),
        class: class.unwrap_or_default(),
        our_class: our_class.to_owned(),
    }
}

fn not_ours(service: &Service, ours: &Ours) -> String {
    let kind = service
        .spec
        .as_ref()
        .and_then(|spec| spec.type_.as_deref())
        .unwrap_or("ClusterIP");
    if kind != "LoadBalancer" {
        return format!("not for MetalLB: its type is {kind}; spec.type: LoadBalancer would make it so.");
    }
    let classes = [&ours.class, &ours.our_class].map(|class| match class.is_empty() {
        true => "none".to_owned(),
        false => format!("{class:?}"),
    });
    let [class, our_class] = classes;
    format!("not for MetalLB: its spec.loadBalancerClass is {class}, and the controller serves {our_class}.")
}

/// Takes in all addresses as the controller does when it starts, and asks it about the Service.
fn addresses(facts: &Facts, service: &Service, world: &World, explanation: &mut Explanation) -> Outcome {
    let mut assigner = world.assigner(facts);
    let seen = metallb_ipam::Service::from(service);
    asked(&assigner, &seen, explanation);
    explanation.address.ips = seen.shown();
    explanation.address.pool = seen.noted_pool().map(str::to_owned);
    let outcome = assigner.converge(&seen);
    if let Some(held) = assigner.allocator().held(&Key::of(service)) {
        explanation.address.due.clone_from(&held.ips);
        explanation.address.due_pool = Some(held.pool.to_string());
    }
    if let Some(standing) = &outcome.standing {
        standing.reason.clone_into(&mut explanation.address.reason);
        explanation.address.message.clone_from(&standing.message);
    }
    outcome
}

fn asked(assigner: &Assigner, seen: &metallb_ipam::Service, explanation: &mut Explanation) {
    let explained = match assigner.explain(seen) {
        Some(Ok(explained)) => explained,
        Some(Err(error)) => {
            explanation.asked.error = Some(error.to_string());
            return;
        }
        None => {
            explanation.asked.error = Some("its cluster addresses are no proper list".to_owned());
            return;
        }
    };
    let request = &explained.request;
    let key = request.sharing.as_ref().map(|sharing| sharing.key.to_string());
    explanation.asked = Asked {
        families: request.families.to_string(),
        ips: request.wanted.clone(),
        pool: request.pool.clone(),
        key: key.clone(),
        error: None,
    };
    let mut tried = 0;
    for trial in explained.trials {
        tried += usize::from(trial.asked);
        explanation.trials.push(Trial {
            text: answer(&trial, request.families, assigner),
            pool: trial.pool.to_string(),
            tried: trial.asked.then_some(tried),
            priority: trial.priority,
            ok: trial.answer.is_ok(),
            ips: trial.answer.unwrap_or_default(),
        });
    }
    explanation.clashes = explained
        .clashes
        .into_iter()
        .map(|clash| Clash {
            ip: clash.ip,
            services: clash
                .neighbours
                .iter()
                .map(|neighbour| neighbour.service.clone())
                .collect(),
            own_key: key.clone(),
            their_key: clash.sharing.as_ref().map(|sharing| sharing.key.to_string()),
            same_backend: clash
                .sharing
                .as_ref()
                .is_none_or(|theirs| request.sharing.as_ref().is_none_or(|own| own.backend == theirs.backend)),
            ports: {
                let ports: BTreeSet<_> = clash.neighbours.iter().flat_map(|neighbour| &neighbour.ports).collect();
                ports.into_iter().map(ToString::to_string).collect()
            },
        })
        .collect();
}

/// What a pool answers, in words.
fn answer(trial: &metallb_ipam::Trial, families: Families, assigner: &Assigner) -> String {
    let ips = match &trial.answer {
        Ok(ips) => ips,
        Err(why) if trial.asked => return format!("no: {why}"),
        Err(why) => return format!("not asked: {why}"),
    };
    let counters = assigner.allocator().counters(&trial.pool).unwrap_or_default();
    let free = |family: &str, free: u128, all: u128| format!("{free} of {all} {family} addresses free");
    let v4 = free("IPv4", counters.available_v4(), counters.capacity_v4);
    let v6 = free("IPv6", counters.available_v6(), counters.capacity_v6);
    let room = match families {
        Families::Dual => format!("{v4}, {v6}"),
        Families::Single(metallb_ipam::Family::V4) => v4,
        Families::Single(metallb_ipam::Family::V6) => v6,
    };
    match trial.asked {
        true => format!("yes: {room}; next is {}", list(ips)),
        false => format!("not reached; {room}"),
    }
}

/// Sums up, and says what is wrong.
fn judge(world: &World, service: &Service, explanation: &mut Explanation, outcome: &Outcome) -> Vec<Problem> {
    let mut problems = Vec::new();
    let address = &explanation.address;
    let mut problem = |id, text: &str| {
        problems.push(Problem::new(id, Severity::Error, text).about("Service", &explanation.service));
    };
    explanation.verdict = if address.due.is_empty() {
        let text = format!("no address: {}: {}.", address.reason, address.message);
        problem("control.pending", &text);
        text
    } else if outcome.writes() {
        let pool = address.due_pool.as_deref().unwrap_or_default();
        let has = if address.ips.is_empty() {
            "no address yet".to_owned()
        } else {
            format!("it has {}", list(&address.ips))
        };
        let text = format!(
            "{has}: the controller should give it {} of pool {pool}. Does it run?",
            list(&address.due)
        );
        problem("control.behind", &text);
        text
    } else {
        let has = format!(
            "{} of pool {}",
            list(&address.due),
            address.due_pool.as_deref().unwrap_or_default()
        );
        if outcome.failed {
            problem("control.refused", &address.message);
        }
        let should: Vec<&Told> = explanation.bgp.rows.iter().filter(|row| row.reason.is_none()).collect();
        let does: Vec<&Told> = should
            .iter()
            .copied()
            .filter(|row| row.sent.as_deref() == Some("yes"))
            .collect();
        // What speakers say is told as a fact, and only that.
        let (word, rows) = if does.is_empty() {
            ("should announce", should)
        } else {
            ("announce", does)
        };
        let nodes: BTreeSet<&String> = rows.iter().flat_map(|row| &row.nodes).collect();
        let peers: BTreeSet<&String> = rows.iter().flat_map(|row| &row.peers).collect();
        let layer2 = match explanation.layer2.sent.as_deref() {
            Some([one, ..]) => Some(format!("{} answers for it", one.node)),
            _ => explanation
                .layer2
                .decided
                .as_ref()
                .map(|node| format!("{node} should answer for it")),
        };
        let bgp = (!peers.is_empty()).then(|| {
            format!(
                "{} {word} it to {}",
                many(nodes.len(), "node"),
                many(peers.len(), "peer")
            )
        });
        let ways: Vec<String> = layer2.into_iter().chain(bgp).collect();
        if !explanation.known {
            format!("{has}; who announces it is not known.")
        } else if ways.is_empty() {
            let text = format!("{has}; {}.", unannounced(world, service, explanation));
            problem("service.not-announced", &text);
            text
        } else {
            format!("{has}; {}.", ways.join("; "))
        }
    };
    problems
}

/// Why nobody announces a Service, in the words of its condition if that can be told by configuration and Nodes alone.
fn unannounced(world: &World, service: &Service, explanation: &Explanation) -> String {
    let view = ServiceView::from(service);
    let pool = view.addresses().and_then(|ips| world.parsed.config.pool_holding(&ips));
    let peers = world.parsed.config.peers.keys().cloned().collect();
    let around = Surroundings {
        nodes: &world.nodes,
        peers: &peers,
        ignore_exclude_label: world.settings.ignore_exclude_label,
    };
    if let Some(pool) = pool
        && let Err(barred) = Reach::new(pool, around).judge(&view)
    {
        return barred.sentence(&pool.name);
    }
    let layer2 = explanation
        .layer2
        .reason
        .as_ref()
        .map(|reason| format!("layer 2: {reason}"));
    let bgp = explanation.bgp.reason.as_ref().map(|reason| format!("BGP: {reason}"));
    let mut reasons: BTreeSet<String> = layer2.into_iter().chain(bgp).collect();
    if reasons.is_empty() {
        reasons = explanation
            .bgp
            .rows
            .iter()
            .filter_map(|row| row.reason.clone())
            .collect();
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    format!("nobody announces it ({})", reasons.join("; "))
}

pub(crate) fn list(ips: &[IpAddr]) -> String {
    let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
