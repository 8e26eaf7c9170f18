//! `frr-reloader`: applies `frr.conf` on SIGHUP, and when FRR starts.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{apply::Applier, files::Shared, frr::Frr};

/// How often to look for daemons that have started.
const LOOK: Duration = Duration::from_secs(1);
/// How long after the last line-by-line change the whole file is reloaded, which corrects what differs.
const QUIET: Duration = Duration::from_secs(30);

/// Runs until SIGTERM or SIGINT. Paths come from the environment: `SHARED_VOLUME` (upstream's), `FRR_SOCKETS` and
/// `FRR_CONFIG_DIR`.
pub fn main() -> ExitCode {
    let folder = |variable: &str, usual: &str| std::env::var_os(variable).unwrap_or_else(|| usual.into());
    let shared = Shared::new(folder("SHARED_VOLUME", "/etc/frr_reloader"));
    let frr = Frr {
        sockets: folder("FRR_SOCKETS", "/var/run/frr").into(),
        config: folder("FRR_CONFIG_DIR", "/etc/frr").into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = || runtime.context("cannot start")?.block_on(run(shared, frr));
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frr-reloader: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(shared: Shared, frr: Frr) -> Result<()> {
    // Before the process id is published: an unhandled SIGHUP ends the process.
    let mut signals = Signals::new()?;
    shared.enter()?;
    let mut applier = Applier::new(shared.clone(), frr);
    let done = tokio::select! {
        done = serve(&mut applier, &mut signals.reload) => done,
        _ = signals.end.recv() => Ok(()),
        _ = signals.interrupt.recv() => Ok(()),
    };
    shared.leave();
    done
}

struct Signals {
    reload: Signal,
    end: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            reload: listen(SignalKind::hangup())?,
            end: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

/// One reload at a time. Signals that arrive during one are merged into one, after which the newest file is read.
async fn serve(applier: &mut Applier, reload: &mut Signal) -> Result<()> {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = Instant::now() + QUIET;
    // Every arm is cancel-safe.
    loop {
        tokio::select! {
            _ = reload.recv() => {
                applier.apply().await?;
                quiet = Instant::now() + QUIET;
            }
            _ = look.tick() => if applier.is_behind().await {
                println!("FRR has started since it was told last");
                applier.apply().await?;
                quiet = Instant::now() + QUIET;
            },
            () = sleep_until(quiet), if applier.is_unchecked() => {
                applier.check().await?;
                quiet = Instant::now() + QUIET;
            }
        }
    }
}
