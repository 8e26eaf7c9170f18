//! `kubectl metallb` asks speakers through the API server, as a person who may read and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;
use serde_json::{Value, json};

/// How long rights may take to be known to the API server, and routes to be sent.
const PATIENCE: Duration = Duration::from_secs(180);
const NAMESPACE: &str = "metallb-system";
const PEOPLE: &str = "mia";

// CLI-42, CLI-44, CLI-58, CLI-63
pub(crate) fn speakers(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 2,
            ..one_node(options)
        };
        let lab = Lab::start(inside, &options).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        steps.speakers_ready().await?;
        steps.configure().await?;
        steps.start_backends().await?;
        let addresses = steps.create_services().await?;
        let hops = steps.next_hops(addresses.bgp, 2).await?;
        let refused = ask(&lab, &["bgp", "peers"]).await?;
        ensure!(
            refused.0 == 3 && refused.1.contains("forbidden"),
            "without rights: {refused:?}"
        );
        bind(&lab).await?;

        let routes = told(&lab, &["bgp", "routes", "web-bgp"]).await?;
        let sent = routes["routes"].as_array().context("no routes")?;
        let own: BTreeSet<_> = sent.iter().filter_map(|route| route["nextHop"].as_str()).collect();
        let received: BTreeSet<_> = hops.iter().map(ToString::to_string).collect();
        ensure!(
            own == received.iter().map(String::as_str).collect(),
            "{received:?} were received: {routes}"
        );
        ensure!(
            sent.iter()
                .all(|route| route["sent"] == true && route["decided"] == true),
            "{routes}"
        );

        let owners = told(&lab, &["l2", "owners", "web-layer2"]).await?;
        let node = owners["owners"][0]["node"].as_str().context("no owner")?.to_owned();
        let reply = steps.request(addresses.layer2).await?;
        ensure!(reply.via == node, "{} answers: {owners}", reply.via);
        // The client may have learnt of it unasked.
        ensure!(owners["owners"][0]["gratuitous"].as_u64() > Some(0), "{owners}");
        let next = owners["owners"][0]["next"].as_str().context("nobody next")?.to_owned();

        let explained = told(&lab, &["explain", "svc", "web-layer2"]).await?;
        ensure!(
            explained["explanation"]["layer2"]["sent"][0]["node"] == *node,
            "{explained}"
        );

        lab.kill_node(&node).await?;
        wait_for("the next one to answer", PATIENCE, async || {
            let reply = steps.request(addresses.layer2).await?;
            Ok((reply.via == next).then_some(()))
        })
        .await?;
        let (code, text) = ask(&lab, &["l2", "owners", "web-layer2", "--request-timeout", "3s"]).await?;
        ensure!(
            text.contains("1 of 2 speakers answered") && text.contains(&next),
            "{code}: {text}"
        );
        lab.stop().await;
        Ok(())
    })
}

/// Asks as JSON until both speakers have answered and nothing is wrong.
async fn told(lab: &Lab, command: &[&str]) -> Result<Value> {
    let mut last = String::new();
    let all: Vec<&str> = command.iter().copied().chain(["-o", "json"]).collect();
    let waited = wait_for("both speakers to answer", PATIENCE, async || {
        let (code, text) = ask(lab, &all).await?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        last = text;
        Ok(value.filter(|value| code == 0 && value["speakersAsked"] == json!([2, 2])))
    })
    .await;
    waited.with_context(|| last)
}

/// Runs the plugin as somebody who is no administrator; the exit code, and all that it says.
async fn ask(lab: &Lab, command: &[&str]) -> Result<(u8, String)> {
    // The kubeconfig is for the machine; this process is where the API server is.
    let config = std::fs::read_to_string(lab.kubeconfig())?;
    let (before, after) = config
        .split_once("https://127.0.0.1:")
        .context("no address of the API server")?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let inside = tempfile::NamedTempFile::new()?;
    std::fs::write(&inside, format!("{before}https://172.30.0.1:6443{after}"))?;
    let mut words = vec![
        "kubectl-metallb".to_owned(),
        format!("--kubeconfig={}", inside.path().display()),
    ];
    words.extend(["--as", PEOPLE, "--namespace", "default"].map(str::to_owned));
    words.extend(command.iter().map(ToString::to_string));
    let args = metallb_cli::Args::try_parse_from(words)?;
    // It has a runtime of its own.
    let (text, failed, code) = tokio::task::spawn_blocking(move || metallb_cli::run(&args)).await?;
    Ok((code, text + &failed))
}

/// Binds the roles that are documented.
async fn bind(lab: &Lab) -> Result<()> {
    let subjects = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PEOPLE }]);
    let binding = |kind: &str| {
        json!({
            "metadata": { "name": PEOPLE },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "metallb-viewer" },
            "subjects": subjects,
        })
    };
    let everywhere: ClusterRoleBinding = serde_json::from_value(binding("ClusterRole"))?;
    Api::all(lab.kube()).create(&PostParams::default(), &everywhere).await?;
    let here: RoleBinding = serde_json::from_value(binding("Role"))?;
    Api::namespaced(lab.kube(), NAMESPACE)
        .create(&PostParams::default(), &here)
        .await?;
    Ok(())
}
