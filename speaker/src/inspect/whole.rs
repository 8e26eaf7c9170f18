//! Answers about the node as a whole: layer 2, the membership, Services, flags and configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, response};
use metallb_config::Interfaces;
use metallb_dataplane::l2::{AddressCounters, DropCounters, L2Handle};
use metallb_dataplane::members::MembersHandle;
use metallb_engine::{ConfigReport, Standing};
use metallb_inspect::config::Config;
use metallb_inspect::layer2::{Address, Drops, Layer2};
use metallb_inspect::members::{Member, Members};
use metallb_inspect::services::{Announced, Service};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::answer::whole;
use super::records::{Record, Records, mac};
use super::{Glass, TIMEOUT};
use crate::args::Args;
use crate::sessions::rfc3339;

/// Paths, and what each is about.
pub(super) const PATHS: [(&str, &str); 4] = [
    ("/config", "flags, and what is wrong with the configuration"),
    (
        "/layer2",
        "addresses that this node answers for, and frames that it does not answer",
    ),
    ("/members", "speakers that are alive as this one sees it"),
    (
        "/services",
        "what is announced of each Service, and why not (?service=NAMESPACE/NAME)",
    ),
];

/// Somebody wants to know what is announced.
pub(crate) type Question = oneshot::Sender<Vec<Standing>>;

/// What the answers are made of.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The engine, which answers between two events.
    pub(crate) engine: mpsc::Sender<Question>,
    pub(crate) l2: L2Handle,
    pub(crate) members: Option<MembersHandle>,
    pub(crate) records: Records,
    pub(crate) reports: watch::Receiver<Option<ConfigReport>>,
    pub(crate) flags: BTreeMap<String, String>,
}

/// Flags that decide what is announced.
pub(crate) fn flags(args: &Args) -> BTreeMap<String, String> {
    let flags = [
        ("bgp-drain", args.bgp.bgp_drain.clone()),
        ("gratuitous-arp-interval", args.gratuitous_arp_interval.clone()),
        ("ignore-exclude-lb", args.ignore_exclude_lb.to_string()),
        ("l2-check-addresses", args.l2_check_addresses.to_string()),
        ("l2-failback", args.l2_failback.clone()),
        ("l2-fast-failover", args.l2_fast_failover.to_string()),
        ("lb-class", args.lb_class.clone()),
    ];
    flags.map(|(name, value)| (name.to_owned(), value)).into()
}

#[derive(Clone)]
struct Whole(Glass, Sources);

pub(super) fn routes(glass: Glass, sources: Sources) -> Router {
    let path = |rest: &str| format!("{}{rest}", metallb_inspect::ROOT);
    Router::new()
        .route(&path("/config"), get(config))
        .route(&path("/layer2"), get(layer2))
        .route(&path("/members"), get(members))
        .route(&path("/services"), get(services))
        .with_state(Whole(glass, sources))
}

#[derive(Deserialize)]
struct Wanted {
    service: Option<String>,
}

impl Sources {
    async fn standings(&self) -> response::Result<Vec<Standing>> {
        let (question, answer) = oneshot::channel();
        let asked = async {
            self.engine.send(question).await.ok()?;
            answer.await.ok()
        };
        let late = "the engine did not answer in time\n";
        let answered = timeout(TIMEOUT, asked).await.ok().flatten();
        answered.ok_or_else(|| (StatusCode::SERVICE_UNAVAILABLE, late).into())
    }
}

async fn config(State(Whole(glass, sources)): State<Whole>) -> Response {
    let report = sources.reports.borrow().clone();
    let config = Config {
        flags: sources.flags,
        loaded: report.is_some(),
        errors: report.iter().flat_map(|report| report.errors.clone()).collect(),
        doubts: report.iter().flat_map(|report| report.doubts.clone()).collect(),
    };
    whole(&glass.head(), &config)
}

async fn layer2(State(Whole(glass, sources)): State<Whole>) -> response::Result<Response> {
    let standings = sources.standings().await?;
    let usable = sources.l2.usable_interfaces().borrow().clone();
    let records = sources.records.all().clone();
    let told = told(
        &standings,
        &usable,
        &records,
        &sources.l2.counters(),
        &sources.l2.drops(),
    );
    Ok(whole(&glass.head(), &told))
}

async fn members(State(Whole(glass, sources)): State<Whole>) -> Response {
    whole(
        &glass.head(),
        &sources.members.as_ref().map(membership).unwrap_or_default(),
    )
}

async fn services(
    State(Whole(glass, sources)): State<Whole>,
    Query(wanted): Query<Wanted>,
) -> response::Result<Response> {
    let standings = sources.standings().await?.into_iter().map(service);
    let asked = standings.filter(|own| wanted.service.as_ref().is_none_or(|wanted| *wanted == own.service));
    Ok(whole(&glass.head(), &asked.collect::<Vec<_>>()).into_response())
}

fn service(standing: Standing) -> Service {
    let text = |reason: Option<&str>| reason.map(ToOwned::to_owned);
    let addresses = standing.layer2.into_iter().flat_map(|(addresses, _)| addresses);
    Service {
        service: standing.service.to_string(),
        layer2: Announced {
            what: addresses.map(|ip| ip.to_string()).collect(),
            reason: text(standing.no_layer2),
        },
        bgp: Announced {
            what: standing.bgp.iter().map(ToString::to_string).collect(),
            reason: text(standing.no_bgp),
        },
    }
}

