//! The default gateway, as the kernel tells it in `/proc/net`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IPV4: &str = "/proc/net/route";
const IPV6: &str = "/proc/net/ipv6_route";

/// The gateway of the default route, that of IPv4 if there are two.
pub(crate) fn default() -> Option<IpAddr> {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let v4 = of_ipv4(&read(IPV4)).map(IpAddr::V4);
    v4.or_else(|| of_ipv6(&read(IPV6)).map(IpAddr::V6))
}

/// Columns: interface, destination, gateway, …, the eighth is the mask; numbers as they lie in memory.
fn of_ipv4(table: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, _, _, _, _, "00000000", ..] = columns[..] else {
            return None;
        };
        let bytes = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        Some(Ipv4Addr::from(bytes)).filter(|ip| !ip.is_unspecified())
    };
    table.lines().find_map(gateway)
}

/// Columns: destination, its prefix length, source, its prefix length, next hop, …
fn of_ipv6(table: &str) -> Option<Ipv6Addr> {
    let gateway = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, "00", _, _, gateway, ..] = columns[..] else {
            return None;
        };
        let bits = u128::from_str_radix(gateway, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits)).filter(|ip| !ip.is_unspecified())
    };
    table.lines().find_map(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_gateway_of_the_default_route_is_found() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(of_ipv4(table), Some([192, 168, 2, 1].into()));
        let (without, _) = table.rsplit_once("eth0").unwrap();
        assert_eq!(of_ipv4(without), None);
    }

    #[test]
    fn so_is_that_of_ipv6() {
        let zeros = "0".repeat(32);
        let gateway = "fe800000000000000000000000000001";
        let line = |prefix: &str, next: &str| format!("{zeros} {prefix} {zeros} 00 {next} 00000400 1 0 3 eth0\n");
        assert_eq!(of_ipv6(&(line("40", gateway) + &line("00", &zeros))), None);
        assert_eq!(of_ipv6(&line("00", gateway)), Some("fe80::1".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_no_gateway() {
        assert_eq!((of_ipv4("x\n\n00000000"), of_ipv6("a 00 b c zz")), (None, None));
    }
}
