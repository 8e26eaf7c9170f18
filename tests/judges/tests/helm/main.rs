//! Helm against a cluster: what the charts render is accepted, and releases come, change and go as they should.

mod operator;
mod release;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use metallb_judges::tools::{self, HELM};
use metallb_test_support::harness::{Test, main as run};
use metallb_test_support::{ClusterKind, Lab};
use metallb_tests::Outcome;

const NAMESPACE: &str = "metallb-system";

fn main() -> ExitCode {
    run(&[
        Test {
            name: "what_every_mode_renders_is_accepted",
            on: ClusterKind::CONTROL_PLANES,
            skip: || HELM.obstacle(),
            body: server::accepts,
        },
        Test {
            name: "a_release_is_installed_upgraded_rolled_back_and_uninstalled",
            on: ClusterKind::NODES,
            skip: || HELM.obstacle(),
            body: release::whole_life,
        },
        Test {
            name: "the_operator_is_installed_and_uninstalled",
            on: ClusterKind::NODES,
            skip: || HELM.obstacle(),
            body: operator::whole_life,
        },
    ])
}

/// A file of `charts/` or of the tests of the charts.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn chart(name: &str) -> String {
    file("../../charts").join(name).display().to_string()
}

fn values(name: &str) -> String {
    file("tests/charts").join(name).display().to_string()
}

/// Helm as an administrator of the lab has it; what it printed.
async fn helm(lab: &Lab, args: &[&str]) -> Result<String> {
    let program = tokio::task::spawn_blocking(|| HELM.prepare()).await??;
    let mut command = Command::new(program);
    // The kubeconfig is for the machine; this process is where the API server is.
    command
        .arg("--kubeconfig")
        .arg(lab.kubeconfig())
        .args(["--kube-apiserver", "https://172.30.0.1:6443", "--namespace", NAMESPACE])
        .args(args);
    let ran = tokio::task::spawn_blocking(move || tools::run(&mut command)).await?;
    ran.with_context(|| format!("helm {}", args.join(" ")))
}
