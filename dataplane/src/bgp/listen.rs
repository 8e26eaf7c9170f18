//! Accepts connections of routers: one socket for each address family and VRF, only where a peer or a range needs it.
//!
//! On the network of the host another daemon may have the port: that is reported, and the port tried again.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use metallb_bgp::{
    Dialing, Password, PeerConfig,
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
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How many connections may wait in the kernel.
const BACKLOG: u32 = 64;
/// How many connections may wait for the supervisor, and how many may be in the course of being refused.
const WAITING: usize = 64;
/// How long a router that is refused may take to read the NOTIFICATION.
const FAREWELL: Duration = Duration::from_secs(2);

/// The port that routers connect to, and ranges of routers without a configuration of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The TCP port.
    pub port: u16,
    /// Networks whose routers need no configuration of their own.
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

/// Routers that are peers as long as they are connected ("dynamic neighbours", FRR's `bgp listen range`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The network that they connect from.
    pub prefix: IpNet,
    /// How many there may be at a time; FRR's default is 100.
    pub limit: usize,
    /// Their common configuration. Its address is ignored; the name of a member is this name with the member's address in
    /// brackets.
    pub peer: PeerConfig,
}

impl Range {
    /// Describes the session with one router.
    pub(super) fn member(&self, address: IpAddr) -> PeerConfig {
        PeerConfig {
            name: format!("{}[{address}]", self.peer.name),
            address,
            zone: None,
            dialing: Dialing::Passive,
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

/// A report of a listener.
#[derive(Debug)]
pub(super) enum News {
    Incoming(Place, TcpStream, SocketAddr),
    Failed(Place, String),
}

/// All sockets that listen.
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
                let listener = Listener {
                    place,
                    port,
                    keys: reader,
                    news: self.news.clone(),
                    told: None,
                };
                (writer, tokio::spawn(listener.run()).abort_handle())
            });
            writer.send_if_modified(|known| {
                let news = *known != keys;
                *known = keys;
                news
            });
        }
    }

    /// Tells whether a task has panicked, so that [`Listeners::set`] has to start it anew.
    pub(super) fn have_failed(&self) -> bool {
        self.running.values().any(|(_, task)| task.is_finished())
    }

    /// Waits for news. Cancel-safe.
    pub(super) async fn next(&mut self) -> News {
        match self.inbox.recv().await {
            Some(news) => news,
            // Cannot happen: `self.news` is a sender.
            None => std::future::pending().await,
        }
    }

    /// Refuses a connection with this NOTIFICATION.
    pub(super) fn refuse(&mut self, stream: TcpStream, notification: Notification) {
        self.refusals.refuse(stream, notification);
    }
}

/// Connections that are being refused.
#[derive(Default)]
pub(super) struct Refusals(JoinSet<()>);

impl Refusals {
    /// Sends the NOTIFICATION, unless too many are being refused already.
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

/// Sends the NOTIFICATION and waits until it is read: unread input would make the kernel send RST, which may overtake it.
async fn refuse(mut stream: TcpStream, notification: Notification) {
    let farewell = async {
        if let Ok(bytes) = Codec::default().encode(&Message::Notification(notification)) {
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    // A router that does not read in time misses it.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// The task of one socket.
struct Listener {
    place: Place,
    port: u16,
    keys: watch::Receiver<Keys>,
    news: mpsc::Sender<News>,
    /// What was logged last.
    told: Option<String>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let Err(error) = self.serve().await;
            self.tell(format!("cannot listen on port {}: {error}", self.port)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reports a failure: each time to the supervisor, as there may be new peers, but only once to the log.
    async fn tell(&mut self, text: String) {
        if self.told.as_ref() != Some(&text) {
            let Place { device, ipv4 } = &self.place;
            tracing::warn!(
                event = "listenFailed",
                port = self.port,
                device,
                ipv4,
                reason = text,
                "no BGP peer can connect"
            );
            self.told = Some(text.clone());
        }
        // Fails only if the supervisor is gone, and then this task is aborted.
        let _ = self.news.send(News::Failed(self.place.clone(), text)).await;
    }

    /// Returns if the socket cannot be set up.
    async fn serve(&mut self) -> io::Result<Infallible> {
        let socket = open(&self.place, self.port)?;
        // Before anybody can connect.
        let mut known = Keys::new();
        set_keys(&socket, &mut known, &self.keys.borrow_and_update().clone())?;
        let listener: TcpListener = socket.listen(BACKLOG)?;
        loop {
            // Both arms are cancel-safe.
            tokio::select! {
                changed = self.keys.changed() => {
                    if changed.is_err() {
                        return Err(io::Error::other("the supervisor has ended"));
                    }
                    let wanted = self.keys.borrow_and_update().clone();
                    set_keys(&listener, &mut known, &wanted)?;
                }
                accepted = listener.accept() => self.on_accepted(accepted).await,
            }
        }
    }

    /// Passes a connection on. The socket outlives an error of accept(2), which is about the connection (such as
    /// ECONNABORTED) or about this process (EMFILE, ENFILE, ENOBUFS, ENOMEM): closing it would lose those that wait.
    async fn on_accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, from)) => {
                self.told = None;
                let _ = self.news.send(News::Incoming(self.place.clone(), stream, from)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                tracing::debug!(port = self.port, %error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                self.tell(format!("cannot accept connections on port {}: {error}", self.port))
                    .await;
                tokio::time::sleep(ACCEPT_PAUSE).await;
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
    // Connections of an earlier run in TIME-WAIT hold the port.
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
