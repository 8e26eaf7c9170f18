//! What becomes of a lab whose real control plane dies.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use metallb_test_runner::{main as run, skip, tests};
use metallb_test_support::{Extent, Kubernetes};

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];
const PRODUCTS: [&str; 3] = ["metallb-operator", "metallb-controller", "metallb-speaker"];
/// Set where this program is the lab instead of its test.
const AS_LAB: &str = "METALLB_JUDGE_AS_LAB";

fn main() -> ExitCode {
    if std::env::var_os(AS_LAB).is_some() {
        return metallb_test_support::lab_main();
    }
    run(tests![the_end_of_etcd_ends_the_lab])
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
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

fn the_end_of_etcd_ends_the_lab() {
    let version = Some(Kubernetes::default());
    if let Some(reason) = metallb_test_support::obstacle(version, Extent::ControlPlane) {
        skip(reason);
    }
    let real = metallb_test_support::prepare(version, Extent::ControlPlane).unwrap();
    let (assets, products) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in PRODUCTS {
        script(&products.path().join(name), "sleep 600");
    }
    for name in PROGRAMS.into_iter().filter(|name| *name != "etcd") {
        symlink(real.join(name), assets.path().join(name)).unwrap();
    }
    // Lives until the lab has asked for something that only a running API server answers.
    let etcd = format!("timeout 12 {} \"$@\"; exit 7", real.join("etcd").display());
    script(&assets.path().join("etcd"), &etcd);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["demo", "--cluster", "envtest", "--router", "builtin", "--bin-dir"])
        .arg(products.path())
        .env(AS_LAB, "1")
        .env("KUBEBUILDER_ASSETS", assets.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    if text.contains("cannot create namespaces") || text.contains("cannot make the mounts private") {
        skip(text.trim());
    }
    assert!(!output.status.success(), "it succeeded: {text}");
    assert!(text.contains("etcd ended (exit status: 7)"), "{text}");
    assert_eq!(running(assets.path()), Vec::<String>::new());
}
