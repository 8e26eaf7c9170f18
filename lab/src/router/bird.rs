//! BIRD as router: one dynamic protocol takes any speaker of the nodes' network.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::ASN;
use super::daemon::{self, Daemon};
use crate::net::Netns;
use crate::topology::ROUTER;

const PLACES: [&str; 3] = ["/usr/sbin/bird", "/usr/bin/bird", "/usr/local/sbin/bird"];
const RUN: &str = "/run/bird";

fn find() -> Option<&'static str> {
    PLACES.into_iter().find(|path| Path::new(path).exists())
}

pub(super) fn installed() -> bool {
    find().is_some()
}

pub(super) async fn start(netns: &Netns, dir: &Path) -> Result<Daemon> {
    let program = find().context("BIRD is not installed: `apt-get install bird2`, or choose --router builtin")?;
    fs::create_dir_all(dir.join("run"))?;
    fs::write(dir.join("run/bird.conf"), configuration())?;
    let conf = format!("{RUN}/bird.conf");
    let control = format!("{RUN}/bird.ctl");
    let command = [program, "-f", "-c", &conf, "-s", &control].map(str::to_owned);
    let mut bird = daemon::start(netns, dir, RUN, &command)?;
    bird.ready(&dir.join("run/bird.ctl")).await?;
    Ok(bird)
}

fn configuration() -> String {
    format!(
        r#"log stderr all;
router id {ROUTER};
protocol device {{ }}
protocol kernel {{
  merge paths on limit 64;
  ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol bgp nodes {{
  local {ROUTER} as {ASN};
  neighbor range 172.30.0.0/24 external;
  dynamic name "node";
  ipv4 {{ import all; export none; }};
}}
"#
    )
}
