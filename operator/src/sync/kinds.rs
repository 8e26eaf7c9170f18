//! The kinds that the operator deploys, and where it looks for their objects.

use std::time::Duration;

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource,
    core::{ApiResource, GroupVersionKind},
    runtime::watcher,
};
use metallb_api::names;
use metallb_manifests::MANAGED_BY;

use crate::openshift;

const MONITORING: (&str, &str) = ("monitoring.coreos.com", "v1");

/// How soon a kind that the cluster does not have is looked for again.
const ABSENT_AGAIN: Duration = Duration::from_secs(15);

/// The same for a kind of the platform itself: clusters do not change that.
const PLATFORM_AGAIN: Duration = Duration::from_secs(300);

/// Objects of one kind that are watched together.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    /// The one object that counts. Where rights are given by name, asking by labels is not allowed.
    pub(crate) name: Option<&'static str>,
    /// Whether clusters may lack the kind.
    pub(crate) optional: bool,
    /// How soon it is looked for again where it is lacking.
    pub(crate) absent_again: Duration,
}

impl Kind {
    fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespaced: true,
            name: None,
            optional: false,
            absent_again: ABSENT_AGAIN,
        }
    }

    fn named<K: Resource<DynamicType = ()>>(name: &'static str) -> Self {
        Self {
            name: Some(name),
            ..Self::of::<K>()
        }
    }

    fn foreign((group, version): (&str, &str), kind: &str) -> Self {
        Self {
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
            namespaced: true,
            name: None,
            optional: true,
            absent_again: ABSENT_AGAIN,
        }
    }

    /// One object of a kind that one platform has and others never will.
    fn of_platform(resource: ApiResource, name: &'static str) -> Self {
        Self {
            resource,
            namespaced: false,
            name: Some(name),
            optional: true,
            absent_again: PLATFORM_AGAIN,
        }
    }

    fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// Selects what is watched, on the server: whatever else the cluster holds costs no memory here.
    pub(crate) fn selection(&self) -> watcher::Config {
        match self.name {
            Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
            None => watcher::Config::default().labels(&selector()),
        }
    }
}

/// The labels of what we deploy, as a selector.
pub(crate) fn selector() -> String {
    format!("{}={},{}={}", names::LABEL_APP, names::APP, MANAGED_BY.0, MANAGED_BY.1)
}

/// Lists everything that is watched besides the MetalLB resource.
///
/// Upstream: watches nothing that it deploys, so that what is edited or deleted stays broken.
pub(crate) fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        Kind::of::<ConfigMap>(),
        Kind::of::<DaemonSet>(),
        Kind::of::<Deployment>(),
        Kind::of::<NetworkPolicy>(),
        Kind::of::<PodDisruptionBudget>(),
        Kind::of::<Service>(),
        Kind::of::<ServiceAccount>(),
        Kind::named::<Deployment>(names::WEBHOOK_DEPLOYMENT),
        Kind::named::<Secret>(names::FRR_K8S_WEBHOOK_SECRET),
        Kind::named::<Secret>(names::METRICS_TOKEN_SECRET),
        Kind::foreign(MONITORING, "PodMonitor"),
        Kind::foreign(MONITORING, "PrometheusRule"),
        Kind::foreign(MONITORING, "ServiceMonitor"),
        Kind::named::<ValidatingWebhookConfiguration>(names::FRR_K8S_WEBHOOK_CONFIGURATION).cluster_wide(),
        speaker_constraints(),
    ];
    kinds.extend(openshift::OBJECTS.map(|(group, kind, name)| {
        Kind::of_platform(ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind)), name)
    }));
    kinds
}

fn speaker_constraints() -> Kind {
    let kind = GroupVersionKind::gvk("security.openshift.io", "v1", "SecurityContextConstraints");
    // Already a plural, which the rules of English do not tell.
    let resource = ApiResource::from_gvk_with_plural(&kind, "securitycontextconstraints");
    Kind::of_platform(resource, names::SPEAKER_SCC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_watched_by_labels_or_by_one_name() {
        for kind in kinds() {
            let config = kind.selection();
            assert_ne!(
                config.label_selector.is_some(),
                config.field_selector.is_some(),
                "{kind:?}"
            );
        }
    }

    /// Whatever the server has a 403 for is a watch that sees nothing.
    #[test]
    fn the_operator_may_watch_all_that_it_watches() {
        let rights = metallb_manifests::rights::operator();
        let has = |list: &Option<Vec<String>>, wanted: &str| list.iter().flatten().any(|item| item == wanted);
        for kind in kinds() {
            let rules = if kind.namespaced {
                &rights.namespace
            } else {
                &rights.cluster
            };
            let watched = rules.iter().any(|rule| {
                has(&rule.api_groups, &kind.resource.group)
                    && has(&rule.resources, &kind.resource.plural)
                    && ["list", "watch"]
                        .iter()
                        .all(|verb| rule.verbs.iter().any(|own| own == verb))
            });
            assert!(watched, "{kind:?}");
        }
    }

    #[test]
    fn cluster_scoped_objects_are_watched_by_name_only() {
        assert!(
            kinds()
                .iter()
                .filter(|kind| !kind.namespaced)
                .all(|kind| kind.name.is_some())
        );
    }
}
