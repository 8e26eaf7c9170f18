//! Starts when not everything is in place, under a clock that jumps.

use std::time::Duration;

use metallb_api::{ConfigurationResult, ConfigurationState};

use super::Cluster;
use super::line::{Fate, Line, wait_for};

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    for fate in [Fate::Lost, Fate::Refused(500), Fate::Refused(429), Fate::Stuck] {
        let cluster = Cluster::with_pool("192.0.2.0/30").await;
        cluster.service("a").await;
        let line = Line::to(&cluster);
        line.set(move |_| fate);
        let controller = line.controller("controller-1");
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(!controller.task.is_finished(), "{fate:?}");
        line.mend();
        wait_for(|| async { cluster.ip("a").await == "192.0.2.0" }).await;
        controller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_waits_for_the_api_server_can_be_stopped() {
    let cluster = Cluster::start().await;
    let line = Line::to(&cluster);
    line.set(|_| Fate::Stuck);
    let controller = line.controller("controller-1");
    tokio::time::sleep(Duration::from_secs(5)).await;
    controller.stop().await;
}

// The clock is the real one: what races here are threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_can_be_stopped_at_any_moment_of_its_start() {
    let cluster = Cluster::with_pool("192.0.2.0/30").await;
    cluster.service("a").await;
    for millis in 0..40 {
        let controller = cluster.controller("controller-1");
        tokio::time::sleep(Duration::from_millis(millis)).await;
        controller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_wrong_from_the_start_is_reported_and_touches_nobody() {
    // CTL-30 CTL-47 CTL-130
    let cluster = Cluster::start().await;
    cluster.pool("bad", "junk").await;
    cluster.service("a").await;
    let line = Line::to(&cluster);
    let controller = line.controller("controller-1");
    let states = cluster.ours::<ConfigurationState>();
    let reported = || async {
        let status = states
            .get_opt("controller")
            .await
            .unwrap()
            .and_then(|state| state.status);
        status.is_some_and(|status| {
            status.result == Some(ConfigurationResult::Invalid) && status.error_summary.contains("junk")
        })
    };
    wait_for(reported).await;
    assert_eq!(line.writes(), 0);
    cluster.pool("good", "192.0.2.0/30").await;
    wait_for(|| async { cluster.ip("a").await == "192.0.2.0" }).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_its_pod_ends() {
    // CTL-140
    let cluster = Cluster::start().await;
    let controller = Line::to(&cluster).controller("nobody");
    let error = controller.task.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("cannot read own Pod nobody"), "{error:#}");
}
