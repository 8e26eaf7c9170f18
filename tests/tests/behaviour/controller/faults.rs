//! Writes that get lost, replicas that fall silent, controllers that die in the middle.
//!
//! Everything runs in this process under a clock that jumps, so that fifteen seconds of a lease cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use metallb_api::IPAddressPool;
use serde_json::json;

use super::line::{Fate, Line, wait_for};
use super::{Cluster, Controller};

impl Controller {
    /// Ends without any farewell, as a machine that loses power.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
        // The tasks that it has spawned end with the token; nothing of theirs may reach the API server.
        self.stop.cancel();
    }
}

impl Cluster {
    /// Every Service of type LoadBalancer with its addresses.
    async fn addresses(&self) -> BTreeMap<String, String> {
        let all = self.services().list(&ListParams::default()).await.unwrap();
        let ips = |service: &Service| {
            let status = service.status.as_ref()?.load_balancer.as_ref()?;
            let ips: Vec<_> = status
                .ingress
                .iter()
                .flatten()
                .filter_map(|entry| entry.ip.clone())
                .collect();
            Some(ips.join(","))
        };
        let ours = all.items.iter().filter(|service| {
            let spec = service.spec.as_ref();
            spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        });
        ours.map(|service| (service.name_any(), ips(service).unwrap_or_default()))
            .collect()
    }

    /// All Services have an address, and no two the same.
    async fn is_served(&self, count: usize) -> bool {
        let addresses = self.addresses().await;
        let given: BTreeSet<_> = addresses.values().filter(|ip| !ip.is_empty()).collect();
        addresses.len() == count && given.len() == count
    }

    /// Waits until all Services, which are so many, have an address.
    async fn served(&self, count: usize) {
        wait_for(|| self.is_served(count)).await;
    }

    /// Waits until so many Services have an address, whoever else has none.
    async fn given(&self, count: usize) {
        let given = async || self.addresses().await.values().filter(|ip| !ip.is_empty()).count();
        wait_for(async || given().await == count).await;
    }

    /// All who had an address have it still.
    async fn kept(&self, before: &BTreeMap<String, String>) {
        let after = self.addresses().await;
        let kept = before.iter().all(|(name, ip)| after[name] == *ip);
        assert!(kept, "{before:?} {after:?}");
    }

