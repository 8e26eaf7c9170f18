//! Our own router: accepts any speaker, learns IPv4 routes, spreads each over all who announce it.
//!
//! ```text
//! listener ── one task a connection: metallb_bgp::Session (passive) ── Learned ──► table task ──► kernel routes
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net};
use metallb_bgp::wire::Message;
use metallb_bgp::{Action, Dialing, Event, LinkAddresses, PeerConfig, RemoteAs, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ASN;
use crate::net::{Links, Netns};
use crate::topology::ROUTER;

const PORT: u16 = 179;

/// The tasks of the router; dropping it ends them.
pub(super) struct Builtin(#[expect(dead_code, reason = "ends with us")] JoinSet<()>);

/// What one neighbour said.
enum Learned {
    Routes {
        from: Ipv4Addr,
        announced: Vec<Ipv4Net>,
        withdrawn: Vec<Ipv4Net>,
    },
    Lost(Ipv4Addr),
}

pub(super) fn start(netns: &Netns, links: Links) -> Result<Builtin> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
    let listener = netns
        .listen(address)
        .with_context(|| format!("the router cannot listen on {address}"))?;
    let (sender, receiver) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, sender));
    tasks.spawn(install(links, receiver));
    Ok(Builtin(tasks))
}

async fn accept(listener: TcpListener, learned: mpsc::Sender<Learned>) {
    let mut sessions = JoinSet::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            continue;
        };
        let IpAddr::V4(from) = peer.ip() else { continue };
        let learned = learned.clone();
        sessions.spawn(async move {
            tracing::debug!(peer = %from, "a BGP neighbour has connected");
            if let Err(error) = converse(stream, from, &learned).await {
                tracing::debug!(peer = %from, %error, "a BGP session ended");
            }
            let _ = learned.send(Learned::Lost(from)).await;
        });
        while sessions.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, from: Ipv4Addr, learned: &mpsc::Sender<Learned>) -> Result<()> {
    stream.set_nodelay(true)?;
    let config = PeerConfig {
        dialing: Dialing::Passive,
        router_id: Some(ROUTER),
        ..PeerConfig::new(from.to_string(), ASN, RemoteAs::External, IpAddr::V4(from))
    };
    let mut session = Session::new(config, u64::from(u32::from(from)));
    let mut actions = VecDeque::from(session.handle(Instant::now(), Event::Start));
    let id = session.accept().context("the session waits for a connection")?;
    let connected = Event::Connected(id, LinkAddresses::only(IpAddr::V4(ROUTER)));
    actions.extend(session.handle(Instant::now(), connected));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    actions.extend(session.handle(Instant::now(), Event::Written(id, bytes.len())));
                }
                Action::Close(_) => return Ok(()),
                Action::Update(frame) => {
                    let codec = session.negotiated().map(|agreed| agreed.egress.codec);
                    if let Ok(message) = codec.unwrap_or_default().decode(&frame) {
                        tell(message, from, learned).await;
                    }
                }
                _ => {}
            }
        }
        let deadline = session.next_deadline().map(tokio::time::Instant::from_std);
        let tick = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Both arms are cancel-safe.
        let news = tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Ok(()),
                count => session.handle(Instant::now(), Event::Received(id, &buffer[..count])),
            },
            () = tick => session.handle(Instant::now(), Event::Tick),
        };
        actions.extend(news);
    }
}

async fn tell(message: Message, from: Ipv4Addr, learned: &mpsc::Sender<Learned>) {
    let Message::Update(update) = message else { return };
    let (announced, mut withdrawn) = (ipv4(update.all_announced()), ipv4(update.all_withdrawn()));
    let told = if update.treat_as_withdraw() {
        withdrawn.extend(announced);
        Learned::Routes {
            from,
            announced: Vec::new(),
            withdrawn,
        }
    } else {
        Learned::Routes {
            from,
            announced,
            withdrawn,
        }
    };
    let _ = learned.send(told).await;
}

fn ipv4(prefixes: impl Iterator<Item = IpNet>) -> Vec<Ipv4Net> {
    let only = |prefix| match prefix {
        IpNet::V4(prefix) => Some(prefix),
        IpNet::V6(_) => None,
    };
    prefixes.filter_map(only).collect()
}

/// Owns the table: prefix → neighbours. A speaker of MetalLB is always its own next hop.
async fn install(links: Links, mut learned: mpsc::Receiver<Learned>) {
    let mut table: BTreeMap<Ipv4Net, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    while let Some(news) = learned.recv().await {
        for prefix in apply(&mut table, news) {
            let hops: Vec<Ipv4Addr> = table.get(&prefix).into_iter().flatten().copied().collect();
            let done = if hops.is_empty() {
                links.unroute(prefix).await
            } else {
                links.route(prefix, &hops).await
            };
            if let Err(error) = done {
                tracing::warn!(%prefix, %error, "the router cannot install a route");
            }
        }
    }
}

/// Enters the news; returns the prefixes whose next hops changed.
fn apply(table: &mut BTreeMap<Ipv4Net, BTreeSet<Ipv4Addr>>, news: Learned) -> BTreeSet<Ipv4Net> {
    let (from, announced, withdrawn) = match news {
        Learned::Routes {
            from,
            announced,
            withdrawn,
        } => (from, announced, withdrawn),
        Learned::Lost(from) => {
            let all = table
                .iter()
                .filter(|(_, hops)| hops.contains(&from))
                .map(|(prefix, _)| *prefix)
                .collect();
            (from, Vec::new(), all)
        }
    };
    let mut changed = BTreeSet::new();
    for prefix in withdrawn {
        if table.get_mut(&prefix).is_some_and(|hops| hops.remove(&from)) {
            changed.insert(prefix);
        }
    }
    for prefix in announced {
        if table.entry(prefix).or_default().insert(from) {
            changed.insert(prefix);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_neighbour_takes_only_its_own_next_hops() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let prefix: Ipv4Net = "192.0.2.1/32".parse().unwrap();
        let mut table = BTreeMap::new();
        for from in [a, b] {
            let news = Learned::Routes {
                from,
                announced: vec![prefix],
                withdrawn: vec![],
            };
            assert_eq!(apply(&mut table, news), BTreeSet::from([prefix]));
        }
        assert_eq!(apply(&mut table, Learned::Lost(a)), BTreeSet::from([prefix]));
        assert_eq!(table[&prefix], BTreeSet::from([b]));
    }
}
