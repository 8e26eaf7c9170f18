//! Liveness and readiness, asked from the node as a kubelet asks.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Netns;

/// How often a container that was never ready is asked.
const EAGER: Duration = Duration::from_millis(50);

/// One probe of one container.
pub(crate) struct Asker<'a> {
    pub netns: &'a Netns,
    pub pod_ip: IpAddr,
    pub container: &'a Container,
    pub probe: &'a Probe,
}

impl Asker<'_> {
    /// Reports readiness for ever.
    pub(crate) async fn readiness(&self, report: impl Fn(bool)) {
        let mut failures = 0;
        let mut ready = false;
        loop {
            if self.ask().await {
                (failures, ready) = (0, true);
                report(true);
            } else {
                failures += 1;
                if failures >= self.probe.failure_threshold.unwrap_or(3) {
                    ready = false;
                    report(false);
                }
            }
            tokio::time::sleep(if ready { self.period() } else { EAGER }).await;
        }
    }

    /// Returns when the container has failed too often.
    pub(crate) async fn liveness(&self) {
        let delay = self.probe.initial_delay_seconds.unwrap_or(0);
        tokio::time::sleep(seconds(delay)).await;
        let mut failures = 0;
        while failures < self.probe.failure_threshold.unwrap_or(3) {
            tokio::time::sleep(self.period()).await;
            failures = if self.ask().await { 0 } else { failures + 1 };
        }
    }

    fn period(&self) -> Duration {
        seconds(self.probe.period_seconds.unwrap_or(10).max(1))
    }

    async fn ask(&self) -> bool {
        let patience = seconds(self.probe.timeout_seconds.unwrap_or(1).max(1));
        let asked = async {
            match (&self.probe.http_get, &self.probe.tcp_socket) {
                (Some(get), _) => self.http(get, patience).await,
                (None, Some(socket)) => self
                    .connect(&socket.port, socket.host.as_deref(), patience)
                    .await
                    .is_some(),
                // Commands and gRPC: nothing in the lab uses them.
                (None, None) => true,
            }
        };
        tokio::time::timeout(patience, asked).await.unwrap_or(false)
    }

    async fn http(&self, get: &HTTPGetAction, patience: Duration) -> bool {
        let Some(mut stream) = self.connect(&get.port, get.host.as_deref(), patience).await else {
            return false;
        };
        if get.scheme.as_deref() == Some("HTTPS") {
            // A kubelet does not verify the certificate either: that somebody accepts is nearly as good.
            return true;
        }
        let path = get.path.as_deref().unwrap_or("/");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.pod_ip
        );
        let mut answer = [0; 12];
        stream.write_all(request.as_bytes()).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && matches!(answer[9], b'2' | b'3')
    }

    async fn connect(
        &self,
        port: &IntOrString,
        host: Option<&str>,
        patience: Duration,
    ) -> Option<tokio::net::TcpStream> {
        let port = match port {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => {
                self.container
                    .ports
                    .iter()
                    .flatten()
                    .find(|port| port.name.as_deref() == Some(name))?
                    .container_port
            }
        };
        let ip = match host.filter(|host| !host.is_empty()) {
            Some(host) => host.parse().ok()?,
            None => self.pod_ip,
        };
        let to = SocketAddr::new(ip, u16::try_from(port).ok()?);
        self.netns.connect(None, to, patience).await.ok()
    }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(count.max(0).unsigned_abs().into())
}
