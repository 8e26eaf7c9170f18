//! The same claims for every router, each shown by what the router's own command line says of our routes.
//!
//! What only one router can do, or says in a way of its own, is in the file of that router.

use metallb_bgp::{LargeCommunity, Offer, RemoteAs};
use metallb_dataplane::bgp::{Attributes, BgpHandle, MessageType, Password, PeerConfig};
use metallb_test_runner::Test;

use crate::{
    bird::Bird,
    eventually,
    frr::Frr,
    gobgp::{self, Gobgp},
    gone, host_routes,
    neighbour::{in_namespace, run},
    route, route_with, session, speaker,
};

/// How the router is to see us.
pub(crate) struct Us {
    /// Where we dial from.
    address: &'static str,
    asn: u32,
    password: Option<&'static str>,
}

const OVER_IPV4: Us = Us {
    address: "10.0.0.1",
    asn: 64500,
    password: None,
};
const OVER_IPV6: Us = Us {
    address: "fd00::1",
    ..OVER_IPV4
};

impl Us {
    fn peer(&self) -> PeerConfig {
        let theirs = if self.address.contains(':') {
            "fd00::2"
        } else {
            "10.0.0.2"
        };
        PeerConfig {
            password: self.password.map(Password::new),
            // Not the address of the next hop, so that texts tell them apart.
            router_id: Some([10, 9, 9, 9].into()),
            ..PeerConfig::new("router", self.asn, RemoteAs::Asn(64501), theirs.parse().unwrap())
        }
    }
}

/// A kind of router, at 10.0.0.2 and fd00::2 in AS 64501, that waits to be dialled and takes both families.
pub(crate) trait Router: Sized {
    /// Checks outside of namespaces that it is here; else skips the test.
    fn prepare() {}

    /// Starts it.
    async fn start(us: &Us) -> Self;

    /// Returns what it says of a route to a prefix; without a session, nothing.
    fn route(&self, prefix: &str) -> String;

    /// Returns how that text names next hop and AS path.
    fn names(prefix: &str, next_hop: &str, asn: u32) -> Vec<String>;

    /// Returns how it writes the communities 64500:7 and 64500:1:2.
    fn communities() -> [&'static str; 2];
}

/// A router that can ask for what it was told already.
trait Asking: Router {
    /// Has it ask us for all routes again.
    fn refresh(&self, us: &Us);
}

macro_rules! of_router {
    ($name:literal, $router:ty, [$($claim:ident),* $(,)?]) => {
        [$(Test::new(concat!("matrix::", $name, "::", stringify!($claim)), || {
            <$router>::prepare();
            in_namespace($claim::<$router>());
        })),*]
    };
}

macro_rules! of_all {
    ($($claim:ident),* $(,)?) => {
        [
            of_router!("frr", Frr, [$($claim),*]),
            of_router!("bird", Bird, [$($claim),*]),
            of_router!("gobgp3", Version<3>, [$($claim),*]),
            of_router!("gobgp4", Version<4>, [$($claim),*]),
        ]
    };
}

// BGP-57
pub(crate) fn tests() -> impl Iterator<Item = Test> {
    let all = of_all![
        ipv4_over_ipv4,
        ipv6_over_ipv6,
        both_over_ipv4,
        both_over_ipv6,
        communities,
        four_octet_asn,
        md5_over_ipv4,
        md5_over_ipv6,
        extended_next_hop,
    ];
    // GoBGP keeps what it was told and never asks again; its version 3 does not know extended messages.
    let some = [
        of_router!("frr", Frr, [route_refresh, extended_messages]).into_iter(),
        of_router!("bird", Bird, [route_refresh, extended_messages]).into_iter(),
    ];
    let newest = of_router!("gobgp4", Version<4>, [extended_messages]);
    all.into_iter()
        .flatten()
        .chain(some.into_iter().flatten())
        .chain(newest)
}

/// Waits until the router shows a route with next hop and AS path, and with these texts.
async fn shows<R: Router>(router: &R, us: &Us, [prefix, next_hop]: [&str; 2], more: &[&str]) {
    let mut wanted = R::names(prefix, next_hop, us.asn);
    wanted.extend(more.iter().map(|text| (*text).to_owned()));
    eventually(&format!("{wanted:?}"), || {
        let answer = router.route(prefix);
        let complete = wanted.iter().all(|text| answer.contains(text));
        complete.then_some(()).ok_or(answer)
    })
    .await;
}

async fn up(handle: &BgpHandle) {
    session(handle, "router", |state| state.up).await;
}

/// Announces a route of each family.
fn both(peer: PeerConfig) -> BgpHandle {
    speaker(peer, vec![route("192.168.0.1/32"), route("2001:db8::1/128")])
}

const IPV4: &str = "192.168.0.1/32";
const IPV6: &str = "2001:db8::1/128";

async fn ipv4_over_ipv4<R: Router>() {
    let us = OVER_IPV4;
    let router = R::start(&us).await;
    let handle = both(us.peer());
    up(&handle).await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &[]).await;
    assert!(!is_named::<R>(&router, IPV6, "fd00::1"));
}

