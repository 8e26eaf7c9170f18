//! `explain pool`: how full it is, who may have its addresses, and who announces them.

use kube::ResourceExt;
use metallb_announce::ServiceView;
use metallb_config::{Pool, PoolKind};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Body, page, part_of, refused, section};
use crate::facts::Facts;
use crate::report::{Problem, Report};
use crate::status::rows::{self, PoolRow, advertised_by};
use crate::status::text::usage_of;
use crate::table::{Style, few, many, table};
use crate::world::World;

/// Services in a text.
const SHOWN: usize = 12;

/// A pool.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolCase {
    name: String,
    kind: &'static str,
    verdict: String,
    addresses: Vec<String>,
    /// None if the pool is refused.
    usage: Option<PoolRow>,
    advertisements: Vec<Ad>,
    services: Vec<User>,
}

/// Whether an advertisement is for the pool.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ad {
    kind: &'static str,
    name: String,
    selects: bool,
    text: String,
}

/// A Service with addresses of the pool.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    service: String,
    ips: Vec<String>,
}

pub(super) fn report(facts: &Facts, world: &World, name: &str) -> Option<Report<Body<PoolCase>>> {
    let current = facts.pools.list().iter().find(|pool| pool.name_any() == name);
    let legacy = facts.address_pools.list().iter().find(|pool| pool.name_any() == name);
    let (kind, addresses) = match (current, legacy) {
        (Some(pool), _) => (PoolKind::IpAddressPool, &pool.spec.addresses),
        (None, Some(pool)) => (PoolKind::AddressPool, &pool.spec.addresses),
        (None, None) => return None,
    };
    let kind = kind.as_str();
    let pool = world
        .parsed
        .config
        .pools
        .get(name)
        .filter(|pool| pool.kind.as_str() == kind);
    let mut status = rows::report(facts, world);
    let mut rows = std::mem::take(&mut status.body.status.pools).into_iter();
    let usage = rows.find(|row| row.name == name && pool.is_some());
    let verdict = match &usage {
        None => "it is refused, and not in use".to_owned(),
        Some(row) => {
            let (_, used, free) = usage_of(row);
            let by = match pool.map(advertised_by).unwrap_or_default() {
                none if none.is_empty() => "nothing".to_owned(),
                names => names.join(", "),
            };
            format!("{used} in use, {free} free; advertised by {by}")
        }
    };
    let explanation = PoolCase {
        name: name.to_owned(),
        kind,
        verdict,
        addresses: addresses.clone(),
        advertisements: advertisements(facts, world, name, pool),
        services: pool.map(|pool| users(facts, pool)).unwrap_or_default(),
        usage,
    };
    let needs = ["nodes", "services", "namespaces"];
    let about = |problem: &Problem| problem.id == "pool.not-advertised" && problem.is_about(name);
    let mut report = part_of(facts, status, ("PoolExplanation", explanation), about, &needs);
    report.problems.extend(refused(world, kind, name));
    Some(report)
}

/// Whether each advertisement selects the pool, and if not, why.
fn advertisements(facts: &Facts, world: &World, name: &str, pool: Option<&Pool>) -> Vec<Ad> {
    let judge = |kind: &'static str, ad: String, on: Option<String>, named: &[String], by_label: bool| {
        let text = match &on {
            Some(on) => on.clone(),
            None if pool.is_none() => "the pool is refused".to_owned(),
            None => match refused(world, kind, &ad) {
                Some(problem) => problem.text,
                None if by_label && named.is_empty() => {
                    "its ipAddressPoolSelectors do not match the pool's labels".to_owned()
                }
                None if by_label => format!(
                    "it names {}, and its selectors do not match the pool's labels",
                    few(named, 3)
                ),
                None => format!("it names {}, not {name}", few(named, 3)),
            },
        };
        Ad {
            kind,
            name: ad,
            selects: on.is_some(),
            text,
        }
    };
    let nodes = |count: usize| match facts.nodes.is_known() {
        true => format!("on {}", many(count, "node")),
        false => "on ? nodes".to_owned(),
    };
    let layer2 = facts.l2_advertisements.list().iter().map(|ad| {
        let own = pool.and_then(|pool| pool.l2.iter().find(|own| own.name == ad.metadata.name));
        let spec = &ad.spec;
        let on = own.map(|own| nodes(own.nodes.len()));
        judge(
            "L2Advertisement",
            ad.name_any(),
            on,
            &spec.ip_address_pools,
            !spec.ip_address_pool_selectors.is_empty(),
        )
    });
    let bgp = facts.bgp_advertisements.list().iter().map(|ad| {
        let own = pool.and_then(|pool| pool.bgp.iter().find(|own| own.name == ad.metadata.name));
        let peers = |all: &std::collections::BTreeSet<String>| match all.is_empty() {
            true => "all peers".to_owned(),
            false => all.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        let on = own.map(|own| format!("{}, to {}", nodes(own.nodes.len()), peers(&own.peers)));
        let spec = &ad.spec;
        judge(
            "BGPAdvertisement",
            ad.name_any(),
            on,
            &spec.ip_address_pools,
            !spec.ip_address_pool_selectors.is_empty(),
        )
    });
    layer2.chain(bgp).collect()
}

fn users(facts: &Facts, pool: &Pool) -> Vec<User> {
    let users = facts.services.list().iter().filter_map(|service| {
        let ips = ServiceView::from(service).addresses()?;
        pool.holds(&ips).then(|| User {
            service: metallb_ipam::Key::of(service).to_string(),
            ips: ips.iter().map(ToString::to_string).collect(),
        })
    });
    users.collect()
}

pub(super) fn text(report: &Report<Body<PoolCase>>, style: Style) -> String {
    let own = &report.body.explanation;
    let mut sections = section("Addresses", &own.addresses.join(", "));
    if let Some(row) = &own.usage {
        let whose = match row.whom.as_str() {
            "all" => "all Services".to_owned(),
            whom => format!("Services of {whom}"),
        };
        let asked = if row.auto_assign {
            ""
        } else {
            " that ask for it by name (autoAssign is off)"
        };
        sections += &section("For", &format!("{whose}{asked}"));
    }
    let rows = own.advertisements.iter().map(|ad| {
        let selects = if ad.selects { "yes" } else { "no" };
        vec![format!("{} {}", ad.kind, ad.name), format!("{selects}: {}", ad.text)]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    sections += &match rows.is_empty() {
        true => section("Advertised", "by nothing: there is no advertisement"),
        false => section("Advertised", &table(0, &["BY", "SELECTS IT"], &rows)),
    };
    let shown = if style.wide { usize::MAX } else { SHOWN };
    let lines = own
        .services
        .iter()
        .take(shown)
        .map(|user| format!("{}  {}", user.service, user.ips.join(", ")));
    let mut lines: Vec<String> = lines.collect();
    if own.services.len() > lines.len() {
        lines.push(format!("… and {} (-o wide)", own.services.len() - lines.len()));
    }
    if !lines.is_empty() {
        sections += &section("Services", &lines.join("\n"));
    }
    page(
        report,
        &format!("{} {}", own.kind, own.name),
        &own.verdict,
        &sections,
        style,
    )
}
