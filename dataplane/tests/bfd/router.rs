//! A scripted router: receives control packets, looks at how they were sent, and answers as a test says.

use std::{
    io::IoSliceMut,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use metallb_bfd::{Control, Diagnostic, State};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::PATIENCE;

/// A packet of ours as it arrived.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) packet: Control,
    pub(crate) from: SocketAddr,
    pub(crate) ttl: i32,
}

pub(crate) struct Router {
    socket: UdpSocket,
    ttl: u32,
}

impl Router {
    pub(crate) fn listen(address: SocketAddr, device: Option<&str>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None).unwrap();
        // Beside our own socket, which is bound to all addresses.
        socket.set_reuse_address(true).unwrap();
        socket.bind_device(device.map(str::as_bytes)).unwrap();
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true).unwrap();
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true).unwrap();
        }
        socket.bind(&address.into()).unwrap();
        Self {
            socket: UdpSocket::from_std(socket.into()).unwrap(),
            ttl: 255,
        }
    }

    pub(crate) async fn hear(&self) -> Heard {
        let heard = self.socket.async_io(Interest::READABLE, || receive(&self.socket));
        tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("a packet in time")
            .unwrap()
    }

    /// Listens until a packet satisfies a claim.
    pub(crate) async fn until(&self, claim: impl Fn(&Control) -> bool) -> Heard {
        loop {
            let heard = self.hear().await;
            if claim(&heard.packet) {
                return heard;
            }
        }
    }

    pub(crate) fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// Answers in this state, to the port that it listens on itself.
    pub(crate) fn say(&self, to: &Heard, state: State) {
        self.say_bytes(to, &Self::answer(to, state).encode());
    }

    /// An answer in this state.
    pub(crate) fn answer(to: &Heard, state: State) -> Control {
        Control {
            diagnostic: Diagnostic::None,
            state,
            poll: false,
            final_: to.packet.poll,
            independent: false,
            demand: false,
            multiplier: 200,
            my_discriminator: 77,
            your_discriminator: to.packet.my_discriminator,
            desired_min_tx: 1_000_000,
            required_min_rx: 50_000,
            required_min_echo_rx: 0,
        }
    }

    /// Answers with whatever it is.
    pub(crate) fn say_bytes(&self, to: &Heard, bytes: &[u8]) {
        let socket = SockRef::from(&self.socket);
        let mut target = to.from;
        target.set_port(socket.local_addr().unwrap().as_socket().unwrap().port());
        if target.is_ipv6() {
            socket.set_unicast_hops_v6(self.ttl).unwrap();
        } else {
            socket.set_ttl_v4(self.ttl).unwrap();
        }
        socket.send_to(bytes, &target.into()).unwrap();
    }

    /// Brings the session up.
    pub(crate) async fn establish(&self) -> Heard {
        let heard = self.hear().await;
        self.say(&heard, State::Down);
        let heard = self.until(|packet| packet.state == State::Init).await;
        self.say(&heard, State::Up);
        self.until(|packet| packet.state == State::Up).await
    }
}

fn receive(socket: &UdpSocket) -> std::io::Result<Heard> {
    let (mut buffer, mut control) = ([0; 64], cmsg_space!(i32));
    let (len, from, ttl) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
        let from = message.address.unwrap();
        let v4 = from.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
        let v6 = || SocketAddr::V6((*from.as_sockaddr_in6().unwrap()).into());
        let ttl = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => Some(ttl),
            _ => None,
        });
        (message.bytes, v4.unwrap_or_else(v6), ttl)
    };
    Ok(Heard {
        packet: Control::decode(&buffer[..len]).unwrap(),
        from,
        ttl: ttl.unwrap(),
    })
}

pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}