/// What is answered in layer 2. Services that share an address have it answered on the interfaces of each.
fn told(
    standings: &[Standing],
    usable: &BTreeSet<String>,
    records: &BTreeMap<IpAddr, Record>,
    counters: &BTreeMap<IpAddr, AddressCounters>,
    drops: &DropCounters,
) -> Layer2 {
    let mut all: BTreeMap<IpAddr, (Vec<String>, BTreeSet<String>, bool)> = BTreeMap::new();
    for standing in standings {
        let Some((addresses, interfaces)) = &standing.layer2 else {
            continue;
        };
        for ip in addresses {
            let (services, names, yielded) = all.entry(*ip).or_default();
            services.push(standing.service.to_string());
            *yielded |= standing.yielded.contains(ip);
            match interfaces {
                Interfaces::All => names.extend(usable.iter().cloned()),
                Interfaces::Only(only) => names.extend(only.intersection(usable).cloned()),
            }
        }
    }
    let addresses = all.into_iter().map(|(ip, (services, interfaces, yielded))| {
        let counted = counters.get(&ip).copied().unwrap_or_default();
        let record = records.get(&ip);
        Address {
            address: ip.to_string(),
            services,
            interfaces: interfaces.into_iter().collect(),
            since: record.map(|record| rfc3339(record.since)).unwrap_or_default(),
            yielded,
            requests: counted.requests_received,
            answers: counted.responses_sent,
            gratuitous: counted.gratuitous_sent,
            conflicts: record.map(|record| record.conflicts.clone()).unwrap_or_default(),
        }
    });
    let drops = drops.iter().map(|((reason, interface), count)| Drops {
        reason: (*reason).to_owned(),
        interface: interface.clone(),
        count: *count,
    });
    Layer2 {
        addresses: addresses.collect(),
        drops: drops.collect(),
    }
}

fn membership(handle: &MembersHandle) -> Members {
    let suspects = handle
        .suspects()
        .map(|suspects| suspects.borrow().names.clone())
        .unwrap_or_default();
    let said = handle.members().borrow().clone();
    let members = said.into_iter().map(|(name, said)| Member {
        ours: said.is_some(),
        suspected: suspects.contains(&name),
        interfaces: said
            .into_iter()
            .flat_map(|said| said.interfaces)
            .map(|(name, interface)| (name, mac(interface.mac)))
            .collect(),
        name,
    });
    Members {
        enabled: true,
        members: members.collect(),
        refused: handle
            .refusals()
            .into_iter()
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metallb_engine::ServiceKey;

    use super::*;

    #[test]
    fn services_that_share_an_address_are_told_together_with_the_interfaces_that_can_be_used() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let standing = |name: &str, interfaces, reason: Option<&'static str>| Standing {
            service: Arc::new(ServiceKey::new("shop", name)),
            layer2: Some((vec![ip], interfaces)),
            yielded: reason.iter().map(|_| ip).collect(),
            bgp: vec!["192.0.2.1/32".parse().unwrap()],
            no_layer2: reason,
            no_bgp: None,
        };
        let only = |names: &[&str]| Interfaces::Only(names.iter().map(ToString::to_string).collect());
        let mut silent = standing("none", Interfaces::All, Some("notOwner"));
        silent.layer2 = None;
        let all = [
            standing("web", only(&["eth0", "eth7"]), None),
            standing("api", only(&["eth1"]), None),
            silent,
        ];
        let usable = ["eth0", "eth1", "eth2"].map(str::to_owned).into();
        let counted = AddressCounters {
            requests_received: 3,
            responses_sent: 2,
            gratuitous_sent: 1,
            ..AddressCounters::default()
        };
        let drops = [(("truncated", "eth0".to_owned()), 4)].into();
        let layer2 = told(&all, &usable, &BTreeMap::new(), &[(ip, counted)].into(), &drops);
        let [address] = &layer2.addresses[..] else {
            panic!("{layer2:?}")
        };
        assert_eq!(
            (address.services.as_slice(), address.interfaces.as_slice()),
            (
                &["shop/web", "shop/api"].map(str::to_owned)[..],
                &["eth0", "eth1"].map(str::to_owned)[..]
            )
        );
        assert_eq!(
            (address.requests, address.answers, address.gratuitous, address.yielded),
            (3, 2, 1, false)
        );
        assert_eq!(
            (layer2.drops[0].reason.as_str(), layer2.drops[0].count),
            ("truncated", 4)
        );
        let yielded = [standing("web", Interfaces::All, Some("yieldedToPeer"))];
        let layer2 = told(
            &yielded,
            &usable,
            &BTreeMap::new(),
            &BTreeMap::new(),
            &DropCounters::new(),
        );
        assert!(layer2.addresses[0].yielded && layer2.addresses[0].interfaces.len() == 3);
        let told = service(yielded[0].clone());
        assert_eq!(
            (told.layer2.reason.as_deref(), told.bgp.what.as_slice()),
            (Some("yieldedToPeer"), &["192.0.2.1/32".to_owned()][..])
        );
    }
}
