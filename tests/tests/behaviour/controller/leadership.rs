//! Who may assign: at the end of a process, at the beginning of a term, and beside a load balancer that is none of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use metallb_api::{IPAddressPool, names};
use serde_json::json;

use super::Cluster;
use super::line::{Fate, Line, wait_for};

impl Cluster {
    async fn leader(&self) -> String {
        let lease = self.ours::<Lease>().get_opt(names::CONTROLLER_LEASE).await.unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_stopped_gives_the_lease_up_after_its_last_write() {
    // CTL-33: the late write is made; or it never is.
    for late in [true, false] {
        let cluster = Cluster::with_pool("192.0.2.0/28").await;
        let (first, second) = (Line::to(&cluster), Line::to(&cluster));
        let old = first.controller("controller-1");
        cluster.service("a").await;
        wait_for(|| async { first.writes() == 1 && !cluster.ip("a").await.is_empty() }).await;
        let new = second.controller("controller-2");
        tokio::time::sleep(Duration::from_secs(5)).await;
        first.set(|call| if call.is_write() { Fate::Stuck } else { Fate::Good });
        cluster.service("late").await;
        wait_for(|| async { first.writes() == 2 }).await;
        let stopping = tokio::spawn(old.stop());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((cluster.leader().await.as_str(), second.writes()), ("controller-1", 0));
        if late {
            first.mend();
        }
        stopping.await.unwrap();
        cluster.service("b").await;
        wait_for(|| async { !cluster.ip("b").await.is_empty() && !cluster.ip("late").await.is_empty() }).await;
        assert_ne!(cluster.ip("late").await, cluster.ip("b").await);
        assert_eq!(cluster.leader().await, "controller-2");
        assert_eq!(second.writes(), if late { 1 } else { 2 });
        new.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rival_in_the_status_is_met_with_patience_and_named_once() {
    // CTL-16
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    // That it has an address is told by an event of its own, some time after the write.
    wait_for(|| async { line.calls().iter().any(|call| call.path.contains("/events")) }).await;
    let begun = line.calls().len();
    let (fights, services) = (Arc::new(AtomicBool::new(true)), cluster.services());
    let rival = tokio::spawn({
        let fights = Arc::clone(&fights);
        async move {
            let params = PatchParams {
                field_manager: Some("kube-vip".into()),
                ..PatchParams::default()
            };
            let theirs = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "9.9.9.9" }] } } });
            while fights.load(Ordering::Relaxed) {
                let shown = services.get("a").await.unwrap();
                if !is_theirs(&shown) {
                    services
                        .patch_status("a", &params, &Patch::Merge(&theirs))
                        .await
                        .unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = line.calls().split_off(begun);
    let writes = calls.iter().filter(|call| call.is_write()).count();
    assert!((5..20).contains(&writes), "{writes} writes in a minute");
    let told = calls.iter().filter(|call| call.path.contains("/events")).count();
    assert_eq!(told, 1, "events");
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let warnings: Vec<_> = events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .collect();
    assert_eq!(warnings.len(), 1);
    let note = warnings[0].note.as_deref().unwrap();
    assert_eq!(warnings[0].reason.as_deref(), Some("StatusOverwritten"));
    assert!(
        note.starts_with("field manager \"kube-vip\" keeps overwriting"),
        "{note}"
    );
    fights.store(false, Ordering::Relaxed);
    rival.await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.ip("a").await, "192.0.2.0");
    controller.stop().await;
}

fn is_theirs(service: &Service) -> bool {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    ingress.into_iter().any(|entry| entry.ip.as_deref() == Some("9.9.9.9"))
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_by_one_event() {
    // CTL-37
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.gets("a", "192.0.2.0").await;
    let other = Patch::Merge(json!({ "spec": { "addresses": ["fc00::/120"] } }));
    let pools = cluster.ours::<IPAddressPool>();
    pools.patch("p", &PatchParams::default(), &other).await.unwrap();
    cluster.gets("a", "").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let lost = |event: &&Event| event.reason.as_deref() == Some("AllocationFailed");
    let lost: Vec<_> = events.iter().filter(lost).collect();
    assert_eq!(lost.len(), 1);
    assert!(lost[0].series.is_none(), "{:?}", lost[0].series);
    controller.stop().await;
}
