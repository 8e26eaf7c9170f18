//! A Service that nobody thought of.

use std::net::{Ipv4Addr, TcpListener};

use metallb_tests::tls::connect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::{Fate, Line};
use super::{Cluster, wait_for};

/// The metrics that begin so, as Prometheus would see them; none while nobody listens.
async fn metrics(cluster: &Cluster, port: u16, name: &str) -> Option<String> {
    let kubeconfig = std::fs::read_to_string(cluster.api.kubeconfig_path()).unwrap();
    let token = kubeconfig.split("token: ").nth(1).unwrap().lines().next().unwrap();
    let token = token.trim().trim_matches('"');
    let mut stream = connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // The end is not announced by everybody.
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
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
        let line = metrics(&cluster, port, name).await.unwrap_or_default();
        line.rsplit(' ').next().and_then(|count| count.parse().ok()) >= Some(3_u32)
    };
    wait_for(counted).await;
    line.mend();
    wait_for(|| async { !cluster.ip("bad").await.is_empty() }).await;
    assert_ne!(cluster.ip("bad").await, cluster.ip("good").await);
    controller.stop().await;
    cluster.api.shutdown().await;
}
