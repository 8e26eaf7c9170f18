//! What people see of the product by kubectl.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use metallb_test_support::{Inside, Lab, Options, Steps};

use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;

/// Why there are none of these tests.
pub(crate) fn obstacle() -> Option<String> {
    let found = Command::new("kubectl").args(["version", "--client"]).output();
    (!found.is_ok_and(|output| output.status.success())).then(|| "no kubectl".into())
}

/// kubectl as an administrator has it.
pub(crate) struct Kubectl<'a> {
    lab: &'a Lab,
    cache: tempfile::TempDir,
}

impl<'a> Kubectl<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Result<Self> {
        Ok(Self {
            lab,
            cache: tempfile::tempdir()?,
        })
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new("kubectl");
        // The kubeconfig is for the machine; this process is where the API server is.
        command
            .arg("--kubeconfig")
            .arg(self.lab.kubeconfig())
            .args(["--server", "https://172.30.0.1:6443"]);
        command
            .arg("--cache-dir")
            .arg(self.cache.path())
            .args(["-n", "metallb-system"])
            .args(args);
        tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("cannot start kubectl")
    }

    /// What it prints when all is well; a warning is not well.
    pub(crate) async fn prints(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && errors.is_empty(),
            "kubectl {}: {errors}",
            args.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn shows(&self, args: &[&str], wanted: &[&str]) -> Result<()> {
        let text = self.prints(args).await?;
        for word in wanted {
            ensure!(
                text.contains(word),
                "kubectl {} does not show {word:?}:\n{text}",
                args.join(" ")
            );
        }
        Ok(())
    }

    /// What it says when it is refused.
    async fn refused(&self, file: &Path) -> Result<String> {
        let output = self.run(&["apply", "-f", &file.to_string_lossy()]).await?;
        ensure!(!output.status.success(), "{} was accepted", file.display());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

pub(crate) fn outputs(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        let kubectl = Kubectl::new(&lab)?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        steps.configure().await?;
        steps.start_backends().await?;
        steps.create_services().await?;
        explained(&kubectl).await?;
        shown(&kubectl).await?;
        judged(&kubectl).await?;
        lab.stop().await;
        Ok(())
    })
}

/// Every kind has a description, and every field of its spec.
async fn explained(kubectl: &Kubectl<'_>) -> Result<()> {
    for crd in metallb_crdgen::crds() {
        // The state of a node has nothing but a status.
        let part = if crd.spec.names.kind == "ConfigurationState" {
            "status"
        } else {
            "spec"
        };
        let place = format!("{}.{part}", crd.spec.names.plural);
        let text = kubectl.prints(&["explain", &place]).await?;
        ensure!(
            !text.contains("<no description>") && !text.contains("<empty>"),
            "kubectl explain {place}:\n{text}"
        );
    }
    kubectl
        .shows(
            &["explain", "ipaddresspool.spec.addresses"],
            &["<[]string>", "prefixes such as 192.0.2.0/24"],
        )
        .await
}

async fn shown(kubectl: &Kubectl<'_>) -> Result<()> {
    kubectl
        .shows(&["get", "metallb"], &["AVAILABLE", "metallb", "True"])
        .await?;
    kubectl
        .shows(
            &["get", "ipaddresspools"],
            &[
                "AUTO ASSIGN",
                "AVOID BUGGY IPS",
                "ADDRESSES",
                "172.30.0.200-172.30.0.250",
            ],
        )
        .await?;
    kubectl
        .shows(&["get", "bgppeers"], &["ADDRESS", "ASN", "172.30.0.2", "64501"])
        .await?;
    kubectl
        .shows(&["get", "l2advertisements"], &["IPADDRESSPOOLS", "[\"layer2\"]"])
        .await?;
    kubectl
        .shows(
            &["get", "l2advertisements,bgpadvertisements", "-o", "wide"],
            &["NODE SELECTORS"],
        )
        .await?;
    let ready = ["wait", "--for=condition=Available", "--timeout=20s", "metallb/metallb"];
    kubectl.shows(&ready, &["condition met"]).await?;
    let address = [
        "-n",
        "default",
        "wait",
        "--for=jsonpath={.status.loadBalancer.ingress}",
        "svc/web-layer2",
    ];
    kubectl.shows(&address, &["condition met"]).await?;
    kubectl
        .shows(
            &["-n", "default", "get", "svc", "web-layer2"],
            &["EXTERNAL-IP", "172.30.0.200"],
        )
        .await?;
    kubectl
        .shows(
            &["describe", "metallb", "metallb"],
            &["Conditions", "Type:", "Available"],
        )
        .await?;
    let described = ["-n", "default", "describe", "svc", "web-layer2"];
    kubectl
        .shows(&described, &["LoadBalancer Ingress", "IPAllocated", "172.30.0.200"])
        .await?;
    kubectl
        .shows(&["get", "configurationstates"], &["RESULT", "Valid"])
        .await
}

/// The samples: the good ones are applied without a word, the bad ones refused with object, field and reason.
async fn judged(kubectl: &Kubectl<'_>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all = [
        "delete",
        "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers",
        "--all",
    ];
    let deleted = kubectl.run(&all).await?;
    let warned = String::from_utf8_lossy(&deleted.stderr);
    ensure!(
        deleted.status.success() && warned.contains("Warning: Service default/web-bgp holds 198.51.100.1 of this pool"),
        "whoever deletes pools in use is not warned: {warned}"
    );
    for name in ["layer2.yaml", "bgp.yaml", "metallb.yaml"] {
        let file = root.join("examples").join(name);
        kubectl
            .prints(&["apply", "--server-side", "-f", &file.to_string_lossy()])
            .await?;
    }
    ensure!(
        kubectl.run(&all).await?.status.success(),
        "the samples cannot be deleted"
    );
    let config = root.join("lab/manifests/config.yaml");
    kubectl.prints(&["apply", "-f", &config.to_string_lossy()]).await?;
    let refusals = [
        (
            "bad-pool.yaml",
            "IPAddressPool overlapping: spec.addresses",
            "overlaps with already defined CIDR",
        ),
        ("bad-peer.yaml", "BGPPeer slow: spec.", "keepaliveTime"),
    ];
    for (name, object, reason) in refusals {
        let text = kubectl.refused(&root.join("lab/manifests").join(name)).await?;
        let told = ["admission webhook", "denied the request", object, reason];
        ensure!(
            told.iter().all(|word| text.contains(word)),
            "{name} was refused with other words: {text}"
        );
    }
    Ok(())
}
