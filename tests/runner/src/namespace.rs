//! Test bodies in a child process inside a network namespace of its own.

use std::env;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, exit};

use crate::{Skip, current, runtime, skip};

/// Set in the child process, which runs the test's body.
const INSIDE: &str = "METALLB_TEST_IN_NAMESPACE";
/// How the child process says that it cannot run the test; the reason follows.
const SKIPPED: &str = "skipped: ";
/// The exit status that goes with it.
const SKIPPED_STATUS: i32 = 77;

/// A command that runs another one in a namespace.
pub type Way = &'static [&'static str];

/// Runs the body of the current test in a child process that has a network namespace of its own.
pub fn in_namespace(body: impl Future<Output = ()>) {
    let why_not = "neither root nor a user namespace gives a network namespace with veth";
    run_inside(body, way_in, why_not);
}

/// Runs the body in a child process that `way` leads to; skips the test if there is none.
///
/// # Panics
/// When the body does.
pub fn run_inside(body: impl Future<Output = ()>, way: impl FnOnce() -> Option<Way>, why_not: &str) {
    if env::var_os(INSIDE).is_some() {
        return inside(body);
    }
    let Some(way) = way() else { skip(why_not) };
    let child = Command::new(way[0])
        .args(&way[1..])
        .arg(env::current_exe().expect("a running program has a file"))
        .args(["--exact", current(), "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("it was there a moment ago");
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    if child.status.code() == Some(SKIPPED_STATUS)
        && let Some(reason) = err.lines().find_map(|line| line.strip_prefix(SKIPPED))
    {
        skip(reason);
    }
    assert!(child.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "the child ran another test: {out}{err}");
}

fn inside(body: impl Future<Output = ()>) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| runtime().block_on(body))) else {
        return;
    };
    match payload.downcast::<Skip>() {
        Ok(why) => {
            eprintln!("{SKIPPED}{}", why.0);
            exit(SKIPPED_STATUS);
        }
        Err(payload) => resume_unwind(payload),
    }
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
