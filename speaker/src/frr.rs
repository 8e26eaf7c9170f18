//! The back-end `frr`: FRR, in containers beside ours, speaks BGP and BFD; we write its configuration.
//!
//! ```text
//!  shell ──apply──► model ──changed──► work: render, write frr.conf, signal the reloader, read its answer
//!                                        └── problems ──► ConfigurationState, event, metric
//! ```

mod answer;
pub(crate) mod desired;
pub(crate) mod model;
mod problems;
mod reloader;
mod work;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use metallb_dataplane::bgp::Sessions;
use metallb_engine::ConfigReport;
use metallb_frr::Level;
use metallb_frr::word::Host;
use metallb_runtime::CancellationToken;
use tokio::sync::watch;

use desired::Fixed;
use model::Shared;
pub(crate) use problems::{Teller, follow_extras, tell};
use reloader::Reloader;
use work::Work;

/// Where upstream's containers have the file and the process id of the reloader.
const CONFIG_FILE: (&str, &str) = ("FRR_CONFIG_FILE", "/etc/frr_reloader/frr.conf");
const PID_FILE: (&str, &str) = ("FRR_RELOADER_PID_FILE", "/etc/frr_reloader/reloader.pid");
/// Overrides the level of FRR's log.
const LEVEL: &str = "FRR_LOGGING_LEVEL";

/// How this back-end works; does not change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where the configuration goes.
    pub(crate) config_file: PathBuf,
    /// Who applies it.
    pub(crate) pid_file: PathBuf,
    /// How long changes are gathered, if the user has a wish.
    pub(crate) window: Option<Duration>,
    fixed: Fixed,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// For a level of the log that FRR does not have.
    pub(crate) fn read(node: &str, log_level: &str, window: Option<Duration>) -> Result<Self> {
        let path = |(variable, usual): (&str, &str)| std::env::var_os(variable).unwrap_or_else(|| usual.into()).into();
        let level = match std::env::var(LEVEL) {
            Ok(level) if !level.is_empty() => level.parse().context(LEVEL)?,
            _ => Level::of_flag(log_level),
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            config_file: path(CONFIG_FILE),
            pid_file: path(PID_FILE),
            window,
            fixed: Fixed {
                level,
                // FRR keeps the one it has.
                hostname: Host::new(host.trim()).ok(),
                router_id: router_id(node),
            },
        })
    }
}

/// The identifier of a node that has none to offer. Decided once: an address that comes later resets no session.
pub(crate) fn router_id(node: &str) -> Option<Ipv4Addr> {
    (!has_ipv4()).then(|| metallb_bgp::hashed_router_id(node))
}

/// Tells whether FRR finds an IPv4 address to make its identifier of.
fn has_ipv4() -> bool {
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return true;
    };
    let ipv4 = |address: &nix::sys::socket::SockaddrStorage| Some(address.as_sockaddr_in()?.ip());
    let mut addresses = all.filter_map(|interface| interface.address.as_ref().and_then(ipv4));
    addresses.any(|address| !IpAddr::V4(address).is_loopback())
}

/// The running back-end; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Frr {
    model: Shared,
    sessions: watch::Sender<Sessions>,
    problems: watch::Receiver<ConfigReport>,
    stop: CancellationToken,
}

impl Frr {
    /// Starts; the future is its work and ends after [`Frr::shutdown`]. Nothing is written until all is known.
    pub(crate) fn start(settings: Settings) -> (Self, impl Future<Output = Result<()>> + Send + 'static) {
        let (model, stop) = (Shared::new(), CancellationToken::new());
        let (problems, reader) = watch::channel(ConfigReport::default());
        let frr = Self {
            model: model.clone(),
            // Which of its sessions are up only FRR knows.
            sessions: watch::Sender::new(Sessions::new()),
            problems: reader,
            stop: stop.clone(),
        };
        let reloader = Reloader::new(&settings.config_file, &settings.pid_file);
        let work = Work::new(settings, model, reloader, problems);
        let work = async move {
            stop.run_until_cancelled(work.run()).await;
            Ok(())
        };
        (frr, work)
    }

    /// What is desired.
    pub(crate) fn model(&self) -> &Shared {
        &self.model
    }

    /// How the sessions are doing: unknown.
    pub(crate) fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.subscribe()
    }

    /// What FRR does not do although it is desired.
    pub(crate) fn problems(&self) -> watch::Receiver<ConfigReport> {
        self.problems.clone()
    }

    /// Leaves FRR as it is: routers keep the routes while this container alone starts anew, and where the whole pod
    /// goes FRR ends its sessions itself.
    pub(crate) fn shutdown(&self) {
        self.stop.cancel();
    }
}
