//! What goes wrong with a real control plane: the message says what and how to mend it, soon, and nothing keeps running.
//!
//! The programs are stand-ins made for each test.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use metallb_test_runner::{main as run, skip, tests};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];
const PRODUCTS: [&str; 3] = ["metallb-operator", "metallb-controller", "metallb-speaker"];
const SAYS_ITS_VERSION: &str = "[ \"$1\" = --version ] && echo Kubernetes v1.36.3 && exit\nsleep 600";
/// How long anything may take before a test gives up. The stand-ins live longer: who waits for their end is found out.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    run(tests![
        without_go_and_programs_it_is_said_what_to_install,
        a_failed_build_names_the_program_and_is_not_taken_for_a_good_one,
        what_kubebuilder_assets_lacks_is_named,
        another_version_than_the_one_asked_for_is_named,
        a_taken_port_is_named,
        a_program_that_does_not_start_is_named_with_its_last_words,
        nothing_keeps_running_after_an_interruption,
        what_real_nodes_lack_is_said_before_anything_starts,
    ])
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Programs that start and do nothing, and products that are never ready.
fn stand_ins() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in PROGRAMS.iter().chain(&PRODUCTS) {
        script(&dir.path().join(name), SAYS_ITS_VERSION);
    }
    dir
}

/// `metallb-real-lab demo --cluster envtest` with products that exist.
fn demo(products: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metallb-real-lab"));
    command
        .args(["demo", "--cluster", "envtest", "--router", "builtin", "--bin-dir"])
        .arg(products);
    command
        .env_remove("KUBEBUILDER_ASSETS")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end, which must be a failure and long before the stand-ins' own; returns all that was said.
fn fails(command: &mut Command) -> String {
    let began = Instant::now();
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert!(!output.status.success(), "it succeeded: {text}");
    assert!(began.elapsed() < PATIENCE, "only after {:?}: {text}", began.elapsed());
    text
}

/// Command lines that name something in `dir`.
fn running(dir: &Path) -> Vec<String> {
    let name = dir.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&name))
        .collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Skips the test where the machine has not the namespaces that a lab is made of.
fn needs_namespaces(text: &str) {
    if text.contains("cannot create namespaces") || text.contains("cannot make the mounts private") {
        skip(text.trim());
    }
}

fn without_go_and_programs_it_is_said_what_to_install() {
    let (products, empty) = (stand_ins(), tempfile::tempdir().unwrap());
    let mut command = demo(products.path());
    let text = fails(command.env("PATH", empty.path()).env("XDG_CACHE_HOME", empty.path()));
    assert!(
        text.contains("no Go to build a real control plane with: install Go 1.26"),
        "{text}"
    );
    assert!(text.contains("KUBEBUILDER_ASSETS"), "{text}");
}

fn a_failed_build_names_the_program_and_is_not_taken_for_a_good_one() {
    let (products, cache) = (stand_ins(), tempfile::tempdir().unwrap());
    let tools = tempfile::tempdir().unwrap();
    script(
        &tools.path().join("go"),
        "[ \"$1\" = version ] && exit\necho no space left on device >&2; exit 1",
    );
    let path = format!("{}:/usr/bin:/bin", tools.path().display());
    for _ in 0..2 {
        let mut command = demo(products.path());
        let text = fails(command.env("PATH", &path).env("XDG_CACHE_HOME", cache.path()));
        assert!(text.contains("no space left on device"), "{text}");
        assert!(text.contains("go could not build etcd of Kubernetes v1.36"), "{text}");
    }
}

fn what_kubebuilder_assets_lacks_is_named() {
    let products = stand_ins();
    let text = fails(demo(products.path()).env("KUBEBUILDER_ASSETS", "/no/such/folder"));
    assert!(
        text.contains("KUBEBUILDER_ASSETS=/no/such/folder is no folder: unset"),
        "{text}"
    );
    for name in PROGRAMS {
        let assets = stand_ins();
        fs::remove_file(assets.path().join(name)).unwrap();
        let text = fails(demo(products.path()).env("KUBEBUILDER_ASSETS", assets.path()));
        assert!(
            text.contains(&format!("{name} not found in KUBEBUILDER_ASSETS")),
            "{text}"
        );
    }
}

fn another_version_than_the_one_asked_for_is_named() {
    let assets = stand_ins();
    let mut command = demo(assets.path());
    let text = fails(
        command
            .args(["--kubernetes", "1.28"])
            .env("KUBEBUILDER_ASSETS", assets.path()),
    );
    assert!(text.contains("has Kubernetes 1.36, 1.28 was asked for"), "{text}");
}

fn a_taken_port_is_named() {
    let assets = stand_ins();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = demo(assets.path());
    let text = fails(command.args(["--port", &port]).env("KUBEBUILDER_ASSETS", assets.path()));
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}: choose another --port")),
        "{text}"
    );
}

fn a_program_that_does_not_start_is_named_with_its_last_words() {
    for name in ["etcd", "kube-apiserver"] {
        let assets = stand_ins();
        let dies = "[ \"$1\" = --version ] && echo Kubernetes v1.36.3 && exit\necho the disk is full; exit 3";
        script(&assets.path().join(name), dies);
        let text = fails(demo(assets.path()).env("KUBEBUILDER_ASSETS", assets.path()));
        needs_namespaces(&text);
        assert!(
            text.contains(&format!(
                "the control plane does not start: {name} ended (exit status: 3)"
            )),
            "{text}"
        );
        assert!(text.contains("the disk is full"), "{text}");
        assert_eq!(running(assets.path()), Vec::<String>::new());
    }
}

fn nothing_keeps_running_after_an_interruption() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let assets = stand_ins();
        let started = demo(assets.path())
            .env("KUBEBUILDER_ASSETS", assets.path())
            .spawn()
            .unwrap();
        let mut lab = Stopped(started);
        let api_server = assets.path().join("kube-apiserver").display().to_string();
        let mut ended = false;
        until("the API server runs", || {
            ended = lab.0.try_wait().unwrap().is_some();
            ended
                || running(assets.path())
                    .iter()
                    .any(|line| line.contains(&api_server) && line.contains("--etcd"))
        });
        if ended {
            let mut text = String::new();
            std::io::Read::read_to_string(lab.0.stderr.as_mut().unwrap(), &mut text).unwrap();
            needs_namespaces(&text);
            panic!("it ended by itself: {text}");
        }
        kill(Pid::from_raw(i32::try_from(lab.0.id()).unwrap()), signal).unwrap();
        lab.0.wait().unwrap();
        until("everything has ended", || running(assets.path()).is_empty());
    }
}

/// Ends with the test, whatever becomes of it.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn what_real_nodes_lack_is_said_before_anything_starts() {
    // Whatever this machine has, it has none of these programs in an empty folder.
    let empty = tempfile::tempdir().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_metallb-real-lab"))
        .args(["demo", "--cluster", "real"])
        .env("PATH", empty.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(!ran.status.success() && ran.stdout.is_empty(), "{said}");
    assert!(
        said.starts_with("metallb-lab: real nodes need") && said.lines().count() == 1,
        "{said}"
    );
}
