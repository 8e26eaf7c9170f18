//! FRR as router: zebra installs what bgpd learns from any speaker of the nodes' network.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::ASN;
use super::daemon::{self, Daemon};
use crate::net::Netns;
use crate::topology::ROUTER;

const ZEBRA: &str = "/usr/lib/frr/zebra";
const BGPD: &str = "/usr/lib/frr/bgpd";
/// Where FRR 8 to 10 keep sockets and pid files.
const RUN: &str = "/var/run/frr";

pub(super) fn installed() -> bool {
    Path::new(ZEBRA).exists() && Path::new(BGPD).exists()
}

pub(super) fn start(netns: &Netns, dir: &Path, many_users: bool) -> Result<Vec<Daemon>> {
    if !installed() {
        bail!("FRR is not installed ({BGPD}): `apt-get install frr`, or choose --router builtin");
    }
    if !many_users {
        bail!("FRR changes its user and so needs root: run as root, or choose --router bird or builtin");
    }
    fs::create_dir_all(dir.join("run"))?;
    fs::write(dir.join("run/zebra.conf"), "hostname router\nlog stdout\n")?;
    fs::write(dir.join("run/bgpd.conf"), configuration())?;
    // An empty one stops vtysh from complaining.
    fs::write(dir.join("run/vtysh.conf"), "")?;
    let common = |conf: &str, pid: &str| {
        [
            "-u",
            "root",
            "-g",
            "root",
            "-f",
            conf,
            "-i",
            pid,
            "--vty_socket",
            RUN,
            "-z",
        ]
        .map(String::from)
        .to_vec()
    };
    let run = |program: &str, conf: &str, pid: &str, more: &[&str]| {
        let mut command = vec![program.to_owned()];
        command.extend(common(&format!("{RUN}/{conf}"), &format!("{RUN}/{pid}")));
        command.push(format!("{RUN}/zserv.api"));
        command.extend(more.iter().map(ToString::to_string));
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        daemon::start(netns, dir, RUN, &command)
    };
    // bgpd tries again until zebra is there.
    Ok(vec![
        run(ZEBRA, "zebra.conf", "zebra.pid", &[])?,
        run(BGPD, "bgpd.conf", "bgpd.pid", &["--listenon", &ROUTER.to_string()])?,
    ])
}

fn configuration() -> String {
    format!(
        "hostname router
log stdout
router bgp {ASN}
 bgp router-id {ROUTER}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor nodes peer-group
 neighbor nodes remote-as external
 neighbor nodes passive
 bgp listen range 172.30.0.0/24 peer-group nodes
 address-family ipv4 unicast
  maximum-paths 64
 exit-address-family
exit
"
    )
}
