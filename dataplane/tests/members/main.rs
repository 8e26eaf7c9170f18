//! Our members and those of Go's memberlist in one membership.
//!
//! Each test has a network namespace of its own. All members are on its loopback interface; routing rules part them. Where
//! there are no namespaces, or no Go, they are skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod go;
mod group;

use std::process::ExitCode;

use metallb_dataplane::members::How;
use metallb_test_runner::{main as run, tests};

use group::{Group, Kind, names};

/// What the controller generates, and so the speakers' key.
const SECRET: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA";

fn main() -> ExitCode {
    run(tests![
        encrypted_members_agree_on_who_joins_leaves_and_crashes,
        plain_members_agree_on_who_joins_leaves_and_crashes,
        after_a_partition_all_are_members_again,
        a_member_that_datagrams_do_not_reach_stays_by_tcp,
        a_go_member_without_the_key_stays_outside_and_is_counted,
    ])
}

/// As the runner's, but the members of Go are built first: inside there is no network to fetch modules from.
fn in_namespace(body: impl Future<Output = ()>) {
    if std::env::var_os("METALLB_TEST_IN_NAMESPACE").is_none() {
        go::build();
    }
    metallb_test_runner::in_namespace(body);
}

// L2-68, L2-72, L2-73
fn encrypted_members_agree_on_who_joins_leaves_and_crashes() {
    in_namespace(members_come_and_go(Some(SECRET)));
}

// L2-73
fn plain_members_agree_on_who_joins_leaves_and_crashes() {
    in_namespace(members_come_and_go(None));
}

async fn members_come_and_go(secret: Option<&'static [u8]>) {
    let mut group = Group::of_six(secret);
    group.agree("after the start").await;
    group.leave("our-2").await;
    group.agree("when one of ours has left").await;
    let loss = |group: &Group, name: &str| group.ours("our-1").loss(name);
    assert_eq!(loss(&group, "our-2").unwrap().how, How::Left);
    group.leave("go-2").await;
    group.agree("when one of Go's has left").await;
    group.start("our-2", Kind::Ours);
    group.start("go-2", Kind::Go);
    group.agree("when both are back").await;
    assert_eq!(loss(&group, "our-2"), None);
    group.kill("go-3");
    group.agree("when one of Go's has crashed").await;
    group.kill("our-3");
    group.agree("when one of ours has crashed").await;
    for name in ["go-3", "our-3"] {
        let loss = loss(&group, name).unwrap();
        assert_eq!(loss.how, How::Died);
        assert!(loss.heard.unwrap() < loss.noticed, "{loss:?}");
    }
    group.start("go-3", Kind::Go);
    group.start("our-3", Kind::Ours);
    group.agree("when all are back").await;
}

fn after_a_partition_all_are_members_again() {
    in_namespace(async {
        let group = Group::of_six(Some(SECRET));
        group.agree("after the start").await;
        group.part("");
        group.sides_agree().await;
        let returned = group.ours("our-1").returned();
        group.heal("");
        group.agree("after the partition").await;
        // The owner of an address announces it again.
        group::in_time("the news that somebody has returned", returned).await;
    });
}

// L2-73: each side probes the other in vain, then over TCP; nobody was ever dead.
fn a_member_that_datagrams_do_not_reach_stays_by_tcp() {
    in_namespace(async {
        let mut group = Group::new(Some(SECRET));
        group.start("our-1", Kind::Ours);
        group.start("go-2", Kind::Go);
        group.agree("after the start").await;
        let mut seen = group.ours("our-1").alive();
        seen.mark_unchanged();
        group.part("ipproto udp");
        for _ in 0..8 {
            group
                .go("go-2")
                .has_logged("Was able to connect to our-1 over TCP but UDP probes failed")
                .await;
        }
        assert!(!seen.has_changed().unwrap());
        assert_eq!(group.go("go-2").members(), names(&["our-1", "go-2"]));
    });
}

fn a_go_member_without_the_key_stays_outside_and_is_counted() {
    in_namespace(async {
        let mut group = Group::new(Some(SECRET));
        group.start("our-1", Kind::Ours);
        let mut stranger = go::Member::start("go-1", group::address("go-1"), Some(b"another secret"));
        stranger.tell(&format!("join {}", group::address("our-1")));
        let counted = async {
            while group.ours("our-1").refusals().is_empty() {
                tokio::time::sleep(group::LOOK).await;
            }
        };
        group::in_time("a refusal", counted).await;
        assert_eq!(*group.ours("our-1").alive().borrow(), names(&["our-1"]));
    });
}
