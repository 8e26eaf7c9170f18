//! The operator with the rights that it is shipped with, on real API servers; the harness fails a test in which any
//! request of the product was refused.
//!
//! The containers of the FRR back-ends are not run here: the lab has no images of them. What is judged is what is
//! deployed, what of it goes, and what the status says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PropagationPolicy};
use kube::{Api, Client, ResourceExt};
use metallb_api::{MetalLB, MetalLBSpec, MetalLBStatus};
use metallb_manifests::{Environment, Object, desired};
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps, wait_for};
use serde_json::{Value, json};

use metallb_tests::Outcome;
use metallb_tests::faults::restart_pods;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(300);

/// A lab whose operator is available, without a MetalLB resource.
pub(crate) async fn installed(inside: Inside, options: Options) -> Result<(Lab, Client)> {
    let small = Options {
        nodes: 1,
        router: RouterKind::Builtin,
        ..options
    };
    let lab = Lab::start(inside, &small).await?;
    let steps = Steps::new(&lab);
    steps.apply_crds().await?;
    steps.install_operator().await?;
    let client = lab.kube();
    Ok((lab, client))
}

fn resources(client: &Client) -> Api<MetalLB> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Names what the operator deploys for a spec.
fn deployed(spec: &MetalLBSpec) -> Result<Vec<Object>> {
    let environment = Environment::from_variables(|name| match name {
        "OPERATOR_NAMESPACE" => Some(NAMESPACE.to_owned()),
        "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("metallb:1".to_owned()),
        _ => None,
    })?;
    Ok(desired(spec, &environment)?)
}

async fn exists(client: &Client, object: &Object) -> Result<bool> {
    let kind = object.api_resource();
    let api: Api<DynamicObject> = if object.is_namespaced() {
        Api::namespaced_with(client.clone(), NAMESPACE, &kind)
    } else {
        Api::all_with(client.clone(), &kind)
    };
    Ok(api.get_opt(object.name()).await?.is_some())
}

/// Switches the back-end, and waits until its objects are there and no other's.
async fn switch(client: &Client, backend: &str, before: &[Object]) -> Result<Vec<Object>> {
    let spec = json!({ "bgpBackend": backend, "frrk8sConfig": { "namespace": "frr-k8s-system" } });
    let change = Patch::Merge(json!({ "spec": spec }));
    let changed = resources(client)
        .patch("metallb", &PatchParams::default(), &change)
        .await?;
    let wanted = deployed(&changed.spec)?;
    for object in &wanted {
        wait_for(&format!("{object} with {backend}"), PATIENCE, async || {
            Ok(exists(client, object).await?.then_some(()))
        })
        .await?;
    }
    let stays = |object: &Object| {
        object.api_resource().kind == "ServiceAccount" || wanted.iter().any(|it| it.to_string() == object.to_string())
    };
    for object in before.iter().filter(|object| !stays(object)) {
        wait_for(&format!("{object} to go with {backend}"), PATIENCE, async || {
            Ok((!exists(client, object).await?).then_some(()))
        })
        .await?;
    }
    wait_for(&format!("{backend} in the status"), PATIENCE, async || {
        let status = status(client).await?;
        Ok((status.bgp_backend.as_deref() == Some(backend)).then_some(()))
    })
    .await?;
    Ok(wanted)
}

async fn status(client: &Client) -> Result<MetalLBStatus> {
    Ok(resources(client).get("metallb").await?.status.unwrap_or_default())
}

/// Waits until that condition holds for the resource as it is now.
async fn holds(client: &Client, type_: &str) -> Result<()> {
    wait_for(type_, PATIENCE, async || {
        let resource = resources(client).get("metallb").await?;
        let conditions = resource.status.unwrap_or_default().conditions;
        let found = conditions.iter().find(|it| it.type_ == type_ && it.status == "True");
        let current = found.is_some_and(|it| it.observed_generation == resource.metadata.generation);
        Ok(current.then_some(()))
    })
    .await
}

/// What upstream's webhooks take only where FRR runs: version, kind, spec.
fn of_frr_users() -> [(&'static str, &'static str, Value); 7] {
    let peer = |mut spec: Value| {
        spec["myASN"] = 64512.into();
        ("v1beta2", "BGPPeer", spec)
    };
    let timers = json!({ "peerASN": 1, "peerAddress": "192.0.2.2", "holdTime": "9s", "keepaliveTime": "3s", "connectTime": "5s" });
    let graceful =
        json!({ "peerASN": 1, "peerAddress": "192.0.2.3", "enableGracefulRestart": true, "localASN": 64513 });
    let in_vrf = json!({ "peerASN": 1, "peerAddress": "192.0.2.4", "vrf": "red", "dualStackAddressFamily": true });
    let large = json!({ "communities": ["large:64512:1:2"] });
    [
        peer(json!({ "dynamicASN": "external", "peerAddress": "192.0.2.1" })),
        peer(timers),
        peer(graceful),
        peer(in_vrf),
        peer(json!({ "peerASN": 1, "interface": "eth1" })),
        ("v1beta1", "IPAddressPool", json!({ "addresses": ["fc00::/120"] })),
        ("v1beta1", "BGPAdvertisement", large),
    ]
}

