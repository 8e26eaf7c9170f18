//! Between Kubernetes' Service and the allocator's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, ObjectReference, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use metallb_api::names::{
    self, CONDITION_ALLOCATED as ALLOCATED, CONDITION_ANNOUNCEABLE as ANNOUNCEABLE, CONDITION_ANNOUNCED as ANNOUNCED,
};
use metallb_ipam::{Action, Key, Standing};

/// The conditions that we write.
const OURS: [&str; 3] = [ALLOCATED, ANNOUNCEABLE, ANNOUNCED];

/// Names a Service.
pub(crate) fn key(service: &Service) -> Key {
    Key::of(service)
}

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.as_deref()).unwrap_or_default()
}

/// The Service as it is to be written; `None` if there is nothing to write.
///
/// Entries of addresses that stay are left as they are. Upstream: they are made anew, so that
/// `ipMode` and `ports` are lost and every pass finds a difference (W2).
pub(crate) fn written(
    service: &Service,
    actions: &[Action],
    standing: Option<&Standing>,
    conditions: &Conditions<'_>,
    now: Timestamp,
) -> Option<Service> {
    let allocated = Wanted::of(standing);
    let target = actions.iter().find_map(|action| match action {
        Action::SetIngress { ips, pool } => Some(Some((ips, pool))),
        Action::ClearIngress => Some(None),
        _ => None,
    });
    if target.is_none() && tells(service, &allocated) && conditions.are_met(service) {
        return None;
    }
    let mut service = service.clone();
    if let Some(target) = target {
        let entries = target.map(|(ips, _)| ips.iter().map(|ip| kept_or_new(&service, *ip)).collect());
        let annotations = service.annotations_mut();
        // What a version of old has noted contradicts us sooner or later.
        annotations.remove(names::DEPRECATED_ANNOTATION_IP_ALLOCATED_FROM_POOL);
        match target {
            Some((_, pool)) => {
                annotations.insert(names::ANNOTATION_IP_ALLOCATED_FROM_POOL.to_owned(), pool.to_string())
            }
            None => annotations.remove(names::ANNOTATION_IP_ALLOCATED_FROM_POOL),
        };
        service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress: entries });
    }
    set_condition(&mut service, ALLOCATED, &allocated, now);
    set_condition(&mut service, ANNOUNCEABLE, conditions.announceable, now);
    set_condition(&mut service, ANNOUNCED, conditions.announced, now);
    Some(service)
}

/// The addresses in the status.
pub(crate) fn addresses(service: &Service) -> Vec<IpAddr> {
    let texts = ingress(service).iter().filter_map(|entry| entry.ip.as_deref());
    texts
        .filter_map(|text| Some(text.parse::<IpAddr>().ok()?.to_canonical()))
        .collect()
}

/// Stands for what a written Service says: equal for writes that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Addresses and pool.
    assigned: u64,
    /// And conditions.
    all: u64,
}

impl Digest {
    /// Tells whether somebody else has undone this write, as another one is to follow that `assigns` addresses or does not.
    pub(crate) fn is_undone_by(self, assigns: bool, next: Self) -> bool {
        self == next || (assigns && self.assigned == next.assigned)
    }
}

/// Says what a Service says.
pub(crate) fn digest(service: &Service) -> Digest {
    let mut hasher = DefaultHasher::new();
    // One that was made anew under its name is another one.
    (service.uid(), addresses(service)).hash(&mut hasher);
    let mark = service.annotations().get(names::ANNOTATION_IP_ALLOCATED_FROM_POOL);
    mark.hash(&mut hasher);
    let assigned = hasher.finish();
    for kind in OURS {
        let said = condition(service, kind).map(|own| (&own.status, &own.reason, &own.message));
        said.hash(&mut hasher);
    }
    Digest {
        assigned,
        all: hasher.finish(),
    }
}

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// As it is.
    Unchanged,
    /// None of this type.
    Absent,
    /// One that says this.
    Says {
        status: &'static str,
        reason: &'static str,
        message: String,
    },
}

impl Wanted {
    fn of(standing: Option<&Standing>) -> Self {
        standing.map_or(Self::Absent, |standing| Self::Says {
            status: if standing.allocated { "True" } else { "False" },
            reason: standing.reason,
            message: standing.message.clone(),
        })
    }

    /// Tells whether it is so.
    pub(crate) fn is_met(&self, own: Option<&Condition>) -> bool {
        match self {
            Self::Unchanged => true,
            Self::Absent => own.is_none(),
            Self::Says {
                status,
                reason,
                message,
            } => own.is_some_and(|own| own.status == *status && own.reason == *reason && own.message == *message),
        }
    }
}

/// What a Service should say of those who may announce it, and of those who do.
pub(crate) struct Conditions<'a> {
    pub(crate) announceable: &'a Wanted,
    pub(crate) announced: &'a Wanted,
    /// Otherwise it is said only if something else is.
    pub(crate) announced_is_due: bool,
}

impl Conditions<'_> {
    fn are_met(&self, service: &Service) -> bool {
        let announced = !self.announced_is_due || self.announced.is_met(announced(service));
        announced && self.announceable.is_met(announceable(service))
    }
}

/// Tells whether the Service carries a condition of ours.
pub(crate) fn has_condition(service: &Service) -> bool {
    OURS.into_iter().any(|kind| condition(service, kind).is_some())
}

/// What the Service says of nodes that may announce it.
pub(crate) fn announceable(service: &Service) -> Option<&Condition> {
    condition(service, ANNOUNCEABLE)
}

/// What the Service says of those who announce it.
pub(crate) fn announced(service: &Service) -> Option<&Condition> {
    condition(service, ANNOUNCED)
}

fn condition<'a>(service: &'a Service, kind: &str) -> Option<&'a Condition> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Tells whether the Service says of itself how it stands.
///
/// That all is well need not be said: a Service taken over from upstream is not written for that alone.
fn tells(service: &Service, standing: &Wanted) -> bool {
    let own = condition(service, ALLOCATED);
    let well = matches!(standing, Wanted::Says { reason, .. } if *reason == names::allocation_reason::ALLOCATED);
    standing.is_met(own) || (own.is_none() && well)
}

/// The time of transition moves with the status of the condition only.
fn set_condition(service: &mut Service, kind: &str, wanted: &Wanted, now: Timestamp) {
    let before = condition(service, kind).cloned();
    if wanted.is_met(before.as_ref()) {
        return;
    }
    let conditions = &mut service.status.get_or_insert_default().conditions;
    let mut all = conditions.take().unwrap_or_default();
    all.retain(|condition| condition.type_ != kind);
    if let Wanted::Says {
        status,
        reason,
        message,
    } = wanted
    {
        let since = before.filter(|before| before.status == *status);
        // Whole seconds are all that the API keeps.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        all.push(Condition {
            type_: kind.to_owned(),
            status: (*status).to_owned(),
            reason: (*reason).to_owned(),
            message: message.clone(),
            last_transition_time: since.map_or(Time(now), |before| before.last_transition_time),
            observed_generation: None,
        });
    }
    *conditions = Some(all).filter(|all| !all.is_empty());
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
