//! A Service that nobody thought of.

use std::net::TcpListener;

use super::line::{Fate, Line};
use super::{Cluster, wait_for};

/// The metrics that begin so, as Prometheus would see them; none if curl is missing.
async fn metrics(cluster: &Cluster, port: u16, name: &str) -> Option<String> {
    let kubeconfig = std::fs::read_to_string(cluster.api.kubeconfig_path()).unwrap();
    let token = kubeconfig.split("token: ").nth(1).unwrap().lines().next().unwrap();
    let token = token.trim().trim_matches('"');
    let mut curl = tokio::process::Command::new("curl");
    curl.args([
        "-sk",
        "--max-time",
        "20",
        "-H",
        &format!("Authorization: Bearer {token}"),
    ]);
    let output = curl
        .arg(format!("https://127.0.0.1:{port}/metrics"))
        .output()
        .await
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().filter(|line| line.starts_with(name)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_makes_the_controller_panic_is_counted_tried_again_and_holds_up_nobody() {
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    let line = Line::to(&cluster);
    line.set(|call| match call.is_write_of("bad") {
        true => Fate::Panic,
        false => Fate::Good,
    });
    let free = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
    let port = free.unwrap().local_addr().unwrap().port();
    let controller = line.controller_with("controller-1", &[&format!("--port={port}")]);
    cluster.service("bad").await;
    let tries = || line.calls().iter().filter(|call| call.is_write_of("bad")).count();
    wait_for(|| async { tries() >= 3 }).await;
    cluster.service("good").await;
    wait_for(|| async { !cluster.ip("good").await.is_empty() }).await;
    let counted = || async {
        let name = "controller_runtime_reconcile_panics_total";
        match metrics(&cluster, port, name).await {
            Some(line) => line.rsplit(' ').next().and_then(|count| count.parse().ok()) >= Some(3_u32),
            None => {
                println!("skipped: no curl");
                true
            }
        }
    };
    wait_for(counted).await;
    line.mend();
    wait_for(|| async { !cluster.ip("bad").await.is_empty() }).await;
    assert_ne!(cluster.ip("bad").await, cluster.ip("good").await);
    controller.stop().await;
    cluster.api.shutdown().await;
}
