//! Two sockets on one UDP port: `SO_REUSEPORT` with a program that chooses, see socket(7).

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd},
};

use libc::{sock_filter, sock_fprog};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Opens a second socket on the address and port of `rest`, which from now on gets the datagrams that begin with `first`;
/// all others still come to `rest`. Each has its own buffer in the kernel: a flood of one kind loses nothing of the other.
///
/// `rest` must have been bound without `SO_REUSEPORT`, so that nobody else has a part of the port.
///
/// # Errors
/// When the kernel refuses.
pub fn split_datagrams(rest: &impl AsFd, first: u8) -> io::Result<UdpSocket> {
    let before = SockRef::from(rest);
    let address = before.local_addr()?;
    let socket = Socket::new(
        Domain::from(i32::from(address.family())),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(before.only_v6()?)?;
    }
    before.set_reuse_port(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address)?;
    choose(&socket, first)?;
    Ok(socket.into())
}

/// Has the second socket of the group get what begins with `first`. Of an empty datagram a load returns 0.
fn choose(socket: &Socket, first: u8) -> io::Result<()> {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut program = [
        instruction(LOAD_BYTE, 0, 0, 0),
        instruction(JUMP_EQUAL, 0, 1, u32::from(first)),
        instruction(RETURN, 0, 0, 1),
        instruction(RETURN, 0, 0, 0),
    ];
    let option = sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    let length = libc::socklen_t::try_from(size_of::<sock_fprog>()).unwrap_or_default();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel reads `length` octets from a live,
    // fully initialised structure of exactly that size, copies the program that it points to, and keeps no pointer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const option).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_gets_its_kind_and_nobody_else_gets_the_port() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let rest = UdpSocket::bind(host).unwrap();
            let address = rest.local_addr().unwrap();
            let fast = split_datagrams(&rest, 0xf5).unwrap();
            let sender = UdpSocket::bind(host).unwrap();
            let sent: [&[u8]; 5] = [b"\xf5a", b"b", b"", b"\xf5c", b"d\xf5"];
            for bytes in sent {
                sender.send_to(bytes, address).unwrap();
            }
            let mut buffer = [0; 16];
            let mut receive = |socket: &UdpSocket| {
                let len = socket.recv(&mut buffer).unwrap();
                buffer[..len].to_vec()
            };
            // On the loopback interface a datagram has arrived when it is sent.
            assert_eq!([receive(&fast), receive(&fast)], [b"\xf5a", b"\xf5c"]);
            assert_eq!(
                [receive(&rest), receive(&rest), receive(&rest)],
                [&b"b"[..], b"", b"d\xf5"]
            );
            assert_eq!(UdpSocket::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
