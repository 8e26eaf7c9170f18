//! Between Kubernetes' Service and the allocator's.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, ObjectReference, Service, ServiceSpec};
use kube::{Resource, ResourceExt};
use metallb_api::names;
use metallb_ipam::{Action, Family, FamilyPolicy, Ingress, Key, Port, Protocol};

/// Names a Service.
pub(crate) fn key(service: &Service) -> Key {
    Key::new(&service.namespace().unwrap_or_default(), &service.name_any())
}

/// Tells whether a Service is for us: its class is ours, or we have none and neither has it.
pub(crate) fn of_class(service: &Service, class: &str) -> bool {
    let own = service
        .spec
        .as_ref()
        .and_then(|spec| spec.load_balancer_class.as_deref());
    own.unwrap_or_default() == class
}

/// Tells whether the type is LoadBalancer.
pub(crate) fn is_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

/// Reads what decides about addresses.
pub(crate) fn view(service: &Service) -> metallb_ipam::Service {
    let spec = service.spec.as_ref();
    let empty = ServiceSpec::default();
    let spec = spec.unwrap_or(&empty);
    metallb_ipam::Service {
        uid: service.uid().unwrap_or_default(),
        load_balancer: is_load_balancer(service),
        labels: service.labels().clone(),
        annotations: service.annotations().clone(),
        cluster_ips: cluster_ips(spec),
        primary: primary(spec),
        policy: policy(spec),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        selector: spec.selector.clone().unwrap_or_default(),
        ports: ports(spec),
        load_balancer_ip: spec.load_balancer_ip.clone().unwrap_or_default(),
        ingress: ingress(service).iter().map(entry).collect(),
        ..metallb_ipam::Service::new(key(service))
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
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
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

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.as_deref()).unwrap_or_default()
}

fn entry(ingress: &LoadBalancerIngress) -> Ingress {
    Ingress {
        ip: ingress.ip.clone().unwrap_or_default(),
        hostname: ingress.hostname.clone().unwrap_or_default(),
    }
}

/// The Service as it is to be written; `None` if the actions ask for no write.
///
/// Entries of addresses that stay are left as they are. Upstream: they are made anew, so that
/// `ipMode` and `ports` are lost and every pass finds a difference (W2).
pub(crate) fn written(service: &Service, actions: &[Action]) -> Option<Service> {
    let target = actions.iter().find_map(|action| match action {
        Action::SetIngress { ips, pool } => Some(Some((ips, pool))),
        Action::ClearIngress => Some(None),
        _ => None,
    })?;
    let mut service = service.clone();
    let entries = target.map(|(ips, _)| ips.iter().map(|ip| kept_or_new(&service, *ip)).collect());
    let annotations = service.annotations_mut();
    match target {
        Some((_, pool)) => annotations.insert(names::ANNOTATION_IP_ALLOCATED_FROM_POOL.to_owned(), pool.to_string()),
        None => annotations.remove(names::ANNOTATION_IP_ALLOCATED_FROM_POOL),
    };
    service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress: entries });
    Some(service)
}

fn kept_or_new(service: &Service, ip: IpAddr) -> LoadBalancerIngress {
    let same = |entry: &&LoadBalancerIngress| {
        let own = entry.ip.as_deref().and_then(|own| own.parse::<IpAddr>().ok());
        own.map(|own| own.to_canonical()) == Some(ip) && entry.hostname.as_ref().is_none_or(String::is_empty)
    };
    ingress(service)
        .iter()
        .find(same)
        .cloned()
        .unwrap_or_else(|| LoadBalancerIngress {
            ip: Some(ip.to_string()),
            ..LoadBalancerIngress::default()
        })
}

/// What an event is about.
pub(crate) fn reference(service: &Service) -> ObjectReference {
    ObjectReference {
        // Events on a Service that was watched carry these; lists leave them out of the items.
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        ..service.object_ref(&())
    }
}
