//! How soon the operator has applied everything for a MetalLB resource, in each mode; what it weighs, and whether ten
//! thousand ConfigMaps and Secrets of others change that. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-judges --bench operator`

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client};
use metallb_api::MetalLB;
use metallb_manifests::{Environment, Object, desired};
use metallb_test_support::harness::{Test, main as run};
use metallb_test_support::{ClusterKind, Inside, Lab, Options, RouterKind, Steps, wait_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use metallb_judges::figures::{report, weigh};

const NAMESPACE: &str = "metallb-system";
const ROUNDS: usize = 20;
/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long is waited between two looks, which take the processor from what is measured.
const PAUSE: Duration = Duration::from_millis(3);
/// How many ConfigMaps, and how many Secrets, others have.
const FOREIGN: usize = 10_000;
/// How many of them are created at a time.
const AT_A_TIME: usize = 16;

fn main() -> ExitCode {
    run(&[Test {
        name: "operator",
        on: ClusterKind::ALL,
        skip: || None,
        body: measure,
    }])
}

fn measure(inside: Inside, options: Options) -> Pin<Box<dyn Future<Output = Result<()>>>> {
    Box::pin(async move {
        let small = Options {
            nodes: 1,
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &small).await?;
        let (steps, client) = (Steps::new(&lab), lab.kube());
        steps.apply_crds().await?;
        steps.install_operator().await?;
        for backend in ["native", "frr", "frr-k8s"] {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                took.push(round(&client, json!({ "bgpBackend": backend })).await?);
            }
            report(&format!("MetalLB created to all of {backend} applied"), took, 300);
        }
        steps.create_metallb().await?;
        println!("before {FOREIGN} foreign ConfigMaps and as many Secrets (goal 25 MiB):");
        weigh("metallb-operator")?;
        crowd::<ConfigMap>(&client, |value| json!({ "data": { "x": value } })).await?;
        crowd::<Secret>(&client, |value| json!({ "stringData": { "x": value } })).await?;
        println!("after them:");
        weigh("metallb-operator")?;
        lab.stop().await;
        Ok(())
    })
}

/// Creates the resource, waits for all that it means, and deletes it again.
async fn round(client: &Client, spec: Value) -> Result<Duration> {
    let api: Api<MetalLB> = Api::namespaced(client.clone(), NAMESPACE);
    let object = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "metadata": { "name": "metallb" }, "spec": spec });
    let resource: MetalLB = serde_json::from_value(object)?;
    let wanted = desired(&resource.spec, &environment()?)?;
    // The webhook may be ready a moment before its certificate is known; what is measured is the time after that.
    let began = wait_for("the resource to be accepted", PATIENCE, async || {
        let began = Instant::now();
        Ok(api.create(&PostParams::default(), &resource).await.ok().map(|_| began))
    })
    .await?;
    // The last one comes last; looking at the others one by one would take as long as making them.
    if let Some((last, others)) = wanted.split_last() {
        appearance(client, last).await?;
        try_join_all(others.iter().map(|object| appearance(client, object))).await?;
    }
    let took = began.elapsed();
    api.delete("metallb", &DeleteParams::default()).await?;
    wait_for("the resource to go", PATIENCE, async || {
        Ok(api.get_opt("metallb").await?.is_none().then_some(()))
    })
    .await?;
    Ok(took)
}

async fn appearance(client: &Client, object: &Object) -> Result<()> {
    while lookup(client, object).get_opt(object.name()).await?.is_none() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn environment() -> Result<Environment> {
    Ok(Environment::from_variables(|name| match name {
        "OPERATOR_NAMESPACE" => Some(NAMESPACE.to_owned()),
        "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("metallb:1".to_owned()),
        _ => None,
    })?)
}

fn lookup(client: &Client, object: &Object) -> Api<DynamicObject> {
    if object.is_namespaced() {
        Api::namespaced_with(client.clone(), NAMESPACE, &object.api_resource())
    } else {
        Api::all_with(client.clone(), &object.api_resource())
    }
}

/// Creates objects of no interest to the operator, in its own namespace.
async fn crowd<K>(client: &Client, content: impl Fn(&str) -> Value) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let value = "x".repeat(1024);
    let objects = (0..FOREIGN).map(|number| {
        let mut object = content(&value);
        object["metadata"] = json!({ "name": format!("foreign-{number}") });
        serde_json::from_value::<K>(object)
    });
    let created = stream::iter(objects).map(|object| {
        let api = &api;
        async move { anyhow::Ok(api.create(&PostParams::default(), &object?).await.map(drop)?) }
    });
    created.buffer_unordered(AT_A_TIME).try_collect().await
}
