//! Requests go on while pods are replaced: by a restart, and by another image.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::Api;
use kube::api::{Patch, PatchParams};
use metallb_test_support::{HttpClient, Inside, Lab, Options, RouterKind, Steps, wait_for};
use metallb_tests::Outcome;
use metallb_tests::path::announced;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(300);
/// When a connection counts as broken. One that lives in the moment in which its address moves to another node, or the
/// router's next hops change, goes on by a node that knows nothing of it: it is reset, or its packets are dropped. That is so
/// with every announcer, so a request is lost only if a new connection does not help.
const BROKEN: Duration = Duration::from_secs(3);
/// How often an address or a next hop may come and go while all pods are replaced, each time under one connection at most.
const MOVES: usize = 12;
/// Between two requests.
const PACE: Duration = Duration::from_millis(20);
const IMAGE: &str = concat!("ghcr.io/metallb-rs/metallb:v", env!("CARGO_PKG_VERSION"));
const NEXT: &str = "ghcr.io/metallb-rs/metallb:next";

/// Requests to one address, one after the other on new connections.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
    running: JoinHandle<Result<Duration>>,
}

impl Load {
    fn start(client: HttpClient, address: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let [sent, broken] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let (until, count, again) = (stop.clone(), sent.clone(), broken.clone());
        let running = tokio::spawn(async move {
            let mut slow = Duration::ZERO;
            while !until.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let began = Instant::now();
                let mut answer = client.get_within(address, 80, BROKEN).await;
                if answer.is_err() {
                    again.fetch_add(1, Ordering::Relaxed);
                    answer = client.get_within(address, 80, BROKEN).await;
                }
                answer.with_context(|| format!("request {number} to {address}"))?;
                slow = slow.max(began.elapsed());
                tokio::time::sleep(PACE).await;
            }
            Ok(slow)
        });
        Self {
            stop,
            sent,
            broken,
            running,
        }
    }

    async fn end(self, what: &str) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let slow = self.running.await?.with_context(|| what.to_owned())?;
        let (sent, broken) = (self.sent.load(Ordering::Relaxed), self.broken.load(Ordering::Relaxed));
        println!(
            "{what}: {sent} requests, all answered, {broken} of them by a second connection, the slowest within {slow:.2?}"
        );
        ensure!(broken <= MOVES, "{what}: {broken} connections broke");
        Ok(())
    }
}

pub(crate) fn under_load(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        for (what, image) in [("restart", IMAGE), ("upgrade", NEXT)] {
            let loads = [addresses.layer2, addresses.bgp].map(|address| Load::start(lab.client(), address));
            if image == NEXT {
                lab.tag_image(IMAGE, NEXT).await?;
                upgrade(&lab).await.context("upgrade")?;
            } else {
                restart(&lab).await.context("restart")?;
            }
            for load in loads {
                load.end(what).await?;
            }
        }
        lab.stop().await;
        Ok(())
    })
}

/// Replaces all pods, as `kubectl rollout restart` does.
async fn restart(lab: &Lab) -> Result<()> {
    let (client, params) = (lab.kube(), PatchParams::default());
    let stamp = |at: &str| {
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": at });
        Patch::Merge(json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }))
    };
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    sets.patch("speaker", &params, &stamp("now")).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments.patch("controller", &params, &stamp("now")).await?;
    rolled_out(lab).await
}

/// Gives the operator another image, for itself and for what it deploys.
async fn upgrade(lab: &Lab) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(lab.kube(), NAMESPACE);
    let images: Vec<Value> = ["SPEAKER_IMAGE", "CONTROLLER_IMAGE"]
        .map(|name| json!({ "name": name, "value": NEXT }))
        .into();
    let container = json!({ "name": "manager", "image": NEXT, "env": images });
    let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    let operator = "metallb-operator-controller-manager";
    deployments
        .patch(operator, &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    Steps::new(lab).deployment_available(NAMESPACE, operator).await?;
    let sets: Api<DaemonSet> = Api::namespaced(lab.kube(), NAMESPACE);
    wait_for("the DaemonSet to have the new image", PATIENCE, async || {
        let spec = sets.get("speaker").await?.spec.and_then(|spec| spec.template.spec);
        let new = |image: Option<&str>| image == Some(NEXT);
        Ok(spec
            .is_some_and(|pod| new(pod.containers[0].image.as_deref()))
            .then_some(()))
    })
    .await?;
    rolled_out(lab).await
}

async fn rolled_out(lab: &Lab) -> Result<()> {
    let sets: Api<DaemonSet> = Api::namespaced(lab.kube(), NAMESPACE);
    wait_for("all speakers to be new and ready", PATIENCE, async || {
        let set = sets.get("speaker").await?;
        let status = set.status.unwrap_or_default();
        let wanted = status.desired_number_scheduled;
        let current = status.observed_generation == set.metadata.generation;
        let done = status.updated_number_scheduled == Some(wanted) && status.number_available == Some(wanted);
        Ok((current && done).then_some(()))
    })
    .await?;
    Steps::new(lab).deployment_available(NAMESPACE, "controller").await?;
    let ready = Steps::new(lab).speakers_ready().await?;
    ensure!(
        usize::try_from(ready)? == lab.topology().nodes.len(),
        "{ready} speakers are ready"
    );
    Ok(())
}
