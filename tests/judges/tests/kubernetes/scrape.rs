//! Metrics: for those who may read them, and for nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use metallb_tests::metrics;
use serde_json::json;

use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;

/// How long rights may take to be known to the API server.
const PATIENCE: Duration = Duration::from_secs(180);
const NAMESPACE: &str = "metallb-system";
const PORT: u16 = 9120;

// OP-97
pub(crate) fn by_rights(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        let client = lab.kube();
        let reader = account(&client, "reader").await?;
        let stranger = account(&client, "stranger").await?;
        allow(&client, "reader").await?;
        for component in ["controller", "speaker", "webhook-server"] {
            let address = endpoint(&client, component).await?;
            ensure!(status(address, None).await? == 401, "{component} answers anybody");
            ensure!(
                status(address, Some(&stranger)).await? == 403,
                "{component} answers a stranger"
            );
            wait_for("the metrics to be given", PATIENCE, async || {
                Ok((status(address, Some(&reader)).await? == 200).then_some(()))
            })
            .await
            .with_context(|| component.to_owned())?;
        }
        lab.stop().await;
        Ok(())
    })
}

/// Makes an account without rights; a token of it.
async fn account(client: &Client, name: &str) -> Result<String> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    api.create(&PostParams::default(), &account).await?;
    let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } }))?;
    let made = api.create_token_request(name, &PostParams::default(), &request).await?;
    Ok(made.status.context("no token was made")?.token)
}

/// Gives an account the right that is documented.
async fn allow(client: &Client, name: &str) -> Result<()> {
    let rule = json!([{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }]);
    let role: ClusterRole = serde_json::from_value(json!({ "metadata": { "name": name }, "rules": rule }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "default" }],
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &role).await?;
    Api::all(client.clone())
        .create(&PostParams::default(), &binding)
        .await?;
    Ok(())
}

async fn endpoint(client: &Client, component: &str) -> Result<SocketAddr> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let labels = format!("app=metallb,component={component}");
    let found = pods.list(&ListParams::default().labels(&labels)).await?;
    let pod = found.items.first().with_context(|| format!("no {component} runs"))?;
    let status = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    let address = status.with_context(|| format!("{} has no address", pod.name_any()))?;
    Ok(SocketAddr::new(address.parse()?, PORT))
}

/// The status of the answer to a request for the metrics.
async fn status(address: SocketAddr, token: Option<&str>) -> Result<u16> {
    let text = metrics::ask(address, token).await?;
    let status = text.split(' ').nth(1).context("an answer without a status")?;
    ensure!(
        status != "200" || text.contains("metallb_"),
        "{address} serves no metrics of ours: {text}"
    );
    Ok(status.parse()?)
}
