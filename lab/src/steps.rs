//! What a person does with MetalLB, and what they then observe: shared by the demo and the end-to-end tests.
//!
//! Every step waits until it *saw* its effect, and returns what it saw in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::{Api, ResourceExt};

use crate::apply::{api_of, apply, parse};
use crate::client::Reply;
use crate::lab::Lab;

const CRDS: &str = include_str!("../../manifests/crds.yaml");
/// The manifest of the operator.
pub const OPERATOR: &str = include_str!("../../manifests/metallb-operator.yaml");
const METALLB: &str = include_str!("../manifests/metallb.yaml");
const CONFIG: &str = include_str!("../manifests/config.yaml");
const BAD_POOL: &str = include_str!("../manifests/bad-pool.yaml");
const BAD_PEER: &str = include_str!("../manifests/bad-peer.yaml");
const BACKENDS: &str = include_str!("../manifests/backends.yaml");
const SERVICES: &str = include_str!("../manifests/services.yaml");

/// MetalLB's namespace.
pub const NAMESPACE: &str = "metallb-system";
/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one request may take while the first answer is waited for.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// How often the state is looked at.
const PACE: Duration = Duration::from_millis(10);
/// Enough that an even spread over three leaves none out by chance: 3·(2/3)^60 < 10⁻¹⁰.
const REQUESTS: usize = 60;

/// The addresses that the Services got.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Of the pool announced by ARP.
    pub layer2: Ipv4Addr,
    /// Of the pool announced by BGP.
    pub bgp: Ipv4Addr,
}

/// The steps, on one lab.
#[derive(Clone, Copy)]
pub struct Steps<'a> {
    lab: &'a Lab,
}

impl<'a> Steps<'a> {
    /// Steps on `lab`.
    #[must_use]
    pub fn new(lab: &'a Lab) -> Self {
        Self { lab }
    }

    /// Applies the CustomResourceDefinitions, and waits until they are served.
    ///
    /// # Errors
    /// When they are not, as with every step.
    pub async fn apply_crds(&self) -> Result<String> {
        let count = apply(&self.lab.kube(), CRDS).await?;
        let api: Api<CustomResourceDefinition> = Api::all(self.lab.kube());
        wait_for(
            "the CustomResourceDefinitions to be established",
            PATIENCE,
            async || {
                let all = api.list(&ListParams::default()).await?;
                Ok((all.items.iter().filter(|crd| established(crd)).count() >= count).then_some(()))
            },
        )
        .await?;
        Ok(format!("{count} kinds are served"))
    }

    /// Installs operator and webhook server, and waits until both are available.
    ///
    /// # Errors
    /// When they do not get so.
    pub async fn install_operator(&self) -> Result<String> {
        let count = apply(&self.lab.kube(), OPERATOR).await?;
        for name in ["metallb-operator-controller-manager", "metallb-operator-webhook-server"] {
            self.deployment_available(NAMESPACE, name).await?;
        }
        Ok(format!("{count} objects; operator and webhook server are available"))
    }

    /// Creates the MetalLB resource; waits for its condition and for controller and speakers.
    ///
    /// # Errors
    /// When it does not become available.
    pub async fn create_metallb(&self) -> Result<String> {
        // The webhook server may be ready a moment before its certificate is known to the API server.
        retry("the MetalLB resource to be accepted", async || {
            apply(&self.lab.kube(), METALLB).await
        })
        .await?;
        let object = parse(METALLB)?.remove(0);
        let api = api_of(&self.lab.kube(), &object).await?;
        wait_for("MetalLB to be Available", PATIENCE, async || {
            Ok(condition(&api.get("metallb").await?, "Available").then_some(()))
        })
        .await?;
        self.deployment_available(NAMESPACE, "controller").await?;
        let speakers = self.speakers_ready().await?;
        Ok(format!("Available; controller and {speakers} speakers are ready"))
    }

    /// Waits until all speakers are ready; returns how many.
    ///
    /// # Errors
    /// When they do not get so.
    pub async fn speakers_ready(&self) -> Result<i32> {
        let api: Api<DaemonSet> = Api::namespaced(self.lab.kube(), NAMESPACE);
        wait_for("the speakers to be ready", PATIENCE, async || {
            let status = api.get("speaker").await?.status.unwrap_or_default();
            let current = status.updated_number_scheduled.unwrap_or(0) == status.desired_number_scheduled;
            let ready = current && status.number_ready == status.desired_number_scheduled && status.number_ready > 0;
            Ok(ready.then_some(status.number_ready))
        })
        .await
    }

