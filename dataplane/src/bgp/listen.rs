//! Waits for routers that connect: one socket for each address family and VRF, and only where somebody wants one.
//!
//! This runs beside others on the network of the host: a port that is taken is told and tried again, nothing else.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use metallb_bgp::{
    Password, PeerConfig,
    wire::{Codec, Message, Notification},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

/// The pause before a socket that failed is opened again.
const PAUSE: Duration = Duration::from_secs(10);
/// Connections that wait in the kernel.
const BACKLOG: u32 = 64;
/// Connections that wait here.
const WAITING: usize = 64;
/// How long whoever is refused may take to read that.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where routers may connect to, apart from the peers that want so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The TCP port.
    pub port: u16,
    /// Networks whose routers need not be known beforehand.
    pub ranges: Vec<Range>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            port: PeerConfig::DEFAULT_PORT,
            ranges: Vec::new(),
        }
    }
}

/// Routers that are peers as long as they are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where they are.
    pub prefix: IpNet,
    /// How many there may be at a time; FRR's default is 100.
    pub limit: usize,
    /// What they have in common. Its address counts for nothing, its name is followed by theirs in brackets.
    pub peer: PeerConfig,
}

impl Range {
    /// Describes the session with one router.
    pub(super) fn member(&self, address: IpAddr) -> PeerConfig {
        PeerConfig {
            name: format!("{}[{address}]", self.peer.name),
            address,
            zone: None,
            passive: true,
            ..self.peer.clone()
        }
    }

    pub(super) fn place(&self) -> Place {
        Place {
            device: self.peer.device.clone(),
            ipv4: self.prefix.addr().is_ipv4(),
        }
    }
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) device: Option<String>,
    pub(super) ipv4: bool,
}

/// The key of each network that has one (TCP-MD5).
pub(super) type Keys = BTreeMap<IpNet, Password>;

/// What listeners tell.
#[derive(Debug)]
pub(super) enum News {
    Incoming(Place, TcpStream, SocketAddr),
    Failed(Place, String),
}

/// All sockets that wait.
pub(super) struct Listeners {
    running: BTreeMap<(Place, u16), (watch::Sender<Keys>, AbortHandle)>,
    news: mpsc::Sender<News>,
    inbox: mpsc::Receiver<News>,
    refusals: Refusals,
}

impl Default for Listeners {
    fn default() -> Self {
        let (news, inbox) = mpsc::channel(WAITING);
        Self {
            running: BTreeMap::new(),
            news,
            inbox,
            refusals: Refusals::default(),
        }
    }
}

impl Listeners {
    /// Listens at these places and no others, with these keys from now on.
    pub(super) fn set(&mut self, port: u16, mut places: BTreeMap<Place, Keys>) {
        self.running.retain(|(place, old), (_, task)| {
            // One that has failed is started anew.
            let stays = *old == port && places.contains_key(place) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        while let Some((place, keys)) = places.pop_first() {
            let (writer, _) = self.running.entry((place.clone(), port)).or_insert_with(|| {
                let (writer, reader) = watch::channel(keys.clone());
                let task = tokio::spawn(listen(place, port, reader, self.news.clone()));
                (writer, task.abort_handle())
            });
            writer.send_if_modified(|known| {
                let news = *known != keys;
                *known = keys;
                news
            });
        }
    }

    /// Waits for news. Cancel-safe.
    pub(super) async fn next(&mut self) -> News {
        match self.inbox.recv().await {
            Some(news) => news,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Tells whoever has connected why not.
    pub(super) fn refuse(&mut self, stream: TcpStream, notification: Notification) {
        self.refusals.refuse(stream, notification);
    }
}

/// Connections that are not taken, for as long as it takes to say so.
#[derive(Default)]
pub(super) struct Refusals(JoinSet<()>);

impl Refusals {
    /// Says why, unless there are too many already.
    pub(super) fn refuse(&mut self, stream: TcpStream, notification: Notification) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < WAITING {
            self.0.spawn(refuse(stream, notification));
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

/// Says why a connection is not taken, and waits until that is read: unread input would make the kernel send RST, which
/// may overtake it.
async fn refuse(mut stream: TcpStream, notification: Notification) {
    let farewell = async {
        if let Ok(bytes) = Codec::default().encode(&Message::Notification(notification)) {
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen need not be told.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

async fn listen(place: Place, port: u16, mut keys: watch::Receiver<Keys>, news: mpsc::Sender<News>) {
    let mut told = None;
    loop {
        let Err(error) = serve(&place, port, &mut keys, &news).await;
        let text = format!("cannot wait for connections on port {port}: {error}");
        if told.as_ref() != Some(&text) {
            tracing::warn!(event = "listenFailed", port, device = place.device, ipv4 = place.ipv4, %error, "no BGP peer can connect");
            told = Some(text.clone());
        }
        // Nobody is left to be told only when all ends.
        let _ = news.send(News::Failed(place.clone(), text)).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn serve(
    place: &Place,
    port: u16,
    keys: &mut watch::Receiver<Keys>,
    news: &mpsc::Sender<News>,
) -> io::Result<std::convert::Infallible> {
    let socket = open(place, port)?;
    // Before anybody can connect.
    let mut known = Keys::new();
    set_keys(&socket, &mut known, &keys.borrow_and_update().clone())?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            changed = keys.changed() => {
                if changed.is_err() {
                    return Err(io::Error::other("nobody waits any more"));
                }
                let wanted = keys.borrow_and_update().clone();
                set_keys(&listener, &mut known, &wanted)?;
            }
            accepted = listener.accept() => {
                let (stream, from) = accepted?;
                let _ = news.send(News::Incoming(place.clone(), stream, from)).await;
            }
        }
    }
}

fn open(place: &Place, port: u16) -> io::Result<TcpSocket> {
    let (socket, any): (_, IpAddr) = if place.ipv4 {
        (TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into())
    } else {
        (TcpSocket::new_v6()?, Ipv6Addr::UNSPECIFIED.into())
    };
    if !place.ipv4 {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    if let Some(device) = &place.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    // What is left of connections of an earlier run holds the port.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(any, port))?;
    Ok(socket)
}

fn set_keys(socket: &impl std::os::fd::AsFd, known: &mut Keys, wanted: &Keys) -> io::Result<()> {
    for network in known.keys().filter(|network| !wanted.contains_key(*network)) {
        metallb_net::remove_tcp_md5(socket, *network)?;
    }
    for (network, key) in wanted.iter().filter(|(network, key)| known.get(*network) != Some(*key)) {
        metallb_net::set_tcp_md5_of(socket, *network, key.expose())?;
    }
    known.clone_from(wanted);
    Ok(())
}
