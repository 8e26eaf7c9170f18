//! The facts as the crates want them that decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Secret, Service};
use kube::ResourceExt;
use kube::core::ObjectMeta;
use metallb_announce::{Inputs, NodeView, is_drained};
use metallb_api::names;
use metallb_config::{Backend, Options, Parsed, Resources, View, parse};
use metallb_ipam::{Assigner, is_of_class, seniority};

use crate::args::Global;
use crate::facts::Facts;

/// Where upstream and our own manifests put it.
pub(crate) const USUAL_NAMESPACE: &str = "metallb-system";
/// The label that names the component, of manifests and of Helm.
const COMPONENT: [&str; 2] = [names::LABEL_COMPONENT, "app.kubernetes.io/component"];
/// `--port` of a speaker that is not told.
const DEFAULT_PORT: u16 = 9120;
const NOBODY: &BTreeSet<Arc<str>> = &BTreeSet::new();

/// How the programs run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `--lb-class`; empty for none.
    pub(crate) class: String,
    /// `--ignore-exclude-lb`.
    pub(crate) ignore_exclude_label: bool,
    pub(crate) backend: Backend,
    /// Nodes with a speaker that is alive; none if nobody knows.
    pub(crate) speakers: Option<BTreeSet<Arc<str>>>,
}

/// Configuration, nodes and settings.
pub(crate) struct World {
    /// MetalLB's.
    pub(crate) namespace: String,
    pub(crate) settings: Settings,
    pub(crate) parsed: Parsed,
    pub(crate) nodes: BTreeMap<Arc<str>, NodeView>,
    /// Nodes whose label drains them of BGP traffic.
    pub(crate) drained: BTreeSet<Arc<str>>,
    pub(crate) assumptions: Vec<String>,
}

impl World {
    /// Builds it once for a report.
    ///
    /// # Errors
    /// The namespace cannot be told, or an assumption is not understood.
    pub(crate) fn new(facts: &Facts, global: &Global) -> Result<Self> {
        let namespace = namespace(facts, global.metallb_namespace.as_deref())?;
        let mut assumptions = Vec::new();
        let settings = settings(facts, &namespace, &global.assume, &mut assumptions)?;
        let options = Options {
            backend: settings.backend,
            view: View::Load { node: None },
            ..Options::default()
        };
        Ok(Self {
            parsed: parse(&resources(facts, &namespace), &options),
            nodes: facts
                .nodes
                .list()
                .iter()
                .map(|node| (node.name_any().into(), NodeView::from(node)))
                .collect(),
            drained: facts
                .nodes
                .list()
                .iter()
                .filter(|node| is_drained(node.labels()))
                .map(|node| node.name_any().into())
                .collect(),
            namespace,
            settings,
            assumptions,
        })
    }

    /// Takes in all addresses as the controller does when it starts.
    pub(crate) fn assigner(&self, facts: &Facts) -> Assigner {
        let mut services: Vec<&Service> = facts.services.list().iter().collect();
        services.sort_by_cached_key(|service| seniority(service));
        let mut assigner = Assigner::default();
        assigner.set_pools(&self.parsed.config.pools);
        let ours = |service: &&&Service| is_of_class(service, &self.settings.class);
        let (ours, theirs): (Vec<&Service>, Vec<&Service>) = services.iter().partition(ours);
        for service in ours.into_iter().chain(theirs) {
            assigner.import(&metallb_ipam::Service::from(service));
        }
        assigner
    }

    /// Tells whether the speaker of a node is alive, as far as is known.
    pub(crate) fn is_alive(&self, node: &str) -> bool {
        let speakers = self.settings.speakers.as_ref();
        speakers.is_none_or(|speakers| speakers.contains(node))
    }

    /// Tells whether the speaker of a node can announce routes: it is alive, and the node is not drained.
    pub(crate) fn announces(&self, node: &str) -> bool {
        self.is_alive(node) && !self.drained.contains(node)
    }

    /// What decisions depend on beside a Service. The node is to be put in where it matters.
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            node: "",
            nodes: &self.nodes,
            members: self.settings.speakers.as_ref(),
            suspects: NOBODY,
            extension: None,
            ignore_exclude_label: self.settings.ignore_exclude_label,
            class: &self.settings.class,
        }
    }
}

