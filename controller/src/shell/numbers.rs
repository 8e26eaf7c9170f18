//! The numbers of pools: gauges, and the status of IPAddressPools.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt};
use metallb_api::{IPAddressPool, IPAddressPoolStatus, names};
use metallb_assign::Engine;
use metallb_ipam::Counters;
use metallb_runtime::cause::explain;
use metallb_runtime::{CancellationToken, apply};
use tracing::warn;

use super::term::Term;

/// Many Services that come at once cost one write of a pool.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The last write of each pool: the version that was read, and what was written.
type Past = HashMap<String, (Option<String>, IPAddressPoolStatus)>;

pub(super) async fn follow(term: Arc<Term>, end: CancellationToken) {
    let mut past = Past::new();
    let mut good = true;
    let metrics = &term.shared.metrics;
    let show_pending = || metrics.show_pending(&term.engine(|engine| engine.pending()));
    // Series of all reasons are there before the first Service waits.
    show_pending();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = term.shared.recount.notified() => {}
            () = tokio::time::sleep(RETRY), if !good => {}
        }
        for (pool, counters) in term.engine(Engine::take_counters) {
            metrics.show_pool(&pool, counters);
        }
        show_pending();
        tokio::select! {
            () = end.cancelled() => return,
            all = write_all(&term, &mut past) => good = all,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes what differs; returns whether all went well.
async fn write_all(term: &Term, past: &mut Past) -> bool {
    let shared = &term.shared;
    let api: Api<IPAddressPool> = Api::namespaced(shared.client.clone(), &shared.settings.namespace);
    let mut good = true;
    for pool in shared.stores.pools.state() {
        let name = pool.name_any();
        let Some(counters) = term.engine(|engine| engine.counters(&name)) else {
            continue;
        };
        let status = status(counters);
        let step = (pool.resource_version(), status);
        if pool.status == Some(status) || past.get(&name) == Some(&step) {
            continue;
        }
        match apply::status(&api, &name, &status, names::field_manager::CONTROLLER).await {
            Ok(_) => drop(past.insert(name, step)),
            Err(error) => {
                warn!(
                    op = "updatePoolStatus",
                    pool = name,
                    error = explain(&error),
                    "failed to update the status of a pool"
                );
                good = false;
            }
        }
    }
    good
}

fn status(counters: Counters) -> IPAddressPoolStatus {
    IPAddressPoolStatus {
        assigned_ipv4: Counters::export(counters.in_use_v4),
        assigned_ipv6: Counters::export(counters.in_use_v6),
        available_ipv4: Counters::export(counters.available_v4()),
        available_ipv6: Counters::export(counters.available_v6()),
    }
}
