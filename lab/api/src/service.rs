//! What the real server does to a Service: cluster IPs, families, node ports, and cleaning up after a change of type.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use crate::defaults::{each, set};
use crate::error::{ApiError, Cause, Result};
use crate::meta;
use crate::resource::Resource;

/// A range that cluster IPs are taken from.
#[derive(Clone, Debug)]
struct Range {
    first: IpAddr,
    size: u128,
    cursor: u128,
}

impl Range {
    fn parse(cidr: &str) -> Option<Self> {
        let (address, length) = cidr.split_once('/')?;
        let (first, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
        let bits: u32 = if first.is_ipv4() { 32 } else { 128 };
        let host = bits.checked_sub(length)?;
        // No lab needs more than 2^64 addresses.
        Some(Self {
            first,
            size: 1 << host.min(64),
            cursor: 0,
        })
    }

    fn at(&self, offset: u128) -> IpAddr {
        match self.first {
            IpAddr::V4(ip) => {
                Ipv4Addr::from(u32::from(ip).wrapping_add(u32::try_from(offset).unwrap_or(u32::MAX))).into()
            }
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add(offset)).into(),
        }
    }

    fn family(&self) -> &'static str {
        family(self.first)
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Cluster IPs and node ports in use.
#[derive(Debug, Default)]
pub(crate) struct Nets {
    ranges: Vec<Range>,
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

impl Nets {
    /// Takes one or two ranges of different families, the primary one first.
    pub(crate) fn new(cidrs: &[String]) -> std::result::Result<Self, (String, &'static str)> {
        let mut ranges: Vec<Range> = Vec::new();
        for cidr in cidrs {
            let range = Range::parse(cidr).ok_or_else(|| (cidr.clone(), "is no CIDR"))?;
            if ranges.iter().any(|r| r.family() == range.family()) {
                return Err((cidr.clone(), "is of the same family as another one"));
            }
            ranges.push(range);
        }
        if ranges.is_empty() {
            Err((String::new(), "none is given"))
        } else {
            Ok(Self {
                ranges,
                ..Self::default()
            })
        }
    }

    /// The address of the `kubernetes` Service.
    pub(crate) fn first_address(&self) -> String {
        self.ranges[0].at(1).to_string()
    }

    fn next(&mut self, family: &str) -> Option<IpAddr> {
        let range = self.ranges.iter_mut().find(|r| r.family() == family)?;
        for _ in 0..range.size.min(1 << 20) {
            range.cursor = (range.cursor + 1) % range.size;
            let ip = range.at(range.cursor);
            if range.cursor > 1 && range.cursor + 1 < range.size && self.addresses.insert(ip) {
                return Some(ip);
            }
        }
        None
    }

    /// Gives back what a deleted Service held.
    pub(crate) fn release(&mut self, service: &Value) {
        for ip in meta::strings(&service["spec"]["clusterIPs"]) {
            ip.parse().ok().map(|ip: IpAddr| self.addresses.remove(&ip));
        }
        for port in meta::array(&service["spec"]["ports"]) {
            port["nodePort"]
                .as_u64()
                .and_then(|p| u16::try_from(p).ok())
                .map(|p| self.ports.remove(&p));
        }
    }

    fn assign_addresses(&mut self, spec: &mut Map<String, Value>) -> std::result::Result<(), Cause> {
        let families: Vec<String> = meta::strings(&spec["ipFamilies"])
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut addresses: Vec<Value> = spec
            .get("clusterIPs")
            .map(|l| meta::array(l).to_vec())
            .unwrap_or_default();
        if let (true, Some(ip)) = (
            addresses.is_empty(),
            spec.get("clusterIP")
                .filter(|v| v.as_str().is_some_and(|s| !s.is_empty())),
        ) {
            addresses.push(ip.clone());
        }
        if addresses.first().is_none_or(|first| first != "None") {
            for ip in addresses.iter().filter_map(|v| v.as_str()?.parse::<IpAddr>().ok()) {
                self.addresses.insert(ip);
            }
            for family in families.iter().skip(addresses.len()) {
                let ip = self.next(family).ok_or_else(|| {
                    Cause::invalid(
                        "spec.clusterIPs",
                        &Value::Null,
                        format!("no free {family} address is left"),
                    )
                })?;
                addresses.push(ip.to_string().into());
            }
            addresses.truncate(families.len().max(1));
        }
        spec.insert("clusterIP".into(), addresses.first().cloned().unwrap_or_default());
        spec.insert("clusterIPs".into(), addresses.into());
        Ok(())
    }

    /// When the range is used up, further Services simply have none: the lab may hold more Services than a cluster.
    fn free_port(&self) -> Option<u16> {
        let all = 30000..=32767;
        let room = self.ports.range(all.clone()).count() < all.len();
        room.then(|| all.into_iter().find(|p| !self.ports.contains(p)))
            .flatten()
    }