    async fn in_use(&self, pool: &str) -> i64 {
        let pool = self.ours::<IPAddressPool>().get(pool).await.unwrap();
        pool.status.map_or(-1, |status| status.assigned_ipv4)
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_not_made_twice() {
    // CTL-12
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    let line = Line::to(&cluster);
    let mut first = true;
    line.set(move |call| match call.is_write_of("a") && std::mem::take(&mut first) {
        true => Fate::Unanswered,
        false => Fate::Good,
    });
    let controller = line.controller("controller-1");
    cluster.service("a").await;
    cluster.service("b").await;
    cluster.served(2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let versions = cluster.versions().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.versions().await, versions);
    assert_eq!(cluster.in_use("p").await, 2);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lost_and_refused_writes_are_made_again_without_a_leak() {
    // CTL-12
    for fate in [Fate::Lost, Fate::Refused(409), Fate::Refused(500)] {
        let cluster = Cluster::with_pool("192.0.2.0/30").await;
        let line = Line::to(&cluster);
        let mut left = 5;
        line.set(move |call| {
            let bad = call.is_write() && left > 0;
            left -= i32::from(bad);
            if bad { fate } else { Fate::Good }
        });
        let controller = line.controller("controller-1");
        cluster.services_named(&["a", "b", "c"]).await;
        wait_for(|| async { cluster.is_served(3).await && cluster.in_use("p").await == 3 }).await;
        assert_eq!(line.writes(), 8, "{fate:?}: three good ones and five in vain");
        controller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_writes_are_always_denied_holds_up_nobody() {
    // CTL-32
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    let line = Line::to(&cluster);
    line.set(|call| {
        if call.is_write_of("bad") {
            Fate::Refused(403)
        } else {
            Fate::Good
        }
    });
    let controller = line.controller("controller-1");
    cluster.service("bad").await;
    wait_for(|| async { line.writes() > 5 }).await;
    cluster.services_named(&["a", "b", "c"]).await;
    cluster.given(3).await;
    cluster.service("waiting").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        cluster.ip("waiting").await,
        "",
        "the address of the denied one is reserved"
    );
    cluster
        .services()
        .delete("bad", &DeleteParams::default())
        .await
        .unwrap();
    cluster.served(4).await;
    // The tries for the denied one have become rare.
    let denied = line.calls().iter().filter(|call| call.is_write_of("bad")).count();
    assert!(denied < 30, "{denied} writes of the denied Service");
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_writes_hang_holds_up_nobody() {
    // CTL-32
    let cluster = Cluster::with_pool("192.0.2.0/24").await;
    let line = Line::to(&cluster);
    line.set(|call| {
        if call.is_write_of("bad") {
            Fate::Stuck
        } else {
            Fate::Good
        }
    });
    let controller = line.controller("controller-1");
    cluster.service("bad").await;
    wait_for(|| async { line.writes() == 1 }).await;
    let begin = tokio::time::Instant::now();
    for n in 0..50 {
        cluster.service(&format!("s{n}")).await;
    }
    cluster.given(50).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    line.mend();
    cluster.served(51).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_services_whose_writes_hang_hold_up_nobody() {
    // CTL-32
    let cluster = Cluster::with_pool("192.0.2.0/24").await;
    let line = Line::to(&cluster);
    line.set(|call| match call.is_write() && call.path.contains("/bad") {
        true => Fate::Stuck,
        false => Fate::Good,
    });
    let controller = line.controller("controller-1");
    for n in 0..100 {
        cluster.service(&format!("bad{n}")).await;
    }
    let begin = tokio::time::Instant::now();
    cluster.service("first").await;
    wait_for(|| async { !cluster.ip("first").await.is_empty() }).await;
    // Each has had its try in the quick lane, of sixteen places and half a second.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let begin = tokio::time::Instant::now();
    cluster.service("second").await;
    wait_for(|| async { !cluster.ip("second").await.is_empty() }).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    line.mend();
    cluster.served(102).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_decision_and_write_moves_and_loses_nothing() {
    let cluster = Cluster::with_pool("192.0.2.0/29").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.services_named(&["a", "b"]).await;
    cluster.served(2).await;
    let before = cluster.addresses().await;
    // Decided, but never written.
    line.set(|call| if call.is_write() { Fate::Stuck } else { Fate::Good });
    cluster.service("c").await;
    wait_for(|| async { line.writes() == 3 }).await;
    line.set(|_| Fate::Lost);
    controller.crash().await;
    cluster.service("d").await;
    let next = Line::to(&cluster);
    let controller = next.controller("controller-1");
    wait_for(|| async { cluster.is_served(4).await && cluster.in_use("p").await == 4 }).await;
    cluster.kept(&before).await;
    assert_eq!(next.writes(), 2);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_in_the_middle_of_writes_is_succeeded_without_a_second_write() {
    // CTL-33
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let (first, second) = (Line::to(&cluster), Line::to(&cluster));
    let old = first.controller("controller-1");
    cluster.service("a").await;
    cluster.served(1).await;
    let new = second.controller("controller-2");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = cluster.addresses().await;
    // Nothing of the first arrives any more: not its renewals, not the writes that it decides on.
    first.set(|_| Fate::Stuck);
    cluster.services_named(&["b", "c", "d"]).await;
    cluster.served(4).await;
    cluster.kept(&before).await;
    assert_eq!(second.writes(), 3);
    // Its requests were given up long ago; when the line is good again it is a standby, and what it writes is nothing.
    // By then all say that nobody announces them.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let versions = cluster.versions().await;
    let late = first.writes();
    first.mend();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.versions().await, first.writes()), (versions, late));
    old.stop().await;
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_sees_the_past_waits_until_it_sees_the_present() {
    // CTL-33
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let (first, second) = (Line::to(&cluster), Line::to(&cluster));
    let old = first.controller("controller-1");
    cluster.service("a").await;
    cluster.served(1).await;
    // The successor lists once, and then its watch is silent.
    second.set(|call| match call.watch && call.path.ends_with("/services") {
        true => Fate::Stuck,
        false => Fate::Good,
    });
    let new = second.controller("controller-2");
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.service("b").await;
    cluster.service("c").await;
    cluster.served(3).await;
    let before = cluster.addresses().await;
    old.stop().await;
    cluster.service("d").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        second.writes(),
        0,
        "nothing is given while it is not known who has what"
    );
    second.mend();
    cluster.served(4).await;
    cluster.kept(&before).await;
    assert_eq!(second.writes(), 1);
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_asks_for_the_lease_every_two_seconds_and_writes_nothing() {
    // CTL-33
    let cluster = Cluster::with_pool("192.0.2.0/28").await;
    let (first, second) = (Line::to(&cluster), Line::to(&cluster));
    let leader = first.controller("controller-1");
    cluster.service("a").await;
    cluster.served(1).await;
    let standby = second.controller("controller-2");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = second.calls().len();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let calls = second.calls().split_off(begun);
    let asked = calls.iter().filter(|call| call.is_of_lease()).count();
    assert!((19..=21).contains(&asked), "{asked} times in 40 s");
    assert!(calls.iter().all(|call| call.method == "GET"), "{calls:?}");
    leader.stop().await;
    standby.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_changes() {
    // CTL-9 CTL-49
    let cluster = Cluster::with_pool("192.0.2.0/31").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.services_named(&["a", "b", "waits"]).await;
    let settled = || async { cluster.in_use("p").await == 2 && line.writes() == 3 };
    wait_for(settled).await;
    // Who waits is told of a pool that does not help.
    cluster.pool("other", "fc00::/120").await;
    let told = || async { cluster.condition_message("waits").await.contains("pool other") };
    wait_for(told).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(line.writes(), 4, "nobody else is written");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(line.writes(), 6, "those with addresses say that nobody announces them");
    let begun = line.calls().len();
    // Ten watches of a minute each, and a Namespace that concerns nobody.
    cluster.namespace("unrelated").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = line.calls().split_off(begun);
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.method != "GET" && !call.is_of_lease())
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_pool_writes_only_its_services() {
    // CTL-42
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    cluster.pool("q", "198.51.100.0/30").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    for name in ["p1", "p2", "p3", "p4", "q1", "q2"] {
        cluster.service(name).await;
        wait_for(|| async { !cluster.ip(name).await.is_empty() }).await;
    }
    // Until all say that nobody announces them.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = cluster.addresses().await;
    let begun = line.calls().len();
    let smaller = Patch::Merge(json!({ "spec": { "addresses": ["198.51.100.1-198.51.100.3"] } }));
    let pools = cluster.ours::<IPAddressPool>();
    pools.patch("q", &PatchParams::default(), &smaller).await.unwrap();
    let moved = || async { cluster.ip("q1").await == "198.51.100.2" };
    wait_for(moved).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let calls = line.calls().split_off(begun);
    let writes: Vec<_> = calls.iter().filter(|call| call.is_write()).collect();
    assert!(writes.len() == 1 && writes[0].is_write_of("q1"), "{writes:?}");
    let mut after = cluster.addresses().await;
    after.insert("q1".into(), before["q1"].clone());
    assert_eq!(after, before);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_freed_address_wakes_one_of_many_who_wait() {
    // CTL-5 CTL-6
    let cluster = Cluster::with_pool("192.0.2.0/31").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    cluster.services_named(&["a", "b"]).await;
    cluster.served(2).await;
    for n in 0..20 {
        cluster.service(&format!("waits{n}")).await;
    }
    wait_for(|| async { line.writes() == 22 }).await;
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    cluster.given(2).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        line.writes(),
        25,
        "one of twenty was written, and the two with addresses to say that nobody announces them"
    );
    controller.stop().await;
}