    /// Creates pools, advertisements and the peer.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn configure(&self) -> Result<String> {
        retry("the configuration to be accepted", async || {
            apply(&self.lab.kube(), CONFIG).await
        })
        .await?;
        let names: Vec<String> = parse(CONFIG)?.iter().map(kind_and_name).collect();
        Ok(names.join(", "))
    }

    /// Tries a pool that overlaps another; returns the refusal.
    ///
    /// # Errors
    /// When it is accepted, or refused without its name and the field.
    pub async fn try_bad_pool(&self) -> Result<String> {
        self.refused(BAD_POOL).await
    }

    /// Tries a peer whose timers contradict each other; returns the refusal.
    ///
    /// # Errors
    /// When it is accepted, or refused without its name and the field.
    pub async fn try_bad_peer(&self) -> Result<String> {
        self.refused(BAD_PEER).await
    }

    async fn refused(&self, text: &str) -> Result<String> {
        let object = parse(text)?.remove(0);
        let name = kind_and_name(&object);
        match apply(&self.lab.kube(), text).await {
            Ok(_) => bail!("{name} was accepted"),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) if names_object_and_field(&status.message, &name) => {
                    Ok(status.message.clone())
                }
                _ => Err(error.context(format!(
                    "{name} was not refused by a webhook that names it and the field"
                ))),
            },
        }
    }

    /// Runs backends and waits until they are ready.
    ///
    /// # Errors
    /// When they do not get ready.
    pub async fn start_backends(&self) -> Result<String> {
        apply(&self.lab.kube(), BACKENDS).await?;
        self.deployment_available("default", "web").await?;
        let pods: Api<Pod> = Api::namespaced(self.lab.kube(), "default");
        let all = pods.list(&ListParams::default().labels("app=web")).await?;
        let nodes: BTreeSet<_> = all
            .iter()
            .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
            .collect();
        Ok(format!("{} pods on {}", all.items.len(), join(&nodes)))
    }

    /// Creates one Service for each pool, and waits for their addresses.
    ///
    /// # Errors
    /// When one gets none.
    pub async fn create_services(&self) -> Result<Addresses> {
        apply(&self.lab.kube(), SERVICES).await?;
        let (layer2, bgp) = (self.address_of("web-layer2").await?, self.address_of("web-bgp").await?);
        Ok(Addresses { layer2, bgp })
    }

    async fn address_of(&self, name: &str) -> Result<Ipv4Addr> {
        let api: Api<Service> = Api::namespaced(self.lab.kube(), "default");
        wait_for(&format!("Service {name} to get an address"), PATIENCE, async || {
            let status = api.get(name).await?.status.and_then(|status| status.load_balancer);
            let ingress = status
                .and_then(|status| status.ingress)
                .and_then(|ingress| ingress.into_iter().next());
            Ok(ingress.and_then(|ingress| ingress.ip).and_then(|ip| ip.parse().ok()))
        })
        .await
    }

    /// Requests an address until it is answered.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn request(&self, address: Ipv4Addr) -> Result<Reply> {
        let client = self.lab.client();
        // A SYN that comes before anybody listens is repeated after a whole second: rather begin anew.
        wait_for(&format!("{address} to answer"), PATIENCE, async || {
            Ok(client.get_within(address, 80, IMPATIENCE).await.ok())
        })
        .await
    }

    /// Waits until the router has `count` next hops for `address`.
    ///
    /// # Errors
    /// When it has others; the message says which.
    pub async fn next_hops(&self, address: Ipv4Addr, count: usize) -> Result<Vec<Ipv4Addr>> {
        let prefix = Ipv4Net::from(address);
        let mut last = Vec::new();
        let waited = wait_for(&format!("{count} next hops of {prefix}"), PATIENCE, async || {
            let hops = self.lab.router().next_hops(prefix).await?;
            let enough = hops.len() == count;
            last.clone_from(&hops);
            Ok(enough.then_some(hops))
        })
        .await;
        waited.with_context(|| format!("the router has {last:?}"))
    }

    /// Sends requests to the BGP address; returns how many came by which node.
    ///
    /// # Errors
    /// When one fails.
    pub async fn spread(&self, address: Ipv4Addr) -> Result<BTreeMap<String, usize>> {
        self.request(address).await?;
        let mut by = BTreeMap::new();
        for _ in 0..REQUESTS {
            *by.entry(self.request(address).await?.via).or_insert(0) += 1;
        }
        Ok(by)
    }

    /// Kills `node` and measures how long `address` is silent.
    ///
    /// # Errors
    /// When it does not come back, or by the same node.
    pub async fn fail_over(&self, node: &str, address: Ipv4Addr) -> Result<(Duration, Reply)> {
        let client = self.lab.client();
        let measured = tokio::spawn(async move { client.measure_gap(address, 80, PATIENCE).await });
        // One good answer before the failure, from which the outage is counted.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.lab.kill_node(node).await?;
        let (outage, reply) = measured.await??;
        ensure!(
            reply.via != node,
            "{address} is still answered by way of {node}, which is dead"
        );
        Ok((outage, reply))
    }

    /// Deletes the MetalLB resource; waits until nothing of it runs and nothing is announced.
    ///
    /// # Errors
    /// When something stays.
    pub async fn delete_metallb(&self, addresses: Addresses) -> Result<String> {
        let object = parse(METALLB)?.remove(0);
        let api = api_of(&self.lab.kube(), &object).await?;
        api.delete("metallb", &DeleteParams::default()).await?;
        self.next_hops(addresses.bgp, 0).await?;
        let client = self.lab.client();
        wait_for("the layer-2 address to fall silent", PATIENCE, async || {
            Ok(client
                .get_as_stranger(addresses.layer2, 80)
                .await
                .is_err()
                .then_some(()))
        })
        .await?;
        let pods: Api<Pod> = Api::namespaced(self.lab.kube(), NAMESPACE);
        wait_for("controller and speakers to be gone", PATIENCE, async || {
            let left = pods
                .list(&ListParams::default().labels("app=metallb,component in (controller,speaker)"))
                .await?;
            Ok(left.items.is_empty().then_some(()))
        })
        .await?;
        wait_for("the MetalLB resource to be gone", PATIENCE, async || {
            Ok(api.get_opt("metallb").await?.is_none().then_some(()))
        })
        .await?;
        Ok("route withdrawn, address silent, controller and speakers gone".into())
    }

    /// Waits until a Deployment is available as it is now.
    ///
    /// # Errors
    /// When it does not get so; the message says what its pods wait for.
    pub async fn deployment_available(&self, namespace: &str, name: &str) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.lab.kube(), namespace);
        let what = format!("Deployment {name} to be available");
        let waited = wait_for(&what, PATIENCE, async || {
            let Some(deployment) = api.get_opt(name).await? else {
                return Ok(None);
            };
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.unwrap_or_default();
            let current = status.observed_generation >= deployment.metadata.generation;
            Ok((current && status.available_replicas.unwrap_or(0) >= wanted).then_some(()))
        });
        match waited.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.why_not_ready(namespace).await)),
        }
    }

    /// What the pods of a namespace wait for.
    async fn why_not_ready(&self, namespace: &str) -> String {
        let pods: Api<Pod> = Api::namespaced(self.lab.kube(), namespace);
        let Ok(all) = pods.list(&ListParams::default()).await else {
            return "the API server does not answer".into();
        };
        let waiting = all.iter().flat_map(|pod| {
            let statuses = pod
                .status
                .iter()
                .flat_map(|status| status.container_statuses.iter().flatten());
            statuses.filter(|status| !status.ready).map(|status| {
                let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
                let reason = waiting
                    .and_then(|waiting| waiting.reason.clone())
                    .unwrap_or_else(|| "not ready".into());
                let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
                format!("{}: {reason} {message}", pod.name_any())
            })
        });
        let waiting: Vec<String> = waiting.collect();
        if waiting.is_empty() {
            "no pod is there yet".into()
        } else {
            waiting.join("; ")
        }
    }
}

