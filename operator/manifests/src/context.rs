//! What is deployed, as resource, environment and the way of installing settle it together.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use metallb_api::{
    BgpBackend, ComponentConfig, MetalLBSpec,
    metallb::{MonitorKind, NetworkPolicies, SidecarConfig, UnknownBackend},
    names,
};

use crate::{EffectiveBackend, Environment, Image, Monitors, Ports, TlsSettings, pod::template_meta};

/// The ways to install MetalLB that differ in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The operator deploys what the MetalLB resource says; webhooks have a Deployment of their own.
    Operator,
    /// People apply a file; the controller serves the webhooks.
    Manifests,
}

/// Everything that the objects depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a MetalLBSpec,
    pub(crate) environment: &'a Environment,
    pub(crate) backend: BgpBackend,
    pub(crate) door: Door,
}

impl<'a> Context<'a> {
    pub(crate) fn new(spec: &'a MetalLBSpec, environment: &'a Environment, door: Door) -> Result<Self, UnknownBackend> {
        let backend = EffectiveBackend::of(spec, environment)?.backend;
        Ok(Self {
            spec,
            environment,
            backend,
            door,
        })
    }

    pub(crate) const fn memberlist_secret(&self) -> &'static str {
        match self.door {
            Door::Operator => names::MEMBERLIST_SECRET,
            Door::Manifests => names::PLAIN_MEMBERLIST_SECRET,
        }
    }

    /// The DaemonSet of frr-k8s.
    pub(crate) const fn frr_k8s(&self) -> &'static str {
        match self.door {
            Door::Operator => names::FRR_K8S,
            Door::Manifests => "frr-k8s-daemon",
        }
    }

    /// The Deployment beside it.
    pub(crate) const fn frr_k8s_cleaner(&self) -> &'static str {
        match self.door {
            Door::Operator => names::FRR_K8S_CLEANER,
            Door::Manifests => "frr-k8s-statuscleaner",
        }
    }

    /// The image of FRR.
    pub(crate) fn frr_image(&self) -> Image {
        self.environment.frr_image.clone().unwrap_or_else(Image::frr)
    }

    /// The image of frr-k8s.
    pub(crate) fn frr_k8s_image(&self) -> Image {
        self.environment.frr_k8s_image.clone().unwrap_or_else(Image::frr_k8s)
    }

    pub(crate) const fn is_openshift(&self) -> bool {
        self.environment.platform.openshift
    }

    pub(crate) fn controller(&self) -> Option<&'a ComponentConfig> {
        self.spec.controller_config.as_ref()
    }

    pub(crate) fn speaker(&self) -> Option<&'a ComponentConfig> {
        self.spec.speaker_config.as_ref()
    }

    /// The ports, those of the resource before those of the environment.
    pub(crate) fn ports(&self) -> Ports {
        let ports = self.environment.ports;
        let memberlist = self.spec.memberlist.as_ref().and_then(|it| it.port);
        let metrics = self.spec.metrics.as_ref().and_then(|it| it.port);
        Ports {
            memberlist: number(memberlist).unwrap_or(ports.memberlist),
            metrics: number(metrics).unwrap_or(ports.metrics),
            ..ports
        }
    }

    /// The port of the metrics of controller and speaker, if they serve any.
    pub(crate) fn metrics_port(&self) -> Option<u16> {
        let metrics = self.spec.metrics.as_ref();
        let enabled = metrics.and_then(|it| it.enabled).unwrap_or(true);
        enabled.then(|| self.ports().metrics)
    }

    /// How Prometheus is told, where the cluster serves the kind.
    pub(crate) fn monitors(&self) -> Monitors {
        let platform = self.environment.platform;
        match self.wanted_monitors() {
            _ if self.metrics_port().is_none() => Monitors::None,
            Monitors::Pods if platform.pod_monitors => Monitors::Pods,
            Monitors::Services if platform.service_monitors => Monitors::Services,
            _ => Monitors::None,
        }
    }

    pub(crate) fn wanted_monitors(&self) -> Monitors {
        match self.spec.metrics.as_ref().and_then(|it| it.monitor) {
            Some(MonitorKind::None) => Monitors::None,
            Some(MonitorKind::PodMonitor) => Monitors::Pods,
            Some(MonitorKind::ServiceMonitor) => Monitors::Services,
            None => self.environment.monitors,
        }
    }

    pub(crate) fn wants_alerts(&self) -> bool {
        let alerts = self.spec.metrics.as_ref().and_then(|it| it.prometheus_rule.as_ref());
        alerts.map_or(self.environment.alerts, |it| it.enabled.unwrap_or(true))
    }

    /// Whether pods mount a certificate of OpenShift for their metrics: it is made for the monitors' Services.
    pub(crate) fn has_metrics_certificate(&self) -> bool {
        self.is_openshift() && self.monitors() == Monitors::Services
    }

    pub(crate) fn has_memberlist(&self) -> bool {
        let memberlist = self.spec.memberlist.as_ref();
        memberlist.and_then(|it| it.enabled).unwrap_or(true)
    }

    pub(crate) fn excludes_interfaces(&self) -> bool {
        let exclude = self.spec.exclude_interfaces.as_ref();
        exclude.and_then(|it| it.enabled).unwrap_or(true)
    }

    pub(crate) fn has_network_policies(&self) -> bool {
        let policies = self.spec.network_policies.as_ref();
        policies
            .and_then(|it| it.enabled)
            .unwrap_or(self.environment.network_policies)
    }

    pub(crate) fn api_server_ports(&self) -> Vec<u16> {
        let of_resource = |it: &NetworkPolicies| {
            it.api_server_ports
                .iter()
                .filter_map(|port| number(Some(*port)))
                .collect()
        };
        let wanted: Vec<_> = self.spec.network_policies.as_ref().map(of_resource).unwrap_or_default();
        if wanted.is_empty() {
            self.environment.api_server_ports.clone()
        } else {
            wanted
        }
    }

    pub(crate) fn tls(&self) -> TlsSettings {
        self.told_tls().effective()
    }

    /// What resource and environment say, whether it has an effect or not.
    fn told_tls(&self) -> TlsSettings {
        let environment = &self.environment.tls;
        let Some(tls) = self.spec.tls.as_ref() else {
            return environment.clone();
        };
        let or = |text: String, other: &String| if text.is_empty() { other.clone() } else { text };
        let curves: Vec<_> = tls.curve_preferences.iter().map(ToString::to_string).collect();
        let version = tls.min_version.map(|it| it.name().to_owned()).unwrap_or_default();
        TlsSettings {
            cipher_suites: or(tls.cipher_suites.join(","), &environment.cipher_suites),
            curve_preferences: or(curves.join(","), &environment.curve_preferences),
            min_version: or(version, &environment.min_version),
        }
    }

    /// The resources of a container beside the component's own one.
    pub(crate) fn sidecar(
        &self,
        pick: impl Fn(&metallb_api::metallb::FrrConfig) -> Option<&SidecarConfig>,
    ) -> Option<ResourceRequirements> {
        self.spec.frr_config.as_ref().and_then(pick)?.resources.clone()
    }

    /// The metadata of the pods of controller or speaker, with what a scraper without monitors goes by.
    ///
    /// Upstream: its plain manifests name no scheme, and so an endpoint that speaks HTTPS is asked over HTTP.
    pub(crate) fn pod_meta(&self, labels: BTreeMap<String, String>, config: Option<&ComponentConfig>) -> ObjectMeta {
        let mut meta = template_meta(labels, config);
        if let (Door::Manifests, Some(port)) = (self.door, self.metrics_port()) {
            let port = port.to_string();
            let hints = [("scrape", "true"), ("scheme", "https"), ("port", port.as_str())];
            let annotations = meta.annotations.get_or_insert_default();
            annotations.extend(hints.map(|(name, value)| (format!("prometheus.io/{name}"), value.to_owned())));
        }
        meta
    }

    /// Puts in what all pods have in common besides what their component configures.
    pub(crate) fn finish(&self, pod: &mut PodSpec) {
        let secrets = &self.spec.image_pull_secrets;
        pod.image_pull_secrets = (!secrets.is_empty()).then(|| secrets.clone());
        let policy = self.spec.image_pull_policy.map(|policy| policy.name().to_owned());
        let pulled = |container: &mut Container| container.image_pull_policy.clone_from(&policy);
        pod.containers.iter_mut().for_each(pulled);
        pod.init_containers.iter_mut().flatten().for_each(pulled);
    }
}

/// A port, unless it is none: the resource was refused then.
fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}
