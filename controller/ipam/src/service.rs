//! What is read from a Service, and how its texts are understood.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use metallb_api::names;

use crate::family::{Families, Family, FamilyPolicy};
use crate::key::Key;
use crate::refusal::RequestError;
use crate::request::{Backend, Port, Request, Sharing};

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// The address as written; empty if there is none.
    pub ip: String,
    /// The host name; empty if there is none.
    pub hostname: String,
}

/// The part of a Service that decides about its addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`: a Service that was deleted and made again is another one.
    pub uid: String,
    /// Whether `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.clusterIPs`, or `spec.clusterIP` alone.
    pub cluster_ips: Vec<String>,
    /// The first of `spec.ipFamilies`.
    pub primary: Family,
    /// `spec.ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// Whether `spec.externalTrafficPolicy` is `Local`.
    pub local: bool,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// `spec.loadBalancerIP`; empty if not set.
    pub load_balancer_ip: String,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
    /// Addresses that the status may come to show at any time: of writes that were sent, and whose end nobody knows.
    pub sent: Vec<IpAddr>,
}

impl Service {
    /// An empty ClusterIP Service.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            uid: String::new(),
            load_balancer: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            cluster_ips: Vec::new(),
            primary: Family::V4,
            policy: FamilyPolicy::SingleStack,
            local: false,
            selector: BTreeMap::new(),
            ports: Vec::new(),
            load_balancer_ip: String::new(),
            ingress: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Tells whether the Service carries our mark, be it the one of old.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.noted_pool().is_some()
    }

    /// The pool that is noted on the Service, by us or by a version of old.
    #[must_use]
    pub fn noted_pool(&self) -> Option<&str> {
        let old = || {
            self.annotations
                .get(names::DEPRECATED_ANNOTATION_IP_ALLOCATED_FROM_POOL)
        };
        self.marked_pool().or_else(|| old().map(String::as_str))
    }

    /// The pool that we have written on the Service.
    #[must_use]
    pub fn marked_pool(&self) -> Option<&str> {
        self.annotations
            .get(names::ANNOTATION_IP_ALLOCATED_FROM_POOL)
            .map(String::as_str)
    }

    /// Addresses in the status, in order; entries without one are left out.
    ///
    /// # Errors
    /// The texts of the status if one is no address.
    pub fn ingress_ips(&self) -> Result<Vec<IpAddr>, Vec<String>> {
        let texts: Vec<_> = self
            .ingress
            .iter()
            .map(|ingress| &ingress.ip)
            .filter(|ip| !ip.is_empty())
            .collect();
        let ips: Result<Vec<_>, _> = texts.iter().map(|text| address(text)).collect();
        ips.map_err(|()| texts.into_iter().cloned().collect())
    }

    /// The addresses in the status, if that is a list as we would write it: one, or one of each family, or none.
    pub(crate) fn proper_ingress(&self) -> Option<Vec<IpAddr>> {
        let ips = self.ingress_ips().ok()?;
        (ips.is_empty() || Families::of(&ips).is_some()).then_some(ips)
    }

    /// The addresses in the status, whatever stands beside them.
    pub(crate) fn legible_ingress(&self) -> Vec<IpAddr> {
        let texts = self.ingress.iter().map(|ingress| &ingress.ip);
        texts.filter_map(|text| address(text).ok()).collect()
    }

    /// All addresses that the status shows or may come to show, whatever else it shows.
    #[must_use]
    pub fn shown(&self) -> Vec<IpAddr> {
        let mut shown = self.legible_ingress();
        for ip in &self.sent {
            if !shown.contains(ip) {
                shown.push(*ip);
            }
        }
        shown
    }

    /// Families of the cluster addresses; `None` if they are no proper list of one or two.
    #[must_use]
    pub fn families(&self) -> Option<Families> {
        let ips: Result<Vec<_>, _> = self.cluster_ips.iter().map(|text| address(text)).collect();
        Families::of(&ips.ok()?)
    }

    /// Annotations with the prefix of old that users have written.
    pub fn deprecated_annotations(&self) -> impl Iterator<Item = &str> {
        let keys = self.annotations.keys().map(String::as_str);
        let theirs = |key: &&str| *key != names::DEPRECATED_ANNOTATION_IP_ALLOCATED_FROM_POOL;
        keys.filter(|key| key.starts_with(names::DEPRECATED_ANNOTATION_PREFIX))
            .filter(theirs)
    }

    /// The value of an annotation: the current name counts if it is there, be it empty.
    fn annotation(&self, current: &str, deprecated: &str) -> &str {
        let value = self
            .annotations
            .get(current)
            .or_else(|| self.annotations.get(deprecated));
        value.map_or("", String::as_str)
    }

    /// The addresses asked for; none if nothing is.
    ///
    /// # Errors
    /// Says what cannot be understood.
    pub fn wanted(&self) -> Result<Vec<IpAddr>, RequestError> {
        let list = self.annotation(
            names::ANNOTATION_LOAD_BALANCER_IPS,
            names::DEPRECATED_ANNOTATION_LOAD_BALANCER_IPS,
        );
        let field = self.load_balancer_ip.as_str();
        let ips = match (list, field) {
            ("", "") => return Ok(Vec::new()),
            ("", field) => vec![address(field).map_err(|()| RequestError::Field(field.to_owned()))?],
            (list, "") => {
                let ips: Result<Vec<_>, _> = list.split(',').map(|text| address(text.trim())).collect();
                ips.map_err(|()| RequestError::Annotation(list.to_owned()))?
            }
            _ => return Err(RequestError::Both),
        };
        match ips.as_slice() {
            [_] => Ok(ips),
            [a, b] if a.is_ipv4() == b.is_ipv4() => Err(RequestError::SameFamily(ips)),
            [_, _] => Ok(ips),
            _ => Err(RequestError::Length(ips)),
        }
    }

    /// The pool asked for.
    #[must_use]
    pub fn wanted_pool(&self) -> Option<&str> {
        let pool = self.annotation(
            names::ANNOTATION_ADDRESS_POOL,
            names::DEPRECATED_ANNOTATION_ADDRESS_POOL,
        );
        (!pool.is_empty()).then_some(pool)
    }

    fn sharing(&self) -> Option<Sharing> {
        let key = self.annotation(
            names::ANNOTATION_ALLOW_SHARED_IP,
            names::DEPRECATED_ANNOTATION_ALLOW_SHARED_IP,
        );
        (!key.is_empty()).then(|| Sharing {
            key: key.into(),
            backend: self.backend(),
        })
    }

    fn backend(&self) -> Backend {
        if !self.local {
            return Backend::Cluster;
        }
        if self.selector.is_empty() {
            return Backend::Own {
                service: self.key.to_string(),
            };
        }
        let pairs: Vec<_> = self
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Backend::Local {
            namespace: self.key.namespace().to_owned(),
            selector: pairs.join(","),
        }
    }

    /// What the Service asks for; addresses and pool asked for by name are left out if told so.
    pub(crate) fn request(&self, families: Families, wanted: Vec<IpAddr>, pool: Option<&str>) -> Request {
        let mut ports = self.ports.clone();
        ports.sort_unstable();
        ports.dedup();
        Request {
            namespace: self.key.namespace().to_owned(),
            labels: self.labels.clone(),
            families,
            policy: self.policy,
            primary: self.primary,
            wanted,
            pool: pool.map(str::to_owned),
            sharing: self.sharing(),
            ports,
            prefer: Vec::new(),
        }
    }
}

/// An address as Go reads it: IPv4-mapped ones are IPv4.
fn address(text: &str) -> Result<IpAddr, ()> {
    IpAddr::from_str(text).map(|ip| ip.to_canonical()).map_err(drop)
}
