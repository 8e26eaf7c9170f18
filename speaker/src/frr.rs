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

/// Variables and defaults, upstream's, for the paths of the configuration and of the reloader's process id.
const CONFIG_FILE: (&str, &str) = ("FRR_CONFIG_FILE", "/etc/frr_reloader/frr.conf");
const PID_FILE: (&str, &str) = ("FRR_RELOADER_PID_FILE", "/etc/frr_reloader/reloader.pid");
/// Variable that overrides FRR's log level.
const LEVEL: &str = "FRR_LOGGING_LEVEL";

/// Settings, which do not change while the back-end runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Path of the configuration.
    pub(crate) config_file: PathBuf,
    /// Path of the file with the reloader's process id.
    pub(crate) pid_file: PathBuf,
    /// How long changes are gathered, if the user has set it.
    pub(crate) window: Option<Duration>,
    fixed: Fixed,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// If the log level is none of FRR's.
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
                // Without one FRR keeps its own.
                hostname: Host::new(host.trim()).ok(),
                router_id: router_id(node),
            },
        })
    }
}

/// The router ID of a node without an IPv4 address. Decided once, so that an address that is added later does not change it,
/// which would reset all sessions.
pub(crate) fn router_id(node: &str) -> Option<Ipv4Addr> {
    (!has_ipv4()).then(|| metallb_bgp::hashed_router_id(node))
}

/// Tells whether the node has an IPv4 address that FRR can use as its router ID.
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
    /// Starts; the future is its work and ends after [`Frr::shutdown`]. Nothing is written before the model is complete.
    pub(crate) fn start(settings: Settings) -> (Self, impl Future<Output = Result<()>> + Send + 'static) {
        let (model, stop) = (Shared::new(), CancellationToken::new());
        let (problems, reader) = watch::channel(ConfigReport::default());
        let frr = Self {
            model: model.clone(),
            // Stays empty: only FRR knows the state of its sessions.
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

    /// What is desired of FRR.
    pub(crate) fn model(&self) -> &Shared {
        &self.model
    }

    /// The states of sessions: always empty, as only FRR knows them.
    pub(crate) fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.subscribe()
    }

    /// What FRR does not do although it is desired.
    pub(crate) fn problems(&self) -> watch::Receiver<ConfigReport> {
        self.problems.clone()
    }

    /// Leaves FRR's configuration as it is: if only this container restarts, routers keep the routes; if the whole pod ends,
    /// FRR closes its sessions itself.
    pub(crate) fn shutdown(&self) {
        self.stop.cancel();
    }
}
