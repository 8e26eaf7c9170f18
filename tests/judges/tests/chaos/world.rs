//! A lab behind the fault proxy, brought to where Services are announced.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::faults::Faults;
use metallb_test_support::{Addresses, ClusterKind, Inside, Lab, Options, RouterKind, Steps};
use serde_json::{Value, json};

pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// How long a component may take to be back.
const RESTART: Duration = Duration::from_secs(30);

/// The two pools of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Layer2,
    Bgp,
}

impl Pool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Layer2 => "layer2",
            Self::Bgp => "bgp",
        }
    }
}

/// A lab whose Services `web-layer2` and `web-bgp` are announced and never touched again.
pub(crate) struct World {
    pub lab: Lab,
    pub faults: Faults,
    pub pinned: Addresses,
    /// Whether the API server is a real one.
    pub real: bool,
}

impl World {
    pub(crate) async fn start(inside: Inside, options: Options) -> Result<Self> {
        let options = Options {
            faults: true,
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let faults = lab.faults().context("the lab has no fault proxy")?.clone();
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        steps.configure().await?;
        steps.start_backends().await?;
        let pinned = steps.create_services().await?;
        steps.request(pinned.layer2).await?;
        steps.next_hops(pinned.bgp, lab.topology().nodes.len()).await?;
        Ok(Self {
            lab,
            faults,
            pinned,
            real: options.cluster != ClusterKind::Embedded,
        })
    }

    /// Sees the truth: it goes past the proxy.
    pub(crate) fn client(&self) -> Client {
        self.lab.kube()
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.client(), "default")
    }

    pub(crate) async fn create(&self, name: &str, pool: Pool) -> Result<()> {
        self.services()
            .create(&PostParams::default(), &service(name, pool, true)?)
            .await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.services().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn ingress(&self, name: &str) -> Result<Option<Ipv4Addr>> {
        Ok(self.services().get_opt(name).await?.as_ref().and_then(ingress))
    }

    /// Waits until the Service has an address.
    pub(crate) async fn assigned(&self, name: &str, limit: Duration) -> Result<Ipv4Addr> {
        wait_for(&format!("an address of {name}"), limit, async || {
            self.ingress(name).await
        })
        .await
    }

    /// Waits until the router has as many next hops for the address.
    pub(crate) async fn routed(&self, address: Ipv4Addr, hops: usize, limit: Duration) -> Result<()> {
        let what = format!("{hops} next hops of {address}");
        wait_for(&what, limit, async || {
            let now = self.lab.router().next_hops(address.into()).await?;
            Ok((now.len() == hops).then_some(()))
        })
        .await
    }

    /// Deletes the pods of a component and waits until as many new ones are ready.
    pub(crate) async fn restart(&self, component: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client(), "metallb-system");
        let ours = ListParams::default().labels(&format!("app=metallb,component={component}"));
        let before: Vec<_> = pods.list(&ours).await?.iter().filter_map(ResourceExt::uid).collect();
        pods.delete_collection(&DeleteParams::default(), &ours).await?;
        wait_for(&format!("new pods of {component}"), RESTART, async || {
            let now = pods.list(&ours).await?;
            let fresh = |pod: &&Pod| pod.uid().is_some_and(|uid| !before.contains(&uid)) && ready(pod);
            Ok((now.iter().filter(fresh).count() >= before.len()).then_some(()))
        })
        .await
    }

    pub(crate) fn nodes(&self) -> usize {
        self.lab.topology().nodes.len()
    }

    /// The log lines of a component's pods that contain `text`.
    pub(crate) fn said(&self, component: &str, text: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.lab.logs())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.contains(component) {
                continue;
            }
            let log = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            found.extend(log.lines().filter(|line| line.contains(text)).map(str::to_owned));
        }
        Ok(found)
    }
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A Service that asks for an address of `pool`; without selector its endpoints are the test's business.
pub(crate) fn service(name: &str, pool: Pool, selector: bool) -> Result<Service> {
    let selector: Value = if selector { json!({"app": "web"}) } else { Value::Null };
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"metallb.io/address-pool": pool.name()}},
        "spec": {"type": "LoadBalancer", "selector": selector, "ports": [{"port": 80, "targetPort": 8080}]},
    }))?)
}

pub(crate) fn ingress(service: &Service) -> Option<Ipv4Addr> {
    let status = service.status.as_ref()?.load_balancer.as_ref()?;
    status.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}

/// Looks again until there is something to see.
pub(crate) async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if began.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