// BGP-61
async fn ipv6_over_ipv6<R: Router>() {
    let us = OVER_IPV6;
    let router = R::start(&us).await;
    let handle = both(us.peer());
    up(&handle).await;
    shows(&router, &us, [IPV6, "fd00::1"], &[]).await;
    assert!(!is_named::<R>(&router, IPV4, "10.0.0.1"));
}

fn is_named<R: Router>(router: &R, prefix: &str, next_hop: &str) -> bool {
    let answer = router.route(prefix);
    R::names(prefix, next_hop, 64500)
        .iter()
        .all(|text| answer.contains(text))
}

// BGP-62
async fn both_over_ipv4<R: Router>() {
    both_over::<R>(OVER_IPV4).await;
}

// BGP-62
async fn both_over_ipv6<R: Router>() {
    both_over::<R>(OVER_IPV6).await;
}

async fn both_over<R: Router>(us: Us) {
    let router = R::start(&us).await;
    let handle = both(PeerConfig {
        dual_stack: true,
        ..us.peer()
    });
    up(&handle).await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &[]).await;
    shows(&router, &us, [IPV6, "fd00::1"], &[]).await;
}

// BGP-23, BGP-64
async fn communities<R: Router>() {
    let us = OVER_IPV4;
    let router = R::start(&us).await;
    let large = LargeCommunity {
        global: 64500,
        data1: 1,
        data2: 2,
    };
    let colours = Attributes {
        communities: [64500 << 16 | 7].into(),
        large_communities: [large].into(),
        ..Attributes::default()
    };
    let handle = speaker(us.peer(), vec![route_with(IPV4, colours)]);
    up(&handle).await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &R::communities()).await;
}

// BGP-47
async fn four_octet_asn<R: Router>() {
    let us = Us {
        asn: 4_200_000_000,
        ..OVER_IPV4
    };
    let router = R::start(&us).await;
    let handle = speaker(us.peer(), vec![route(IPV4)]);
    up(&handle).await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &[]).await;
}

// BGP-73
async fn md5_over_ipv4<R: Router>() {
    md5_over::<R>(OVER_IPV4).await;
}

// BGP-73
async fn md5_over_ipv6<R: Router>() {
    md5_over::<R>(OVER_IPV6).await;
}

async fn md5_over<R: Router>(us: Us) {
    let us = Us {
        password: Some("secret"),
        ..us
    };
    let _router = R::start(&us).await;
    let wrong = Us {
        password: Some("wrong"),
        ..us
    };
    let handle = speaker(wrong.peer(), vec![]);
    let state = session(&handle, "router", |state| state.reason.is_some()).await;
    assert!(!state.up);
    handle.set_peers(vec![us.peer()]);
    up(&handle).await;
}

// BGP-63
async fn extended_next_hop<R: Router>() {
    let us = OVER_IPV6;
    let router = R::start(&us).await;
    run("ip addr del 10.0.0.1/24 dev node0");
    let peer = PeerConfig {
        dual_stack: true,
        offer: Offer {
            extended_next_hop: true,
            ..Offer::default()
        },
        ..us.peer()
    };
    let handle = both(peer);
    up(&handle).await;
    shows(&router, &us, [IPV4, "fd00::1"], &[]).await;
    shows(&router, &us, [IPV6, "fd00::1"], &[]).await;
}

// BGP-58
async fn extended_messages<R: Router>() {
    let us = OVER_IPV4;
    let router = R::start(&us).await;
    let peer = PeerConfig {
        offer: Offer {
            extended_message: true,
            ..Offer::default()
        },
        ..us.peer()
    };
    let handle = speaker(peer, host_routes(1500));
    up(&handle).await;
    shows(&router, &us, ["192.168.5.219/32", "10.0.0.1"], &[]).await;
    let updates = || handle.sessions().borrow()["router"].counters.sent(MessageType::Update);
    assert_eq!(updates(), 1);
    handle.change_routes(gone(host_routes(1500)));
    eventually("the withdrawal", || {
        let known = is_named(&router, "192.168.5.219/32", "10.0.0.1");
        if known { Err("it is still there") } else { Ok(()) }
    })
    .await;
    assert_eq!(updates(), 2);
    assert!(handle.sessions().borrow()["router"].up);
}

