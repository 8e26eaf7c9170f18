//! Where servers listen: on both families unless somebody says otherwise.
//!
//! Like Go's `net.Listen`: no host and either unspecified address mean every address of this machine, IPv4 and IPv6 over
//! one socket, and IPv4 alone where the kernel has no IPv6.

use std::io::{self, ErrorKind};
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// As many connections as may wait to be taken; tokio's own number.
const BACKLOG: i32 = 1024;

/// All addresses of this machine.
#[must_use]
pub fn everywhere(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

/// Reads an address as Go writes them: `:9120` for all addresses, `127.0.0.1:9120`, `[::1]:9120`.
///
/// # Errors
/// When it is no address with a port.
pub fn parse(text: &str) -> Result<SocketAddr, AddrParseError> {
    if text.starts_with(':') {
        return format!("[::]{text}").parse();
    }
    text.parse()
}

/// Listens, without blocking; an unspecified address of either family stands for both.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        return both_families(address.port(), open);
    }
    open(address)
}

/// Tries both families at once, and IPv4 if that is all there is.
///
/// A port that is taken, or not for us, stays so: half a listener would hide it.
fn both_families<T>(port: u16, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match open(everywhere(port)) {
        Err(error) if !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
            open((IpAddr::from(Ipv4Addr::UNSPECIFIED), port).into())
        }
        answer => answer,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address == everywhere(address.port()) {
        // The default is the node's `net.ipv6.bindv6only`.
        socket.set_only_v6(false)?;
    }
    // A successor need not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::Mutex;

    use rstest::rstest;

    use super::*;

    fn answers(host: IpAddr, port: u16) -> bool {
        TcpStream::connect((host, port)).is_ok()
    }

    const LOCAL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

    #[rstest]
    #[case(":0")]
    #[case("0.0.0.0:0")]
    #[case("[::]:0")]
    fn without_a_host_both_families_are_served(#[case] text: &str) {
        let listener = bind(parse(text).unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(LOCAL.map(|host| answers(host, port)), [true, true], "{text}");
    }

    #[rstest]
    #[case("127.0.0.1:0", [true, false])]
    #[case("[::1]:0", [false, true])]
    fn an_address_that_is_given_is_the_only_one(#[case] text: &str, #[case] expected: [bool; 2]) {
        let listener = bind(parse(text).unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(LOCAL.map(|host| answers(host, port)), expected, "{text}");
    }

    #[rstest]
    #[case("")]
    #[case("9120")]
    #[case("::1:9120:")]
    #[case("localhost")]
    #[case(":x")]
    #[case(":70000")]
    fn what_is_no_address_is_refused(#[case] text: &str) {
        assert!(parse(text).is_err());
    }

    /// Tells what was tried, if opening IPv6 ends with that error.
    fn tried(kind: ErrorKind) -> (Vec<String>, bool) {
        let tried = Mutex::new(Vec::new());
        let opened = both_families(9, |address| {
            tried.lock().unwrap().push(address.to_string());
            if address.is_ipv6() { Err(kind.into()) } else { Ok(()) }
        });
        (tried.into_inner().unwrap(), opened.is_ok())
    }

    #[rstest]
    #[case::no_such_family(ErrorKind::Unsupported)]
    #[case::switched_off(ErrorKind::AddrNotAvailable)]
    #[case::no_such_option(ErrorKind::InvalidInput)]
    fn a_machine_without_ipv6_is_served_over_ipv4(#[case] kind: ErrorKind) {
        assert_eq!(tried(kind), (vec!["[::]:9".into(), "0.0.0.0:9".into()], true));
    }

    #[rstest]
    #[case(ErrorKind::AddrInUse)]
    #[case(ErrorKind::PermissionDenied)]
    fn a_port_that_cannot_be_had_is_an_error(#[case] kind: ErrorKind) {
        assert_eq!(tried(kind), (vec!["[::]:9".into()], false));
    }

    #[test]
    fn a_port_of_one_family_that_is_taken_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(bind(everywhere(port)).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