/// MetalLB's namespace.
pub(crate) fn namespace(facts: &Facts, told: Option<&str>) -> Result<String> {
    if let Some(told) = told {
        return Ok(told.to_owned());
    }
    let mut found = BTreeSet::new();
    found.extend(facts.pools.list().iter().filter_map(ResourceExt::namespace));
    found.extend(facts.address_pools.list().iter().filter_map(ResourceExt::namespace));
    found.extend(facts.l2_advertisements.list().iter().filter_map(ResourceExt::namespace));
    found.extend(
        facts
            .bgp_advertisements
            .list()
            .iter()
            .filter_map(ResourceExt::namespace),
    );
    found.extend(facts.peers.list().iter().filter_map(ResourceExt::namespace));
    if found.len() > 1 {
        let all: Vec<_> = found.into_iter().collect();
        bail!(
            "MetalLB has objects in several namespaces ({}): name one with --metallb-namespace",
            all.join(", ")
        );
    }
    Ok(found.pop_first().unwrap_or_else(|| USUAL_NAMESPACE.to_owned()))
}

/// All objects of the configuration.
pub(crate) fn resources(facts: &Facts, namespace: &str) -> Resources {
    Resources {
        namespace: namespace.to_owned(),
        pools: facts.pools.list().to_vec(),
        address_pools: facts.address_pools.list().to_vec(),
        l2_advertisements: facts.l2_advertisements.list().to_vec(),
        bgp_advertisements: facts.bgp_advertisements.list().to_vec(),
        peers: facts.peers.list().to_vec(),
        bfd_profiles: facts.bfd_profiles.list().to_vec(),
        communities: facts.communities.list().to_vec(),
        nodes: facts.nodes.list().to_vec(),
        namespaces: facts.namespaces.list().to_vec(),
        secrets: secrets(facts.peers.list(), namespace),
    }
}

/// Stand for the Secrets of these peers.
pub(crate) fn secrets(peers: &[metallb_api::BGPPeer], namespace: &str) -> Vec<Secret> {
    peers.iter().filter_map(|peer| secret(peer, namespace)).collect()
}

/// Stands for the Secret of a peer: Secrets are not read, and taken to be there and good.
fn secret(peer: &metallb_api::BGPPeer, namespace: &str) -> Option<Secret> {
    let name = peer.spec.password_secret.as_ref()?.name.clone()?;
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(BTreeMap::from([(
            "password".to_owned(),
            ByteString(b"not read".to_vec()),
        )])),
        ..Secret::default()
    })
}

/// Reads how the programs run from their workloads, else from what is assumed.
fn settings(facts: &Facts, namespace: &str, assume: &[String], assumptions: &mut Vec<String>) -> Result<Settings> {
    let controller = facts
        .deployments
        .list()
        .iter()
        .filter(|own| is_of(*own, namespace, "controller"));
    let controller = controller
        .filter_map(|own| own.spec.as_ref()?.template.spec.as_ref())
        .find_map(program);
    let speaker = facts
        .daemon_sets
        .list()
        .iter()
        .filter(|own| is_of(*own, namespace, "speaker"));
    let speaker = speaker
        .filter_map(|own| own.spec.as_ref()?.template.spec.as_ref())
        .find_map(program);
    let assumed: Result<BTreeMap<&str, &str>> = assume
        .iter()
        .map(|text| {
            text.split_once('=')
                .with_context(|| format!("--assume {text}: KEY=VALUE is expected"))
        })
        .collect();
    let assumed = assumed?;
    let known = ["lb-class", "ignore-exclude-lb", "backend", "speakers"];
    if let Some(key) = assumed.keys().find(|key| !known.contains(key)) {
        bail!("--assume {key}: the keys are {}", known.join(", "));
    }
    let class = assumed.get("lb-class").map(|class| (*class).to_owned());
    let class = class.or_else(|| controller.map(|own| flag(own, "lb-class").unwrap_or_default()));
    let ignore = assumed.get("ignore-exclude-lb").map(|text| *text == "true");
    let ignore =
        ignore.or_else(|| speaker.map(|own| flag(own, "ignore-exclude-lb").is_some_and(|text| text != "false")));
    let backend = match assumed.get("backend") {
        Some(text) => Some(backend(text).with_context(|| format!("--assume backend={text}: native, frr or frr-k8s"))?),
        None => speaker.map(|own| backend(&variable(own, "METALLB_BGP_TYPE")).unwrap_or_default()),
    };
    if class.is_none() {
        assumptions.push("the controller runs without --lb-class".to_owned());
    }
    if ignore.is_none() || backend.is_none() {
        assumptions.push("speakers run without --ignore-exclude-lb, with the native back-end".to_owned());
    }
    let drains = speaker.is_some_and(|own| {
        let told = flag(own, "bgp-drain").unwrap_or_else(|| variable(own, "METALLB_BGP_DRAIN"));
        !told.is_empty()
    });
    if drains {
        assumptions.push("no node is drained but by its label, although speakers run with --bgp-drain".to_owned());
    }
    let named = assumed
        .get("speakers")
        .map(|names| names.split(',').map(Arc::from).collect());
    Ok(Settings {
        class: class.unwrap_or_default(),
        ignore_exclude_label: ignore.unwrap_or_default(),
        backend: backend.unwrap_or_default(),
        speakers: named.or_else(|| speakers(facts, namespace, assumptions)),
    })
}

