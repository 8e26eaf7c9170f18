//! Three routers side by side in one namespace, each at its own address.

use std::{path::Path, process::Command, time::Duration};

use metallb_bgp::RemoteAs;
use metallb_dataplane::bgp::PeerConfig;
use metallb_test_runner::{frr, skip};
use tempfile::TempDir;

use super::{COLOURS, Table};
use crate::{
    gobgp,
    neighbour::{Neighbour, run},
};

const BIRD: &str = "/usr/sbin/bird";

/// One of the routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Frr,
    Bird,
    Gobgp,
}

impl Name {
    pub(super) const ALL: [Self; 3] = [Self::Frr, Self::Bird, Self::Gobgp];

    /// The name of the peer.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::Gobgp => "gobgp",
        }
    }
}

/// Builds what has to be built, outside of namespaces; skips the test if a router is not here.
pub(super) fn prepare() {
    if !frr::has("bgpd") || !Path::new(BIRD).exists() {
        skip("FRR or BIRD is not installed");
    }
    gobgp::programs(4);
}

/// Describes a router to the speaker: BIRD has its session over IPv6, all have both families.
pub(super) fn peer(name: Name) -> PeerConfig {
    let address = match name {
        Name::Frr => "10.0.0.2",
        Name::Bird => "fd00::3",
        Name::Gobgp => "10.0.0.4",
    };
    PeerConfig {
        dual_stack: true,
        // Else the pauses grow, as they should, with sessions that do not last.
        connect_time: Some(Duration::from_millis(500)),
        router_id: Some([10, 9, 9, 9].into()),
        ..PeerConfig::new(name.text(), 64500, RemoteAs::Asn(64501), address.parse().unwrap())
    }
}

pub(super) struct Routers {
    neighbour: Neighbour,
    folder: TempDir,
    /// The daemons, in the order of [`Name::ALL`].
    daemons: [u32; 3],
}

impl Routers {
    pub(super) fn start() -> Self {
        let theirs = [
            "10.0.0.2/24",
            "10.0.0.3/24",
            "10.0.0.4/24",
            "fd00::2/64",
            "fd00::3/64",
            "fd00::4/64",
        ];
        let neighbour = Neighbour::new(&["10.0.0.1/24", "fd00::1/64"], &theirs);
        // FRR knows no interfaces without zebra, and refuses next hops that depend on one.
        run("ip link set node0 addrgenmode none && ip -6 addr flush dev node0 scope link");
        let mut routers = Self {
            neighbour,
            folder: TempDir::new().unwrap(),
            daemons: [0; 3],
        };
        std::fs::write(routers.path("bgpd.conf"), FRR_CONFIG).unwrap();
        std::fs::write(routers.path("bird.conf"), BIRD_CONFIG).unwrap();
        std::fs::write(routers.path("gobgpd.toml"), gobgp_config()).unwrap();
        for name in Name::ALL {
            routers.start_one(name);
        }
        routers
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn start_one(&mut self, name: Name) {
        let path = |name: &str| self.path(name);
        let (program, args) = match name {
            Name::Frr => {
                let config = self.folder.path().join("bgpd.conf");
                let command = frr::command("bgpd", self.folder.path(), Some(&config));
                let options = command[1..].join(" ");
                (command[0].clone(), format!("-Z -l 10.0.0.2 {options}"))
            }
            Name::Bird => {
                let text = format!(
                    "-f -c {} -s {} -P {}",
                    path("bird.conf"),
                    path("bird.ctl"),
                    path("bird.pid")
                );
                (BIRD.to_owned(), text)
            }
            Name::Gobgp => {
                let program = gobgp::programs(4).join("gobgpd").to_str().unwrap().to_owned();
                (
                    program,
                    format!("-f {} --api-hosts {}", path("gobgpd.toml"), self.api()),
                )
            }
        };
        let args: Vec<_> = args.split(' ').collect();
        self.daemons[name as usize] = self.neighbour.start(&program, &args);
    }

    fn api(&self) -> String {
        format!("unix://{}", self.path("gobgp.api"))
    }

    /// Ends a router at once, without a word to its peers, and starts it anew.
    pub(super) fn restart(&mut self, name: Name) {
        let daemon = self.daemons[name as usize];
        run(&format!("kill -KILL {daemon}"));
        while !self.neighbour.has_ended(daemon) {
            std::thread::yield_now();
        }
        // Some do not start where another one's socket or process number is.
        for left in ["bgpd.vty", "bgpd.pid", "bird.ctl", "bird.pid", "gobgp.api"] {
            if left.starts_with(&name.text()[..2]) || (name == Name::Frr && left.starts_with("bgpd")) {
                let _ = std::fs::remove_file(self.path(left));
            }
        }
        self.start_one(name);
    }

    /// Has a router end its session with us and wait for another.
    pub(super) fn clear(&self, name: Name) {
        match name {
            Name::Frr => self.ask(name, "clear bgp *"),
            Name::Bird => self.ask(name, "restart speaker"),
            Name::Gobgp => self.ask(name, "neighbor 10.0.0.1 reset"),
        };
    }

    /// Returns what a router knows; nothing while it does not answer.
    pub(super) fn table(&self, name: Name) -> Table {
        let mut table = Table::new();
        for colour in 1..=COLOURS {
            for family in ["ipv4", "ipv6"] {
                let answer = match name {
                    Name::Frr => self.ask(name, &format!("show bgp {family} unicast community 64500:{colour}")),
                    Name::Bird => self.ask(
                        name,
                        &format!(
                            "show route table master{} where (64500,{colour}) ~ bgp_community",
                            &family[3..]
                        ),
                    ),
                    Name::Gobgp => {
                        let all = self.ask(name, &format!("global rib -a {family}"));
                        let coloured = format!("Communities: 64500:{colour}}}");
                        all.lines()
                            .filter(|line| line.contains(&coloured))
                            .collect::<Vec<_>>()
                            .join("\n")
                    }
                };
                let prefixes = answer.split_whitespace().filter_map(|word| word.parse().ok());
                table.extend(prefixes.map(|prefix| (prefix, colour)));
            }
        }
        table
    }

    fn ask(&self, name: Name, command: &str) -> String {
        let (program, [option, socket]) = match name {
            Name::Frr => ("vtysh".into(), ["--vty_socket", &self.path("")]),
            Name::Bird => ("birdc".into(), ["-s", &self.path("bird.ctl")]),
            Name::Gobgp => (gobgp::programs(4).join("gobgp"), ["--target", &self.api()]),
        };
        let mut asked = Command::new(program);
        asked.args([option, socket]);
        if name == Name::Frr {
            asked.args(["-c", command]);
        } else {
            asked.args(command.split(' '));
        }
        String::from_utf8_lossy(&asked.output().unwrap().stdout).into_owned()
    }
}

const FRR_CONFIG: &str = "router bgp 64501
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 neighbor 10.0.0.1 remote-as 64500
 neighbor 10.0.0.1 passive
 address-family ipv4 unicast
  neighbor 10.0.0.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.0.1 activate
 exit-address-family
";

const BIRD_CONFIG: &str = "router id 10.0.0.3;
protocol device {}
protocol direct { ipv4; ipv6; }
protocol bgp speaker {
  strict bind on; passive on; enable extended messages on;
  local fd00::3 as 64501; neighbor fd00::1 as 64500;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
";

fn gobgp_config() -> String {
    let neighbor = gobgp::neighbor("10.0.0.1", 64500, None);
    format!("[global.config]\nas = 64501\nrouter-id = \"10.0.0.4\"\nlocal-address-list = [\"10.0.0.4\"]\n{neighbor}")
}
