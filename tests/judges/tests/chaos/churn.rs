//! A day in the life of a cluster, at speed: Services, endpoints and pools come, change and go.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{Pool, World, service, wait_for};

/// The most Services at a time.
const MOST: usize = 16;
/// How long an operation may be refused, for webhooks that cannot read what they must.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the day has made so far.
pub(crate) struct Day<'a> {
    world: &'a World,
    rng: Rng,
    /// Every Service, with whether it should be announced.
    pub live: BTreeMap<String, (Pool, bool)>,
    made: usize,
    /// How often each operation was done.
    pub done: BTreeMap<&'static str, usize>,
    extra_pool: bool,
    /// A ready pod, by which Services without selector are served.
    endpoint: Ipv4Addr,
}

impl<'a> Day<'a> {
    pub(crate) async fn begin(world: &'a World, rng: Rng) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(world.client(), "default");
        let pods = pods.list(&ListParams::default().labels("app=web")).await?;
        let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
        Ok(Self {
            world,
            rng,
            live: BTreeMap::new(),
            made: 0,
            done: BTreeMap::new(),
            extra_pool: false,
            endpoint: pods.iter().find_map(address).context("no backend has an address")?,
        })
    }

    /// Does one thing.
    pub(crate) async fn step(&mut self) -> Result<()> {
        let what = match self.rng.u8(0..10) {
            0..=3 if self.live.len() < MOST => self.create().await?,
            4 | 5 => self.delete().await?,
            6..=8 => self.turn_endpoints().await?,
            9 => self.turn_pool().await?,
            _ => self.delete().await?,
        };
        *self.done.entry(what).or_insert(0) += 1;
        Ok(())
    }

    async fn create(&mut self) -> Result<&'static str> {
        self.made += 1;
        let name = format!("day-{}", self.made);
        let pool = if self.rng.bool() { Pool::Layer2 } else { Pool::Bgp };
        let own_endpoints = self.rng.bool();
        let object = service(&name, pool, !own_endpoints)?;
        self.world.services().create(&PostParams::default(), &object).await?;
        if own_endpoints {
            self.endpoints()
                .create(&PostParams::default(), &self.slice(&name)?)
                .await?;
        }
        self.live.insert(name, (pool, true));
        Ok("Services created")
    }

    async fn delete(&mut self) -> Result<&'static str> {
        let Some(name) = self.any(|_| true) else {
            return self.create().await;
        };
        self.world.delete(&name).await?;
        let slices = self.endpoints();
        if slices.get_opt(&name).await?.is_some() {
            // The garbage collector of a real control plane may be quicker.
            let _ = slices.delete(&name, &DeleteParams::default()).await;
        }
        self.live.remove(&name);
        Ok("Services deleted")
    }

    async fn turn_endpoints(&mut self) -> Result<&'static str> {
        let slices = self.endpoints();
        let own = slices.list(&ListParams::default().labels("chaos=own")).await?;
        let names: Vec<String> = own.into_iter().filter_map(|slice| slice.metadata.name).collect();
        let Some(name) = self.any(|name| names.contains(&name.to_owned())) else {
            return self.create().await;
        };
        let Some((_, announced)) = self.live.get_mut(&name) else {
            return Ok("nothing");
        };
        *announced = !*announced;
        let patch = json!({"endpoints": [{"addresses": [self.endpoint], "conditions": {"ready": *announced}}]});
        slices
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok("endpoints turned")
    }

    /// A pool that nobody uses comes and goes, which every component has to digest.
    async fn turn_pool(&mut self) -> Result<&'static str> {
        let api = pools(self.world);
        let make = !self.extra_pool;
        wait_for("the webhooks to judge a pool", PATIENCE, async || {
            let done = if make {
                let pool = extra_pool()?;
                api.create(&PostParams::default(), &pool).await.map(drop)
            } else {
                api.delete("extra", &DeleteParams::default()).await.map(drop)
            };
            match done {
                Ok(()) => Ok(Some(())),
                // Made before an answer was lost on the way from the webhook.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Some(())),
                Err(kube::Error::Api(status)) if status.code != 422 => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.extra_pool = make;
        Ok("pools turned")
    }

    fn any(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let names: Vec<&String> = self.live.keys().filter(|name| wanted(name)).collect();
        self.rng.choice(names).cloned()
    }

    fn endpoints(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.world.client(), "default")
    }

    fn slice(&self, name: &str) -> Result<EndpointSlice> {
        Ok(serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name, "chaos": "own"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [self.endpoint], "conditions": {"ready": true}}],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }))?)
    }

    /// What is not yet as it should be.
    pub(crate) async fn unfinished(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for (name, (pool, announced)) in &self.live {
            let Some(address) = self.world.ingress(name).await? else {
                all.push(format!("{name} has no address"));
                continue;
            };
            match pool {
                Pool::Bgp => {
                    let hops = self.world.lab.router().next_hops(address.into()).await?.len();
                    let wanted = if *announced { self.world.nodes() } else { 0 };
                    if hops != wanted {
                        all.push(format!("{name} ({address}) has {hops} next hops instead of {wanted}"));
                    }
                }
                Pool::Layer2 => {
                    let told = self.told(name).await?;
                    if told != usize::from(*announced) {
                        all.push(format!(
                            "{name} ({address}) has {told} ServiceL2Statuses, announced: {announced}"
                        ));
                    }
                }
            }
        }
        Ok(all)
    }

    async fn told(&self, name: &str) -> Result<usize> {
        let statuses = api(self.world, "ServiceL2Status", "servicel2statuses");
        let list = ListParams::default().labels(&format!("metallb.io/service-name={name}"));
        let all = statuses.list(&list).await?;
        let speaks = |object: &&DynamicObject| object.data["status"]["node"].is_string();
        Ok(all.items.iter().filter(speaks).count())
    }
}

fn extra_pool() -> Result<DynamicObject> {
    let pool: Value = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "extra"},
        "spec": {"addresses": ["203.0.113.0/28"], "autoAssign": false},
    });
    Ok(serde_json::from_value(pool)?)
}

fn pools(world: &World) -> Api<DynamicObject> {
    api(world, "IPAddressPool", "ipaddresspools")
}

fn api(world: &World, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "metallb.io".into(),
        version: "v1beta1".into(),
        api_version: "metallb.io/v1beta1".into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    Api::namespaced_with(world.client(), "metallb-system", &resource)
}