/// Looks again and again until `look` sees something.
///
/// # Errors
/// When that takes longer than `limit`, or looking fails.
pub async fn wait_for<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let waiting = async {
        loop {
            if let Some(seen) = look().await? {
                return anyhow::Ok(seen);
            }
            tokio::time::sleep(PACE).await;
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(seen) => seen.with_context(|| format!("while waiting for {what}")),
        Err(_) => bail!("waited {limit:?} in vain for {what}"),
    }
}

/// Tries again while webhooks cannot be called.
async fn retry<T: Debug>(what: &str, mut act: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let tried = wait_for(what, PATIENCE, async || match act().await {
        Ok(done) => Ok(Some(done)),
        Err(error) if unreachable_webhook(&error) => {
            last = Some(error);
            Ok(None)
        }
        Err(error) => Err(error),
    })
    .await;
    match (tried, last) {
        (Err(error), Some(last)) => Err(error.context(format!("{last:#}"))),
        (tried, _) => tried,
    }
}

fn unreachable_webhook(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code >= 500)
}

fn names_object_and_field(refusal: &str, name: &str) -> bool {
    refusal.contains("denied the request") && refusal.contains("spec.") && refusal.contains(name)
}

fn established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn condition(object: &DynamicObject, type_: &str) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

fn kind_and_name(object: &DynamicObject) -> String {
    format!(
        "{} {}",
        object.types.as_ref().map_or("object", |types| &types.kind),
        object.name_any()
    )
}

pub(crate) fn join(words: impl IntoIterator<Item = impl ToString>) -> String {
    words
        .into_iter()
        .map(|word| word.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