/// Tells whether a workload or pod is a component of MetalLB, installed by manifests or by Helm.
pub(crate) fn is_of(object: &impl ResourceExt, namespace: &str, component: &str) -> bool {
    let labels = object.labels();
    let own = COMPONENT.map(|key| labels.get(key).map(String::as_str));
    object.namespace().as_deref() == Some(namespace) && own.contains(&Some(component))
}

/// The container that takes our flags: the first one that is no helper of FRR.
fn program(spec: &PodSpec) -> Option<&Container> {
    let own = ["controller", "speaker"];
    spec.containers
        .iter()
        .find(|container| own.contains(&container.name.as_str()))
        .or_else(|| spec.containers.first())
}

/// The value of `--name=value` or `--name value`, empty for a flag without one.
fn flag(container: &Container, name: &str) -> Option<String> {
    let arguments: Vec<&str> = container
        .args
        .iter()
        .flatten()
        .map(|text| text.trim_start_matches('-'))
        .collect();
    arguments
        .iter()
        .enumerate()
        .find_map(|(at, text)| match text.split_once('=') {
            Some((own, value)) => (own == name).then(|| value.to_owned()),
            None => (*text == name).then(|| {
                let next = container.args.iter().flatten().nth(at + 1);
                next.filter(|next| !next.starts_with('-')).cloned().unwrap_or_default()
            }),
        })
}

fn variable(container: &Container, name: &str) -> String {
    let own = container.env.iter().flatten().find(|variable| variable.name == name);
    own.and_then(|variable| variable.value.clone()).unwrap_or_default()
}

fn backend(text: &str) -> Option<Backend> {
    match text {
        // Of the MetalLB resource; its speakers are told `frr-k8s`.
        "frr-k8s-external" => Some(Backend::FrrK8s),
        text => Backend::named(text),
    }
}

/// Nodes whose speaker is Ready.
fn speakers(facts: &Facts, namespace: &str, assumptions: &mut Vec<String>) -> Option<BTreeSet<Arc<str>>> {
    if !facts.pods.is_known() {
        assumptions.push("a speaker is alive on every node".to_owned());
        return None;
    }
    assumptions.push("speakers are alive where their pods are Ready".to_owned());
    let ready = speaker_pods(facts, namespace).filter(|pod| is_ready(pod));
    Some(
        ready
            .filter_map(|pod| Some(pod.spec.as_ref()?.node_name.as_deref()?.into()))
            .collect(),
    )
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pods of speakers.
pub(crate) fn speaker_pods<'a>(facts: &'a Facts, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
    let pods = facts.pods.list().iter();
    pods.filter(move |pod| is_of(*pod, namespace, "speaker"))
}

/// The image of our own container in a pod.
pub(crate) fn image(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(program)?.image.clone()
}

/// The port of `/metrics` and the looking glass; none if it is switched off.
pub(crate) fn port(pod: &Pod) -> Option<u16> {
    let told = pod.spec.as_ref().and_then(program).and_then(|own| flag(own, "port"));
    let port = told.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_PORT);
    (port != 0).then_some(port)
}

/// The version that a component runs, by its image.
pub(crate) fn versions(facts: &Facts) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut versions = BTreeMap::new();
    for pod in facts.pods.list() {
        let labels = pod.labels();
        let own = COMPONENT.iter().find_map(|key| labels.get(*key));
        let component = match own.map(String::as_str) {
            Some("controller") => "controller",
            Some("speaker") => "speaker",
            _ => continue,
        };
        versions
            .entry(component)
            .or_insert_with(BTreeSet::new)
            .extend(image(pod));
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_go_and_clap_do() {
        let container = |args: &[&str]| Container {
            args: Some(args.iter().map(ToString::to_string).collect()),
            ..Container::default()
        };
        let class = |args: &[&str]| flag(&container(args), "lb-class");
        assert_eq!(class(&["--lb-class=a"]).as_deref(), Some("a"));
        assert_eq!(class(&["-lb-class", "a", "--x"]).as_deref(), Some("a"));
        assert_eq!(class(&["--lb-class", "--x"]).as_deref(), Some(""));
        assert_eq!(class(&["--lb-classes=a"]), None);
    }
}
