//! Services that hold addresses of a pool, for those who take it away or make it smaller.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use metallb_api::names;
use metallb_config::AddressRange;
use serde_json::Value;

use super::{Existing, Request};

/// Those that hold an address of the pool that is deleted (D-1).
pub(super) fn of_deleted<'a>(request: &Request, existing: Existing<'a>) -> impl Iterator<Item = String> + use<'a> {
    let name = request.name().unwrap_or_default().to_owned();
    let ranges = ranges(&request.old);
    existing.services.iter().filter_map(move |service| {
        let from = service.annotations().get(names::ANNOTATION_IP_ALLOCATED_FROM_POOL);
        let ip = match from.is_some_and(|own| *own == name) {
            true => addresses(service).next(),
            false => addresses(service).find(|ip| holds(&ranges, *ip)),
        };
        Some(format!("Service {} holds {} of this pool", named(service), ip?))
    })
}

/// Those that hold an address which the pool has, but will not have after the change (D-5).
pub(super) fn of_lost<'a>(request: &Request, existing: Existing<'a>) -> impl Iterator<Item = String> + use<'a> {
    let (before, after) = (ranges(&request.old), ranges(&request.object));
    existing.services.iter().filter_map(move |service| {
        let ip = addresses(service).find(|ip| holds(&before, *ip) && !holds(&after, *ip))?;
        Some(format!("Service {} holds {ip}, which the pool loses", named(service)))
    })
}

fn named(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

/// What the entries of `spec.addresses` mean that can be read.
fn ranges(pool: &Value) -> Vec<AddressRange> {
    let entries = pool.pointer("/spec/addresses").and_then(Value::as_array);
    let texts = entries.into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| AddressRange::parse(text).ok()).collect()
}

fn holds(ranges: &[AddressRange], ip: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(ip))
}

/// The addresses that a Service has.
fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let status = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = status.flat_map(|status| status.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
}
