//! From the manifests without an operator to the operator, and back, by the commands of `docs/install/migration.md`.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use metallb_test_support::{Inside, Lab, Options, wait_for};

use crate::kubectl::Kubectl;
use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);
const WAIT: &str = "--timeout=180s";

// OP-95
pub(crate) fn there_and_back(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let kubectl = Kubectl::new(&lab)?;
        apply(&kubectl, "manifests/metallb-native.yaml").await?;
        runs(&kubectl).await?;
        configured(&kubectl).await?;
        let service = ["-n", "default", "create", "service", "loadbalancer", "web", "--tcp=80"];
        kubectl.prints(&service).await?;
        let address = address(&lab).await?;

        let webhooks = "metallb-webhook-configuration";
        succeeds(&kubectl, &["delete", "validatingwebhookconfiguration", webhooks]).await?;
        apply(&kubectl, "manifests/crds.yaml").await?;
        apply(&kubectl, "manifests/metallb-operator.yaml").await?;
        let operator = "deployment/metallb-operator-controller-manager";
        let webhook_server = "deployment/metallb-operator-webhook-server";
        kubectl.prints(&["rollout", "status", WAIT, operator]).await?;
        kubectl.prints(&["rollout", "status", WAIT, webhook_server]).await?;
        apply(&kubectl, "examples/metallb.yaml").await?;
        let available = ["wait", "metallb/metallb", "--for=condition=Available", WAIT];
        kubectl.prints(&available).await?;
        configured(&kubectl).await?;
        ensure!(self::address(&lab).await? == address, "the address moved");

        lab.end_of_rights()?;
        succeeds(&kubectl, &["delete", "metallb", "metallb"]).await?;
        let file = path("manifests/metallb-operator.yaml");
        let but_the_namespace = "!pod-security.kubernetes.io/enforce";
        succeeds(&kubectl, &["delete", "-f", &file, "-l", but_the_namespace]).await?;
        apply(&kubectl, "manifests/metallb-native.yaml").await?;
        runs(&kubectl).await?;
        configured(&kubectl).await?;
        ensure!(
            self::address(&lab).await? == address,
            "the address moved on the way back"
        );
        lab.stop().await;
        Ok(())
    })
}

fn path(file: &str) -> String {
    format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))
}

/// Does what kubectl warns of: it deletes objects that have no namespace.
async fn succeeds(kubectl: &Kubectl<'_>, args: &[&str]) -> Result<()> {
    let output = kubectl.run(args).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {errors}", args.join(" "));
    Ok(())
}

async fn apply(kubectl: &Kubectl<'_>, file: &str) -> Result<()> {
    let what = format!("{file} to be accepted");
    wait_for(&what, PATIENCE, async || {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &path(file)];
        Ok(kubectl.run(&apply).await?.status.success().then_some(()))
    })
    .await
}

/// The configuration is there, and somebody judges it.
async fn configured(kubectl: &Kubectl<'_>) -> Result<()> {
    apply(kubectl, "examples/layer2.yaml").await
}

async fn runs(kubectl: &Kubectl<'_>) -> Result<()> {
    for workload in ["deployment/controller", "daemonset/speaker"] {
        kubectl.prints(&["rollout", "status", WAIT, workload]).await?;
    }
    Ok(())
}

/// The address of the Service, once it has one.
async fn address(lab: &Lab) -> Result<String> {
    let services: Api<Service> = Api::namespaced(lab.kube(), "default");
    wait_for("an address", PATIENCE, async || {
        let status = services.get("web").await?.status.and_then(|it| it.load_balancer);
        let ingress = status.and_then(|it| it.ingress?.into_iter().next());
        Ok(ingress.and_then(|it| it.ip))
    })
    .await
}
