//! The client: sends real requests from its own namespace, and measures how long nobody answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Netns;
use crate::topology::NodeNet;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pace of probing: what an outage is measured to.
const PACE: Duration = Duration::from_millis(20);

/// What a backend answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The backend's pod.
    pub pod: String,
    /// The node by which the request came.
    pub via: String,
    /// Who the backend took for its client.
    pub from: IpAddr,
}

/// The client's end of the network.
#[derive(Clone, Debug)]
pub struct HttpClient {
    netns: Netns,
    nodes: Vec<NodeNet>,
}

impl HttpClient {
    pub(crate) fn new(netns: Netns, nodes: Vec<NodeNet>) -> Self {
        Self { netns, nodes }
    }

    /// Sends one request on a new connection.
    ///
    /// # Errors
    /// When nobody answers, or not as a backend of the lab.
    pub async fn get(&self, address: Ipv4Addr, port: u16) -> Result<Reply> {
        self.get_within(address, port, PATIENCE).await
    }

    /// The same, with another patience.
    ///
    /// # Errors
    /// When nobody answers in time, or not as a backend of the lab.
    pub async fn get_within(&self, address: Ipv4Addr, port: u16, patience: Duration) -> Result<Reply> {
        let to = SocketAddr::new(address.into(), port);
        let exchange = async {
            let mut stream = self.netns.connect(None, to, patience).await?;
            stream
                .write_all(format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes())
                .await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            anyhow::Ok(text)
        };
        let text = tokio::time::timeout(patience, exchange)
            .await
            .with_context(|| format!("no answer from {to}"))??;
        parse(&text, &self.nodes).with_context(|| format!("{to} answers strangely: {text:?}"))
    }

    /// Sends one request as somebody who has never heard of `address`: whoever has talked to it lately keeps sending
    /// to the same node, and TCP keeps that memory fresh, whether or not ARP is still answered.
    ///
    /// # Errors
    /// When nobody answers ARP or the request.
    pub async fn get_as_stranger(&self, address: Ipv4Addr, port: u16) -> Result<Reply> {
        self.netns.links()?.forget(address).await?;
        self.get(address, port).await
    }

    /// Requests again and again; when an answer fails, returns how long it took from the last good answer to the
    /// next, and that answer.
    ///
    /// # Errors
    /// When there is no gap, or nothing answers again, within `limit`.
    pub async fn measure_gap(&self, address: Ipv4Addr, port: u16, limit: Duration) -> Result<(Duration, Reply)> {
        let begin = Instant::now();
        let (mut last, mut gap) = (begin, false);
        while begin.elapsed() < limit {
            // A patience above the pace of ARP retries, below what would blur the measure.
            match self.get_within(address, port, Duration::from_millis(100)).await {
                Ok(reply) if gap => return Ok((last.elapsed(), reply)),
                Ok(_) => last = Instant::now(),
                Err(_) => gap = true,
            }
            tokio::time::sleep(PACE).await;
        }
        match gap {
            true => bail!("{address} did not come back within {limit:?}"),
            false => bail!("{address} never stopped answering within {limit:?}"),
        }
    }
}

/// The node by which a request came, told by the address that a backend saw: kube-proxy hides that of the client behind
/// the node's, or behind that of the node's bridge if the pod is on it.
fn node_of(nodes: &[NodeNet], from: IpAddr) -> Option<&str> {
    let IpAddr::V4(from) = from else { return None };
    let node = nodes
        .iter()
        .find(|node| node.address == from || node.pods.contains(&from));
    node.map(|node| node.name.as_str())
}

/// `pod P on N via node V from C` is the body. V is `?` where a real kube-proxy forwarded: the node is known by C, and
/// where that is the client, the request was not forwarded to another node.
fn parse(response: &str, nodes: &[NodeNet]) -> Option<Reply> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let words: Vec<&str> = body.split_whitespace().collect();
    match (head.split_whitespace().nth(1)?, words.as_slice()) {
        ("200", ["pod", pod, "on", on, "via", "node", via, "from", from]) => Some(Reply {
            pod: (*pod).into(),
            via: match *via {
                "?" => node_of(nodes, from.parse().ok()?).unwrap_or(on),
                named => named,
            }
            .into(),
            from: from.parse().ok()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backends_answer_names_pod_and_node() {
        let answer = |via: &str| {
            let text = format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\npod web-1 on node-2 via node {via} from 10.0.0.1\n");
            parse(&text, &[]).unwrap()
        };
        let reply = answer("node-3");
        assert_eq!((&*reply.pod, &*reply.via), ("web-1", "node-3"));
        assert_eq!(reply.from, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(answer("?").via, "node-2");
        assert_eq!(parse("HTTP/1.1 500 No\r\n\r\npod", &[]), None);
    }
}
