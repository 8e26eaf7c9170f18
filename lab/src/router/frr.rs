//! FRR as router: zebra installs what bgpd learns from any speaker of the nodes' network, and bfdd watches those that have BFD.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use super::ASN;
use super::daemon::{self, Daemon};
use crate::net::Netns;
use crate::topology::ROUTER;

const ZEBRA: &str = "/usr/lib/frr/zebra";
const BGPD: &str = "/usr/lib/frr/bgpd";
const BFDD: &str = "/usr/lib/frr/bfdd";
/// Where FRR 8 to 10 keep sockets and pid files.
const RUN: &str = "/var/run/frr";

pub(super) fn installed() -> bool {
    [ZEBRA, BGPD, BFDD].iter().all(|program| Path::new(program).exists())
}

pub(super) async fn start(netns: &Netns, dir: &Path, many_users: bool) -> Result<Vec<Daemon>> {
    if !installed() {
        bail!("FRR is not installed ({BGPD}): `apt-get install frr`, or choose --router builtin");
    }
    if !many_users {
        bail!("FRR changes its user and so needs root: run as root, or choose --router bird or builtin");
    }
    let run = dir.join("run");
    fs::create_dir_all(&run)?;
    fs::write(run.join("zebra.conf"), "hostname router\nlog stdout\n")?;
    fs::write(run.join("bgpd.conf"), configuration())?;
    // Empty ones stop bfdd and vtysh from complaining.
    fs::write(run.join("bfdd.conf"), "")?;
    fs::write(run.join("vtysh.conf"), "")?;
    give_to_frr(&run)?;
    // A bgpd that does not find zebra tries again only after ten seconds.
    let mut zebra = daemon::start(netns, dir, RUN, &command(ZEBRA, "zebra"))?;
    zebra.ready(&run.join("zserv.api")).await?;
    // Sessions are asked for by bgpd, by way of zebra.
    let mut bfdd = daemon::start(netns, dir, RUN, &command(BFDD, "bfdd"))?;
    bfdd.ready(&run.join("bfdd.vty")).await?;
    let listen_on = vec!["--listenon".into(), ROUTER.to_string()];
    let mut bgpd = daemon::start(netns, dir, RUN, &[command(BGPD, "bgpd"), listen_on].concat())?;
    bgpd.ready(&run.join("bgpd.vty")).await?;
    Ok(vec![zebra, bfdd, bgpd])
}

fn command(program: &str, name: &str) -> Vec<String> {
    let options = [
        "-f",
        &format!("{RUN}/{name}.conf"),
        "-i",
        &format!("{RUN}/{name}.pid"),
        "-z",
        &format!("{RUN}/zserv.api"),
    ];
    std::iter::once(program).chain(options).map(str::to_owned).collect()
}

/// The daemons give up root for the user of the package.
fn give_to_frr(run: &Path) -> Result<()> {
    let user = User::from_name("frr")?.context("FRR's user `frr` does not exist: reinstall the package")?;
    let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    chown(run, owner.0, owner.1)?;
    for entry in fs::read_dir(run)? {
        chown(entry?.path(), owner.0, owner.1)?;
    }
    Ok(())
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
 neighbor nodes bfd
 neighbor nodes passive
 bgp listen range 172.30.0.0/24 peer-group nodes
 address-family ipv4 unicast
  maximum-paths 64
 exit-address-family
exit
"
    )
}
