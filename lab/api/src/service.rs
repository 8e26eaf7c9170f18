//! What the real server does to a Service: cluster IPs, families, node ports, and cleaning up after a change of type.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::{ApiError, Result};
use crate::meta::{self, each, set};
use crate::resource::Resource;

/// The networks that cluster IPs are taken from, the primary family first; their hosts count to 2^16.
const NETWORKS: [(&str, &str); 2] = [("IPv4", "10.96.0.0"), ("IPv6", "fd00:10:96::")];

/// Cluster IPs and node ports in use.
#[derive(Debug, Default)]
pub(crate) struct Nets {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    /// The host that was given last.
    last: u16,
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn host(family: &str, number: u16) -> Option<IpAddr> {
    let (_, network) = NETWORKS.iter().find(|(name, _)| *name == family)?;
    Some(match network.parse().ok()? {
        IpAddr::V4(ip) => IpAddr::from((u32::from(ip) | u32::from(number)).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) | u128::from(number)).to_be_bytes()),
    })
}

impl Nets {
    /// The address of the `kubernetes` Service.
    pub(crate) fn first_address(&self) -> String {
        host("IPv4", 1).map(|ip| ip.to_string()).unwrap_or_default()
    }

    fn next(&mut self, family: &str) -> Option<IpAddr> {
        for _ in 0..u16::MAX {
            self.last = self.last.wrapping_add(1).max(2);
            let ip = host(family, self.last)?;
            if self.addresses.insert(ip) {
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
            number(&port["nodePort"]).map(|port| self.ports.remove(&port));
        }
    }

    fn assign_addresses(&mut self, spec: &mut Value) {
        let families: Vec<String> = meta::strings(&spec["ipFamilies"]).into_iter().map(Into::into).collect();
        let mut addresses: Vec<Value> = meta::array(&spec["clusterIPs"]).to_vec();
        if addresses.is_empty() && !meta::text(spec, "/clusterIP").is_empty() {
            addresses.push(spec["clusterIP"].clone());
        }
        if addresses.first().is_none_or(|first| first != "None") {
            self.addresses
                .extend(addresses.iter().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok()));
            for family in families.iter().skip(addresses.len()) {
                // When there is none left, the Service has none.
                addresses.extend(self.next(family).map(|ip| Value::from(ip.to_string())));
            }
            addresses.truncate(families.len().max(1));
        }
        spec["clusterIP"] = addresses.first().cloned().unwrap_or_default();
        spec["clusterIPs"] = addresses.into();
    }

    /// When all node ports are used up, further Services simply have none: the lab may hold more Services than a cluster.
    fn assign_ports(&mut self, spec: &mut Value) {
        each(spec, "ports", |port| {
            let taken = number(&port["nodePort"]).filter(|port| *port != 0);
            let free = || (30000..=32767).find(|port| !self.ports.contains(port));
            if let Some(number) = taken.or_else(free) {
                self.ports.insert(number);
                port["nodePort"] = number.into();
            }
        });
    }
}

fn number(port: &Value) -> Option<u16> {
    u16::try_from(port.as_u64()?).ok()
}

fn kind(spec: &Value) -> &str {
    meta::text(spec, "/type")
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

/// Completes a Service that is about to be stored.
pub(crate) fn complete(resource: &Resource, object: &mut Value, old: Option<&Value>, nets: &mut Nets) -> Result<()> {
    let name = meta::name(object).to_owned();
    let refuse = |field: &str, why: &str| Err(ApiError::invalid(resource, &name, field, why));
    ingress_modes(object);
    let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else {
        return refuse("spec", "is required");
    };
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    set(spec, "internalTrafficPolicy", "Cluster");
    each(spec, "ports", |port| {
        set(port, "protocol", "TCP");
        let number = port["port"].clone();
        set(port, "targetPort", number);
    });
    if let Some(old) = old {
        carry_over(spec, &old["spec"]);
    }
    if kind(spec) == "ExternalName" {
        return Ok(());
    }
    families(spec);
    nets.assign_addresses(spec);
    if has_node_ports(spec) {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind(spec) == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    if has_node_ports(spec) && spec["allocateLoadBalancerNodePorts"] != false {
        nets.assign_ports(spec);
    }
    if old.is_some_and(|old| class_differs(spec, &old["spec"])) {
        return refuse("spec.loadBalancerClass", "may not change once set");
    }
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
    if has_node_ports(spec) {
        each(spec, "ports", |port| {
            let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
            let before = meta::array(&old["ports"]).iter().find(same);
            if let Some(node_port) = before.and_then(|p| p.get("nodePort")).cloned() {
                set(port, "nodePort", node_port);
            }
        });
    } else if has_node_ports(old) {
        let remove = |from: &mut Value, name: &str| drop(from.as_object_mut().map(|map| map.remove(name)));
        each(spec, "ports", |port| remove(port, "nodePort"));
        for name in [
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "allocateLoadBalancerNodePorts",
        ] {
            remove(spec, name);
        }
    }
}

fn families(spec: &mut Value) {
    let given = meta::strings(&spec["ipFamilies"]);
    let ips = meta::strings(&spec["clusterIPs"])
        .into_iter()
        .chain([meta::text(spec, "/clusterIP")]);
    let of_addresses = ips.filter_map(|ip| ip.parse().ok().map(family)).next();
    let primary = given.first().copied().or(of_addresses).unwrap_or("IPv4").to_owned();
    let policy = spec["ipFamilyPolicy"].as_str();
    let dual = policy.map_or(given.len() == 2, |policy| policy != "SingleStack");
    let others = NETWORKS.iter().map(|(family, _)| (*family).to_owned());
    let others = others.filter(|family| dual && *family != primary);
    let families: Vec<String> = [primary.clone()].into_iter().chain(others).collect();
    set(
        spec,
        "ipFamilyPolicy",
        if dual { "RequireDualStack" } else { "SingleStack" },
    );
    spec["ipFamilies"] = json!(families);
}

fn class_differs(spec: &Value, old: &Value) -> bool {
    let both = kind(old) == "LoadBalancer" && kind(spec) == "LoadBalancer";
    both && old["loadBalancerClass"] != spec["loadBalancerClass"]
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
    let status = meta::child(object, "status");
    each(meta::child(status, "loadBalancer"), "ingress", |entry| {
        if entry["ip"].is_string() {
            set(entry, "ipMode", "VIP");
        }
    });
}