// BGP-66
async fn route_refresh<R: Asking>() {
    let us = OVER_IPV4;
    let router = R::start(&us).await;
    let peer = PeerConfig {
        offer: Offer {
            route_refresh: true,
            ..Offer::default()
        },
        ..us.peer()
    };
    let handle = both(peer);
    up(&handle).await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &[]).await;
    let count = |kind| handle.sessions().borrow()["router"].counters.sent(kind);
    let told = count(MessageType::Update);
    router.refresh(&us);
    eventually("the table a second time", || match count(MessageType::Update) {
        now if now > told => Ok(()),
        now => Err(format!("{now} UPDATEs")),
    })
    .await;
    shows(&router, &us, [IPV4, "10.0.0.1"], &[]).await;
    assert!(handle.sessions().borrow()["router"].up);
}

impl Router for Frr {
    async fn start(us: &Us) -> Self {
        let Us { address, asn, password } = us;
        let password = password.map(|key| format!("neighbor {address} password {key}"));
        let mut lines = vec![
            format!("neighbor {address} remote-as {asn}"),
            format!("neighbor {address} passive"),
            // FRR refuses the capability over IPv4.
            format!("neighbor {address} capability extended-nexthop"),
        ];
        lines.truncate(if address.contains(':') { 3 } else { 2 });
        lines.extend(password);
        for family in ["ipv4", "ipv6"] {
            lines.push(format!("address-family {family} unicast"));
            lines.push(format!("neighbor {address} activate"));
            lines.push("exit-address-family".to_owned());
        }
        Self::start(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    fn route(&self, prefix: &str) -> String {
        self.vtysh(&format!("show bgp {} unicast {prefix}", family(prefix)))
    }

    fn names(prefix: &str, next_hop: &str, asn: u32) -> Vec<String> {
        vec![
            format!("BGP routing table entry for {prefix}"),
            format!("\n  {asn}\n    {next_hop} "),
        ]
    }

    fn communities() -> [&'static str; 2] {
        ["Community: 64500:7\n", "Large Community: 64500:1:2\n"]
    }
}

impl Asking for Frr {
    fn refresh(&self, us: &Us) {
        self.vtysh(&format!("clear bgp ipv4 unicast {} soft in", us.address));
    }
}

impl Router for Bird {
    async fn start(us: &Us) -> Self {
        let Us { address, asn, password } = us;
        let ours = if address.contains(':') { "fd00::2" } else { "10.0.0.2" };
        let password = password.map(|key| format!("password \"{key}\";")).unwrap_or_default();
        let next_hop = if address.contains(':') {
            "extended next hop on;"
        } else {
            ""
        };
        let text =
            format!("local {ours} as 64501; neighbor {address} as {asn}; {password} enable extended messages on;");
        Self::start_with(&text, next_hop)
    }

    fn route(&self, prefix: &str) -> String {
        self.birdc(&format!("show route {prefix} all protocol speaker"))
    }

    fn names(prefix: &str, next_hop: &str, asn: u32) -> Vec<String> {
        vec![
            prefix.to_owned(),
            format!("BGP.as_path: {asn}\n"),
            format!("BGP.next_hop: {next_hop}"),
        ]
    }

    fn communities() -> [&'static str; 2] {
        ["BGP.community: (64500,7)", "BGP.large_community: (64500, 1, 2)"]
    }
}

impl Asking for Bird {
    fn refresh(&self, _: &Us) {
        self.birdc("reload in speaker");
    }
}

/// A version of GoBGP.
struct Version<const VERSION: u8>(Gobgp);

impl<const VERSION: u8> Router for Version<VERSION> {
    fn prepare() {
        gobgp::programs(VERSION);
    }

    async fn start(us: &Us) -> Self {
        Self(Gobgp::start(VERSION, &gobgp::neighbor(us.address, us.asn, us.password)))
    }

    fn route(&self, prefix: &str) -> String {
        self.0.ask(&format!("global rib -a {} {prefix}", family(prefix)))
    }

    fn names(prefix: &str, next_hop: &str, asn: u32) -> Vec<String> {
        vec![format!("*> {prefix} {next_hop} {asn} ")]
    }

    fn communities() -> [&'static str; 2] {
        ["{Communities: 64500:7}", "64500:1:2"]
    }
}

fn family(prefix: &str) -> &'static str {
    if prefix.contains(':') { "ipv6" } else { "ipv4" }
}
