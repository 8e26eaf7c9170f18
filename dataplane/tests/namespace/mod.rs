//! Test bodies in a child process inside a network namespace of its own.

use std::{
    env,
    io::{self, Write},
    process::Command,
};

/// Set in the child process, which runs the test's body.
const INSIDE: &str = "METALLB_TEST_IN_NAMESPACE";
/// How lines about tests that could not run begin.
const SKIPPED: &str = "skipped";

/// A command that runs another one in a namespace.
pub(crate) type Way = &'static [&'static str];

/// Runs `body` in a child process that has a network namespace of its own.
pub(crate) fn in_namespace(test: &str, body: impl Future<Output = ()>) {
    let why_not = "neither root nor a user namespace gives a network namespace with veth";
    run_inside(test, body, way_in, why_not);
}

/// Runs `body` in a child process that `way` leads to, or says why there is none.
pub(crate) fn run_inside(test: &str, body: impl Future<Output = ()>, way: impl FnOnce() -> Option<Way>, why_not: &str) {
    if env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(body);
    }
    let Some(way) = way() else {
        return skip(test, why_not);
    };
    let child = Command::new(way[0])
        .args(&way[1..])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    assert!(child.status.success(), "{out}{err}");
    err.lines().filter(|line| line.starts_with(SKIPPED)).for_each(say);
}

/// The first way to get a namespace that works here.
fn way_in() -> Option<Way> {
    let ways: [Way; 2] = [
        &["unshare", "--net"],
        &["unshare", "--user", "--map-root-user", "--net"],
    ];
    let probe = ["ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"];
    ways.into_iter().find(|way| {
        let tried = Command::new(way[0]).args(&way[1..]).args(probe).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// Says that and why a test was not run.
pub(crate) fn skip(test: &str, reason: &str) {
    say(&format!("{SKIPPED} {test}: {reason}"));
}

/// Not by a macro, because the test harness swallows what those print in a test that passes.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
