//! The image without a container engine: its root file system is laid out by the very script that the Dockerfile calls,
//! and the programs run in it as another user, with nothing else of this machine.
//!
//! The program here is the one that tests are built with. If it is linked to libraries, those come along; the image's
//! own is static. `.ci/image` builds that one and measures it.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use metallb_test_runner::{main as run_tests, skip, tests};

const DOCKERFILE: &str = include_str!("../../Dockerfile");

fn main() -> ExitCode {
    run_tests(tests![
        the_image_is_bare_and_runs_as_nobody,
        licences_and_bill_of_materials_are_in_the_image,
        every_program_runs_in_the_image_as_nobody_on_a_read_only_root,
    ])
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The instructions of the last stage: name and argument.
fn instructions() -> Vec<(String, String)> {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let all: Vec<_> = joined
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    all[last..].to_vec()
}

fn instruction(wanted: &str) -> String {
    let all = instructions();
    let mut found = all.iter().filter(|(name, _)| name == wanted);
    let (_, argument) = found.next().unwrap();
    assert!(found.next().is_none(), "{wanted} is there twice");
    argument.clone()
}

/// Lays the root out in a folder that other users can enter.
fn lay_out() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootfs");
    let laid = Command::new(workspace().join(".ci/rootfs"))
        .arg(env!("CARGO_BIN_EXE_metallb"))
        .arg(&root)
        .output()
        .unwrap();
    assert!(laid.status.success(), "{}", String::from_utf8_lossy(&laid.stderr));
    let open = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(open.success());
    libraries(&root);
    dir
}

/// Adds the libraries of a program that is not static.
fn libraries(root: &Path) {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_metallb")).output().unwrap();
    for word in String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(word, to).unwrap();
    }
}

/// Runs a program of the image as the Dockerfile's user, the root read-only.
fn run(root: &Path, program: &str, args: &[&str]) -> Output {
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && root=$1 user=$2 && shift 2 &&
        exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin OPERATOR_NAMESPACE=metallb-system CONTROLLER_IMAGE=a SPEAKER_IMAGE=a FRR_IMAGE=a METALLB_NODE_NAME=n \
        chroot --userspec="$user" "$root" "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script, "sh"])
        .arg(root)
        .arg(instruction("USER"))
        .arg(program);
    command.args(args).output().unwrap()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

fn the_image_is_bare_and_runs_as_nobody() {
    assert_eq!(instruction("FROM"), "scratch");
    assert_eq!(instruction("COPY"), "--from=build /rootfs/ /");
    let user = instruction("USER");
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(
        uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0,
        "{user}"
    );
    let labels = instruction("LABEL");
    for label in [
        "title",
        "description",
        "licenses",
        "source",
        "version",
        "revision",
        "created",
    ] {
        assert!(
            labels.contains(&format!("org.opencontainers.image.{label}=")),
            "{label}"
        );
    }
    let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(
        instructions()
            .iter()
            .any(|(name, argument)| name == "ARG" && *argument == version),
        "{version}"
    );
}

fn licences_and_bill_of_materials_are_in_the_image() {
    let dir = lay_out();
    let root = dir.path().join("rootfs");
    assert!(
        fs::read_to_string(root.join("LICENSES/Apache-2.0.txt"))
            .unwrap()
            .contains("Apache License")
    );
    let others = fs::read_to_string(root.join("LICENSES/third-party.txt")).unwrap();
    assert!(others.contains("tokio") && others.contains("Permission is hereby granted"));
    let bill: serde_json::Value = serde_json::from_slice(&fs::read(root.join("sbom.cdx.json")).unwrap()).unwrap();
    let names: Vec<_> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert!(
        names.contains(&"metallb-speaker") && names.contains(&"rustls") && names.contains(&"kube"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"metallb-lab") && !names.contains(&"tempfile"),
        "{names:?}"
    );
}

fn every_program_runs_in_the_image_as_nobody_on_a_read_only_root() {
    if !is_root() {
        skip("changing the root needs root");
    }
    let dir = lay_out();
    let root = dir.path().join("rootfs");
    for program in ["/manager", "/controller", "/speaker"] {
        let help = run(&root, program, &["--help"]);
        assert!(
            help.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&help.stderr)
        );
        // Where there is no cluster, it says so and ends.
        let started = run(&root, program, &[]);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&started.stdout),
            String::from_utf8_lossy(&started.stderr)
        );
        assert!(
            !started.status.success() && started.status.code() != Some(101),
            "{program}: {said}"
        );
        assert!(said.to_lowercase().contains("kube"), "{program}: {said}");
    }
    let unknown = run(&root, "/metallb", &[]);
    assert_eq!(unknown.status.code(), Some(2));
}
