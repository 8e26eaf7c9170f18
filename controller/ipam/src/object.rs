//! From Kubernetes' Service to what decides about its addresses.

use k8s_openapi::api::core::v1::{self as core, LoadBalancerIngress, ServiceSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::family::{Family, FamilyPolicy};
use crate::key::Key;
use crate::request::{Port, Protocol};
use crate::service::{Ingress, Service};

impl Key {
    /// Names a Service.
    #[must_use]
    pub fn of(service: &core::Service) -> Self {
        Self::new(&service.namespace().unwrap_or_default(), &service.name_any())
    }
}

/// Tells whether a Service belongs to the controller of `class`: their classes are equal, or both empty.
#[must_use]
pub fn is_of_class(service: &core::Service, class: &str) -> bool {
    let spec = service.spec.as_ref();
    let own = spec.and_then(|spec| spec.load_balancer_class.as_deref());
    own.unwrap_or_default() == class
}

/// The order in which Services are imported at start: of two with the same address the older one keeps it.
#[must_use]
pub fn seniority(service: &core::Service) -> (Option<Timestamp>, Option<String>, String) {
    let created = service.creation_timestamp().map(|time| time.0);
    (created, service.namespace(), service.name_any())
}

impl From<&core::Service> for Service {
    fn from(service: &core::Service) -> Self {
        let empty = ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&empty);
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
        Self {
            uid: service.uid().unwrap_or_default(),
            load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
            labels: service.labels().clone(),
            annotations: service.annotations().clone(),
            cluster_ips: cluster_ips(spec),
            primary: primary(spec),
            policy: policy(spec),
            local: spec.external_traffic_policy.as_deref() == Some("Local"),
            selector: spec.selector.clone().unwrap_or_default(),
            ports: ports(spec),
            load_balancer_ip: spec.load_balancer_ip.clone().unwrap_or_default(),
            ingress: ingress.iter().map(entry).collect(),
            ..Self::new(Key::of(service))
        }
    }
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<String> {
    match spec.cluster_ips.as_deref() {
        None | Some([]) => spec.cluster_ip.iter().filter(|ip| !ip.is_empty()).cloned().collect(),
        Some(ips) => ips.to_vec(),
    }
}

fn primary(spec: &ServiceSpec) -> Family {
    match spec.ip_families.iter().flatten().next().map(String::as_str) {
        Some("IPv6") => Family::V6,
        _ => Family::V4,
    }
}

fn policy(spec: &ServiceSpec) -> FamilyPolicy {
    match spec.ip_family_policy.as_deref() {
        Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
        Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
        _ => FamilyPolicy::SingleStack,
    }
}

fn ports(spec: &ServiceSpec) -> Vec<Port> {
    let port = |port: &core::ServicePort| {
        let protocol = match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let number = u16::try_from(port.port).ok()?;
        Some(Port { protocol, number })
    };
    spec.ports.iter().flatten().filter_map(port).collect()
}

fn entry(ingress: &LoadBalancerIngress) -> Ingress {
    Ingress {
        ip: ingress.ip.clone().unwrap_or_default(),
        hostname: ingress.hostname.clone().unwrap_or_default(),
    }
}