    fn assign_ports(&mut self, ports: &mut Value) {
        each(ports, |port| {
            if let Some(taken) = port["nodePort"]
                .as_u64()
                .and_then(|p| u16::try_from(p).ok())
                .filter(|p| *p != 0)
            {
                self.ports.insert(taken);
            } else if let Some(free) = self.free_port() {
                self.ports.insert(free);
                port["nodePort"] = free.into();
            }
        });
    }
}

fn kind(spec: &Value) -> &str {
    meta::text(spec, "/type")
}

/// Completes a Service that is about to be stored.
pub(crate) fn complete(resource: &Resource, object: &mut Value, old: Option<&Value>, nets: &mut Nets) -> Result<()> {
    let name = meta::name(object).to_owned();
    let refuse = |cause: Cause| ApiError::invalid(resource, &name, &[cause]);
    ingress_modes(object);
    let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else {
        return Err(refuse(Cause::required("spec.ports", "")));
    };
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    set(spec, "internalTrafficPolicy", "Cluster");
    each(&mut spec["ports"], |port| {
        set(port, "protocol", "TCP");
        let number = port["port"].clone();
        set(port, "targetPort", number);
    });
    let kinds = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
    if !kinds.contains(&kind(spec)) {
        let supported = kinds.map(Value::from);
        return Err(refuse(Cause::unsupported("spec.type", &spec["type"], &supported)));
    }
    if let Some(old) = old {
        carry_over(spec, &old["spec"]);
    }
    if kind(spec) == "ExternalName" {
        return Ok(());
    }
    families(spec, nets);
    nets.assign_addresses(spec.as_object_mut().expect("checked above"))
        .map_err(refuse)?;
    if matches!(kind(spec), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind(spec) == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind(spec) == "NodePort" || (kind(spec) == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] == true) {
        nets.assign_ports(&mut spec["ports"]);
    }
    check_class(spec, old).map_err(refuse)?;
    left_load_balancer(object, old);
    Ok(())
}

/// An update that does not mention allocated values keeps them.
fn carry_over(spec: &mut Value, old: &Value) {
    if kind(spec) == "ExternalName" {
        return;
    }
    for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = old.get(name) {
            set(spec, name, value.clone());
        }
    }
    let old_ports = meta::array(&old["ports"]);
    let same = |a: &Value, b: &Value| a["port"] == b["port"] && a["protocol"] == b["protocol"];
    if matches!(kind(spec), "NodePort" | "LoadBalancer") {
        each(&mut spec["ports"], |port| {
            if let Some(node_port) = old_ports.iter().find(|p| same(p, port)).and_then(|p| p.get("nodePort")) {
                set(port, "nodePort", node_port.clone());
            }
        });
    } else if matches!(kind(old), "NodePort" | "LoadBalancer") {
        each(&mut spec["ports"], |port| {
            drop(port.as_object_mut().map(|p| p.remove("nodePort")));
        });
        for name in [
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "allocateLoadBalancerNodePorts",
        ] {
            spec.as_object_mut().map(|s| s.remove(name));
        }
    }
}

fn families(spec: &mut Value, nets: &Nets) {
    let given: Vec<&str> = meta::strings(&spec["ipFamilies"]);
    let of_addresses = || {
        let ips = meta::strings(&spec["clusterIPs"])
            .into_iter()
            .chain([meta::text(spec, "/clusterIP")]);
        ips.filter_map(|ip| ip.parse().ok().map(family)).next()
    };
    let primary = given
        .first()
        .copied()
        .or_else(of_addresses)
        .unwrap_or_else(|| nets.ranges[0].family())
        .to_owned();
    let policy = spec.get("ipFamilyPolicy").and_then(Value::as_str);
    let dual = policy.map_or(given.len() == 2, |p| p != "SingleStack");
    let mut families = vec![primary.clone()];
    if dual {
        families.extend(
            nets.ranges
                .iter()
                .map(Range::family)
                .filter(|f| *f != primary)
                .map(str::to_owned),
        );
    }
    if policy.is_none() {
        spec["ipFamilyPolicy"] = if dual { "RequireDualStack" } else { "SingleStack" }.into();
    }
    spec["ipFamilies"] = json!(families);
}

fn check_class(spec: &mut Value, old: Option<&Value>) -> std::result::Result<(), Cause> {
    let Some(old) = old.map(|old| &old["spec"]) else {
        return Ok(());
    };
    let (before, after) = (old.get("loadBalancerClass"), spec.get("loadBalancerClass"));
    let both = kind(old) == "LoadBalancer" && kind(spec) == "LoadBalancer";
    if both && before != after {
        let value = after.cloned().unwrap_or_default();
        return Err(Cause::invalid(
            "spec.loadBalancerClass",
            &value,
            "may not change once set",
        ));
    }
    Ok(())
}

/// Leaving type LoadBalancer empties the status, and drops the class unless the user changed it.
fn left_load_balancer(object: &mut Value, old: Option<&Value>) {
    if kind(&object["spec"]) == "LoadBalancer" {
        return;
    }
    if let Some(old) = old.filter(|old| kind(&old["spec"]) == "LoadBalancer")
        && object["spec"]["loadBalancerClass"] == old["spec"]["loadBalancerClass"]
    {
        object["spec"].as_object_mut().map(|s| s.remove("loadBalancerClass"));
    }
    meta::member(object, "status").insert("loadBalancer".into(), json!({}));
}

/// `ipMode` is `VIP` where an ingress has an IP and says nothing.
fn ingress_modes(object: &mut Value) {
    set(object, "status", json!({}));
    set(&mut object["status"], "loadBalancer", json!({}));
    if let Some(ingress) = object.pointer_mut("/status/loadBalancer/ingress") {
        each(ingress, |entry| {
            if entry["ip"].as_str().is_some_and(|ip| !ip.is_empty()) {
                set(entry, "ipMode", "VIP");
            }
        });
    }
}
