//! The router that the nodes peer with: FRR or BIRD where installed, our own route receiver otherwise.
//!
//! Whatever it is, its routes are in the kernel of its namespace, and that is where they are observed.

mod bird;
mod builtin;
mod daemon;
mod frr;

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;
use ipnet::Ipv4Net;

use crate::net::{Links, Netns};

/// The router's autonomous system.
pub(crate) const ASN: u32 = 64501;

/// Which router to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RouterKind {
    /// FRR, else BIRD, else ours, by what is installed.
    #[default]
    Auto,
    /// Our own receiver of routes.
    Builtin,
    /// FRR's zebra, bgpd and bfdd.
    Frr,
    /// BIRD 2.
    Bird,
}

impl RouterKind {
    /// Says what keeps this router from running here, if anything does.
    #[must_use]
    pub fn obstacle(self) -> Option<String> {
        match self {
            Self::Frr if !frr::installed() => Some("FRR is not installed (`apt-get install frr`)".into()),
            Self::Frr if !nix::unistd::getuid().is_root() => Some("FRR changes its user and so needs root".into()),
            Self::Bird if !bird::installed() => Some("BIRD is not installed (`apt-get install bird2`)".into()),
            _ => None,
        }
    }
}

/// A running router.
pub struct Router {
    kind: RouterKind,
    name: &'static str,
    links: Links,
    // The kernel refuses a second listing on the same socket while one is under way.
    looking: tokio::sync::Mutex<()>,
    // Held for its end: processes are killed, tasks stopped.
    _running: Running,
}

enum Running {
    Builtin(#[expect(dead_code, reason = "ends with us")] builtin::Builtin),
    Daemons(#[expect(dead_code, reason = "ends with us")] Vec<daemon::Daemon>),
}

impl Router {
    /// Starts a router in `netns`; `dir` is for its files.
    ///
    /// # Errors
    /// When the wanted one is not installed or does not start.
    pub(crate) async fn start(kind: RouterKind, netns: &Netns, dir: &Path, many_users: bool) -> Result<Self> {
        let links = netns.links()?;
        let kind = match kind {
            RouterKind::Auto if frr::installed() && many_users => RouterKind::Frr,
            RouterKind::Auto if bird::installed() => RouterKind::Bird,
            RouterKind::Auto => RouterKind::Builtin,
            chosen => chosen,
        };
        let (name, running) = match kind {
            RouterKind::Frr => ("FRR", Running::Daemons(frr::start(netns, dir, many_users).await?)),
            RouterKind::Bird => ("BIRD", Running::Daemons(vec![bird::start(netns, dir).await?])),
            RouterKind::Auto | RouterKind::Builtin => (
                "the built-in route receiver",
                Running::Builtin(builtin::start(netns, links.clone())?),
            ),
        };
        Ok(Self {
            kind,
            name,
            links,
            looking: tokio::sync::Mutex::default(),
            _running: running,
        })
    }

    /// Which it is; never [`RouterKind::Auto`].
    #[must_use]
    pub fn kind(&self) -> RouterKind {
        self.kind
    }

    /// What it is.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The next hops its kernel has for exactly `prefix`.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn next_hops(&self, prefix: Ipv4Net) -> Result<Vec<Ipv4Addr>> {
        let _alone = self.looking.lock().await;
        let mut hops = self.links.next_hops(prefix).await?;
        hops.sort_unstable();
        Ok(hops)
    }
}
