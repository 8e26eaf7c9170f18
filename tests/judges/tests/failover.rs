//! What becomes of an address when the node fails that answers for it: three whole speakers on a real kube-apiserver, and a
//! client that asks all the time. `benches/failover.rs` has the figures; here it is judged that another node answers, and
//! long before the membership alone would have found out, which takes five seconds at least.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use metallb_judges::failover::{Cluster, Fault, Outcome};
use metallb_judges::speaker::Speaker;
use metallb_judges::tools::UPSTREAM_SPEAKER;
use metallb_test_runner::{Way, main as run, run_inside, skip, tests};
use metallb_test_support::{Extent, Kubernetes};

/// Called by this name the program is the speaker instead of its test.
const SPEAKER: &str = "metallb-speaker";
const KUBERNETES: Option<Kubernetes> = Some(Kubernetes::V1_36);
const CALM: Duration = Duration::from_secs(1);
/// Upstream's speakers do not know each other any sooner.
const UPSTREAMS_CALM: Duration = Duration::from_secs(6);
/// Below what the membership alone can do, and far above what a loaded machine needs.
const SOON: Duration = Duration::from_secs(2);
/// The soonest that the membership alone finds out.
const BEFORE_MEMBERSHIP: Duration = Duration::from_secs(5);
const WAYS: [Way; 2] = [
    &[
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--mount-proc",
    ],
    &[
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--mount-proc",
    ],
];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).ends_with(SPEAKER) {
        return metallb_speaker::main();
    }
    run(tests![
        another_node_answers_soon,
        a_speaker_that_can_answer_for_nothing_is_not_vouched_for,
        a_speaker_that_is_told_to_end_loses_no_request,
        upstreams_speakers_are_replaced_one_by_one,
    ])
}

// L2-74, L2-79
fn another_node_answers_soon() {
    judge(
        &[
            Fault::Crash,
            Fault::Crash,
            Fault::Crash,
            Fault::Sigkill,
            Fault::Sigstop,
            Fault::Cable,
        ],
        SOON,
        |_| {},
    );
}

fn a_speaker_that_can_answer_for_nothing_is_not_vouched_for() {
    judge(&[Fault::Hang; 2], BEFORE_MEMBERSHIP, |_| {});
}

// L2-72
fn a_speaker_that_is_told_to_end_loses_no_request() {
    judge(&[Fault::Sigterm; 8], SOON, |outcome| {
        assert_eq!(outcome.lost, 0, "{outcome:?}");
        // Once an announcement is missed, the next is a second later.
        assert!(outcome.two_answer < Duration::from_millis(500), "{outcome:?}");
    });
}

// L2-34
fn upstreams_speakers_are_replaced_one_by_one() {
    let upstream = Speaker {
        label: "upstream".into(),
        path: UPSTREAM_SPEAKER.program(),
    };
    in_a_cluster(UPSTREAMS_CALM, async |cluster, ours| {
        for (old, new) in [(&upstream, ours), (ours, &upstream)] {
            let found = cluster.exchange(old, new).await.unwrap();
            println!("from {} to {}: {found:?}", old.label, new.label);
            assert_eq!(found.lost, 0, "{found:?}");
            assert!(found.two_answer < SOON, "{found:?}");
        }
    });
}

fn judge(faults: &[Fault], limit: Duration, outcome: impl Fn(&Outcome)) {
    in_a_cluster(CALM, async |cluster, speaker| {
        for fault in faults {
            let found = cluster.fail(speaker, *fault).await.unwrap();
            assert!(found.taken_over < limit, "{fault}: {found:?}");
            assert_eq!(found.answer_last, 1, "{fault}: {found:?}");
            outcome(&found);
        }
    });
}

/// Runs `body` with a cluster of three nodes, and our speaker.
fn in_a_cluster(calm: Duration, body: impl AsyncFnOnce(&mut Cluster, &Speaker)) {
    if let Some(reason) = metallb_test_support::obstacle(KUBERNETES, Extent::ControlPlane) {
        skip(reason);
    }
    let programs = metallb_test_support::prepare(KUBERNETES, Extent::ControlPlane).unwrap();
    let inside = async {
        let dir = tempfile::tempdir().unwrap();
        let speaker = Speaker {
            label: "ours".into(),
            path: dir.path().join(SPEAKER),
        };
        symlink(std::env::current_exe().unwrap(), &speaker.path).unwrap();
        let mut cluster = Cluster::build(&programs, dir.path(), 3, calm).await.unwrap();
        body(&mut cluster, &speaker).await;
    };
    run_inside(inside, way, "no namespaces can be made");
}

fn way() -> Option<Way> {
    WAYS.into_iter().find(|way| {
        let tried = Command::new(way[0])
            .args(&way[1..])
            .args(["ip", "link", "add", "bridge0", "type", "bridge"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    })
}