/// Waits until admission takes all of that; pools stay, so that the advertisement reaches one of IPv6.
async fn accepts_what_frr_users_have(client: &Client) -> Result<()> {
    for (number, (version, kind, spec)) in of_frr_users().into_iter().enumerate() {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        let object = DynamicObject::new(&format!("rich-{number}"), &resource).data(json!({ "spec": spec }));
        let params = PatchParams::apply("test").force();
        let params = if kind == "IPAddressPool" {
            params
        } else {
            params.dry_run()
        };
        wait_for(&format!("{kind} with {spec} to be accepted"), PATIENCE, async || {
            Ok(api
                .patch(&object.name_any(), &params, &Patch::Apply(&object))
                .await
                .ok())
        })
        .await?;
    }
    Ok(())
}

// OP-22 OP-23 OP-24 OP-45 OP-50 OP-55 OP-60 OP-61
pub(crate) fn back_ends(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        // The Deployments are available by their probes: the webhooks can be called.
        accepts_what_frr_users_have(&client).await?;
        Steps::new(&lab).create_metallb().await?;
        let mut objects = deployed(&MetalLBSpec::default())?;
        for backend in ["frr-k8s", "frr", "frr-k8s-external", "native"] {
            objects = switch(&client, backend, &objects).await?;
            for object in &objects {
                let owners = object.metadata().owner_references.as_ref();
                ensure!(object.is_namespaced() || owners.is_none(), "{object} has an owner");
            }
            accepts_what_frr_users_have(&client).await?;
        }
        holds(&client, "Available").await?;
        lab.stop().await;
        Ok(())
    })
}

/// Changes `speakerConfig`, and waits until the speakers' pods are told so and run.
async fn roll_out(client: &Client, config: Value, told: impl Fn(&Value) -> bool) -> Result<()> {
    let what = format!("the effect of {config}");
    let change = Patch::Merge(json!({ "spec": { "speakerConfig": config } }));
    resources(client)
        .patch("metallb", &PatchParams::default(), &change)
        .await?;
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    wait_for(&what, PATIENCE, async || {
        let set = sets.get("speaker").await?;
        let template = serde_json::to_value(set.spec.as_ref().map(|spec| &spec.template))?;
        let status = set.status.unwrap_or_default();
        let rolled = status.observed_generation == set.metadata.generation
            && status.updated_number_scheduled == Some(status.desired_number_scheduled)
            && status.number_ready == status.desired_number_scheduled;
        Ok((told(&template) && rolled).then_some(()))
    })
    .await?;
    holds(client, "Available").await
}

// OP-43 OP-44
pub(crate) fn last_one_out(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        Steps::new(&lab).create_metallb().await?;
        let held = async || Ok::<_, anyhow::Error>(!resources(&client).get("metallb").await?.finalizers().is_empty());
        wait_for("the finalizer", PATIENCE, async || Ok(held().await?.then_some(()))).await?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let name = "metallb-operator-controller-manager";
        deployments.patch(name, &PatchParams::default(), &none).await?;
        wait_for("the finalizer to be given back", PATIENCE, async || {
            Ok((!held().await?).then_some(()))
        })
        .await?;
        lab.stop().await;
        Ok(())
    })
}

// OP-20 OP-21
pub(crate) fn roll_outs(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        Steps::new(&lab).create_metallb().await?;
        let annotations: BTreeMap<_, _> = [("example.com/team", "net")].into();
        roll_out(&client, json!({ "annotations": annotations }), |template| {
            template["metadata"]["annotations"]["example.com/team"] == "net"
        })
        .await?;
        let resources = json!({ "requests": { "memory": "32Mi" } });
        roll_out(&client, json!({ "resources": resources }), |template| {
            template["spec"]["containers"][0]["resources"]["requests"]["memory"] == "32Mi"
        })
        .await?;
        let class = "system-node-critical";
        roll_out(&client, json!({ "priorityClassName": class }), |template| {
            template["spec"]["priorityClassName"] == class
        })
        .await?;
        let terms =
            json!([{ "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }] }]);
        let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
        roll_out(&client, json!({ "affinity": affinity }), |template| {
            template["spec"]["affinity"].to_string().contains("kubernetes.io/os")
        })
        .await?;
        let none = json!({ "annotations": null, "resources": null, "priorityClassName": null, "affinity": null });
        roll_out(&client, none, |template| {
            let pod = &template["spec"];
            let text = pod["affinity"].to_string();
            pod.get("priorityClassName").is_none() && !text.contains("kubernetes.io/os")
        })
        .await?;
        lab.stop().await;
        Ok(())
    })
}

// OP-43
pub(crate) fn orphans(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let (lab, client) = installed(inside, options).await?;
        let steps = Steps::new(&lab);
        steps.create_metallb().await?;
        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
        let before = sets.get("speaker").await?;
        let orphan = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            ..DeleteParams::default()
        };
        resources(&client).delete("metallb", &orphan).await?;
        wait_for("the resource to go", PATIENCE, async || {
            Ok(resources(&client).get_opt("metallb").await?.is_none().then_some(()))
        })
        .await?;
        restart_pods(&client, "control-plane=controller-manager").await?;
        for object in deployed(&MetalLBSpec::default())? {
            ensure!(exists(&client, &object).await?, "{object} is gone");
        }
        let left = sets.get("speaker").await?;
        ensure!(
            left.uid() == before.uid() && left.owner_references().is_empty(),
            "{:?}",
            left.metadata
        );
        steps.create_metallb().await?;
        let adopted = sets.get("speaker").await?;
        ensure!(adopted.uid() == before.uid(), "the speakers were made anew");
        ensure!(
            adopted.metadata.generation == before.metadata.generation,
            "the speakers were restarted"
        );
        lab.stop().await;
        Ok(())
    })
}
