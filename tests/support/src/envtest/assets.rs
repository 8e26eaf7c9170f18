//! The programs of a real control plane and of real nodes: those that `KUBEBUILDER_ASSETS` names, or ours, built once by Go.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

/// Names a folder of built programs, as controller-runtime's envtest has it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Program → the Go package it is built from.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
];
/// Those of a node, and who places pods there.
const NODE_PROGRAMS: [(&str, &str); 3] = [
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
];
/// Without these, the programs call themselves v0.0.0.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";
/// The oldest Kubernetes that the product serves; `docs/install/kubernetes.md` says why.
const OLDEST_MINOR: u32 = 28;

/// How much of Kubernetes is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// etcd, kube-apiserver and kube-controller-manager.
    ControlPlane,
    /// The control plane with kube-scheduler, and kubelet and kube-proxy.
    Nodes,
}

impl Extent {
    fn programs(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let nodes: &[_] = match self {
            Self::ControlPlane => &[],
            Self::Nodes => &NODE_PROGRAMS,
        };
        PROGRAMS.iter().chain(nodes).copied()
    }
}

/// A Kubernetes version that can be built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kubernetes {
    /// The newest.
    #[default]
    #[value(name = "1.36")]
    V1_36,
    /// The oldest that the product serves.
    #[value(name = "1.28")]
    V1_28,
}

impl fmt::Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor())
    }
}

impl Kubernetes {
    fn minor(self) -> u32 {
        match self {
            Self::V1_36 => 36,
            Self::V1_28 => 28,
        }
    }

    /// `go.mod` and `go.sum` of the module that names every source.
    fn module(self) -> (&'static str, &'static str) {
        match self {
            Self::V1_36 => (
                include_str!("../../../envtest/1.36/go.mod"),
                include_str!("../../../envtest/1.36/go.sum"),
            ),
            Self::V1_28 => (
                include_str!("../../../envtest/1.28/go.mod"),
                include_str!("../../../envtest/1.28/go.sum"),
            ),
        }
    }

    /// The release: `v1.36.3`.
    fn release(self) -> &'static str {
        let mut lines = self.module().0.lines();
        let found = lines.find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
        found.and_then(|rest| rest.split(' ').next()).unwrap_or("unknown")
    }
}

/// Says why there is no real control plane of that version on this machine, and can be none.
///
/// What was asked for and is broken is no reason to skip: whoever starts the control plane fails.
#[must_use]
pub fn obstacle(version: Option<Kubernetes>, extent: Extent) -> Option<String> {
    let Some(dir) = std::env::var_os(ASSETS) else {
        let none = cached(version.unwrap_or_default(), extent).is_err() && go().is_err();
        return none.then(|| format!("neither Go nor {ASSETS} for a real control plane"));
    };
    if extent == Extent::Nodes && !Path::new(&dir).join("kubelet").is_file() {
        return Some(format!("{ASSETS} has no kubelet"));
    }
    let (minor, wanted) = (minor_given(Path::new(&dir)).ok()?, version?.minor());
    (minor != wanted).then(|| format!("{ASSETS} has Kubernetes 1.{minor}"))
}

/// The folder of the programs, which are built if need be. Needs the machine's network.
///
/// # Errors
/// When they are missing or of another version and cannot be built; the message says what to do.
pub fn prepare(version: Option<Kubernetes>, extent: Extent) -> Result<PathBuf> {
    find(version, extent).or_else(|error| match std::env::var_os(ASSETS) {
        Some(_) => Err(error),
        None => build(version.unwrap_or_default(), extent),
    })
}

/// The folder of the programs, if they are there.
pub(crate) fn find(version: Option<Kubernetes>, extent: Extent) -> Result<PathBuf> {
    match std::env::var_os(ASSETS) {
        Some(dir) => given(Path::new(&dir), version, extent),
        None => cached(version.unwrap_or_default(), extent),
    }
}

fn given(dir: &Path, version: Option<Kubernetes>, extent: Extent) -> Result<PathBuf> {
    ensure!(
        dir.is_dir(),
        "{ASSETS}={} is no folder: unset {ASSETS} to have all programs built by Go",
        dir.display()
    );
    for (program, _) in extent.programs() {
        ensure!(
            dir.join(program).is_file(),
            "{program} not found in {ASSETS}={}: put it there, or unset {ASSETS} to have all programs built by Go",
            dir.display()
        );
    }
    let minor = minor_given(dir)?;
    match version {
        Some(version) if version.minor() != minor => bail!(
            "{ASSETS} has Kubernetes 1.{minor}, 1.{} was asked for: unset {ASSETS}, or leave out --kubernetes",
            version.minor()
        ),
        _ if minor < OLDEST_MINOR => {
            bail!("{ASSETS} has Kubernetes 1.{minor}; the oldest served is 1.{OLDEST_MINOR}: unset {ASSETS}")
        }
        _ => Ok(dir.into()),
    }
}

/// The minor version of the API server that lies in `dir`.
fn minor_given(dir: &Path) -> Result<u32> {
    let output = Command::new(dir.join("kube-apiserver")).arg("--version").output();
    let output = output.with_context(|| format!("cannot start kube-apiserver of {ASSETS}={}", dir.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    minor_of(&text).with_context(|| format!("kube-apiserver of {ASSETS} says {text:?} for its version"))
}

/// `Kubernetes v1.36.3` → 36.
fn minor_of(text: &str) -> Option<u32> {
    let rest = text.trim().strip_prefix("Kubernetes v1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn cached(version: Kubernetes, extent: Extent) -> Result<PathBuf> {
    let dir = cache()?.join(version.release());
    let missing = missing(version, extent, &dir);
    ensure!(missing.is_empty(), "Kubernetes {} is not built yet", version.release());
    Ok(dir)
}

/// What is not in `dir` yet: everything, where it was built from another module.
fn missing(version: Kubernetes, extent: Extent, dir: &Path) -> Vec<(&'static str, &'static str)> {
    let same = fs::read_to_string(dir.join("go.mod")).is_ok_and(|text| text == version.module().0);
    let wanted = extent.programs();
    wanted.filter(|(name, _)| !same || !dir.join(name).is_file()).collect()
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => dir,
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    Ok(base.join("metallb-rs").join("envtest"))
}

fn build(version: Kubernetes, extent: Extent) -> Result<PathBuf> {
    go()?;
    let (cache, release) = (cache()?, version.release());
    fs::create_dir_all(&cache).with_context(|| format!("cannot use {}", cache.display()))?;
    // Of two builds at the same time, the second waits and finds the work done.
    let lock = File::create(cache.join(format!(".lock-{release}"))).context("cannot make a lock file")?;
    lock.lock().context("cannot take the build lock")?;
    let dir = cache.join(release);
    let missing = missing(version, extent, &dir);
    if missing.is_empty() {
        return Ok(dir);
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    eprintln!(
        "building {} of Kubernetes {release} into {}: once, up to ten minutes on two cores",
        names.join(", "),
        dir.display()
    );
    if missing.len() == extent.programs().count() {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("cannot replace an old build");
            }
            _ => fs::create_dir_all(&dir)?,
        }
    }
    let (go_mod, go_sum) = version.module();
    fs::write(dir.join("go.mod"), go_mod)?;
    fs::write(dir.join("go.sum"), go_sum)?;
    for (program, package) in missing {
        compile(version, &dir, program, package)?;
    }
    Ok(dir)
}

fn go() -> Result<()> {
    match Command::new("go").arg("version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("go does not work: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(_) => bail!(
            "no Go to build a real control plane with: install Go 1.26 or newer, or name a folder with etcd, \
             kube-apiserver and kube-controller-manager by {ASSETS}"
        ),
    }
}

fn compile(version: Kubernetes, work: &Path, program: &str, package: &str) -> Result<()> {
    let release = version.release();
    let stamps = [
        ("gitVersion", release.to_owned()),
        ("gitMajor", "1".into()),
        ("gitMinor", version.minor().to_string()),
        ("gitTreeState", "clean".into()),
    ];
    let stamps = stamps.map(|(name, value)| format!("-X {VERSION_PACKAGE}.{name}={value}"));
    let mut command = Command::new("go");
    // Named as what it is when it is complete.
    let unfinished = format!(".{program}");
    command
        .current_dir(work)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly")
        .args(["build", "-ldflags"])
        .arg(format!("-s -w {}", stamps.join(" ")))
        .args(["-o", &unfinished, package]);
    let status = command.status().context("cannot start go")?;
    ensure!(
        status.success(),
        "go could not build {program} of Kubernetes {release}; its messages are above"
    );
    fs::rename(work.join(unfinished), work.join(program)).with_context(|| format!("cannot keep {program}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(says: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (program, _) in PROGRAMS {
            let path = dir.path().join(program);
            fs::write(&path, format!("#!/bin/sh\necho {says}\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    #[test]
    fn every_module_names_the_release_it_is_for() {
        for version in Kubernetes::value_variants() {
            assert!(
                version
                    .release()
                    .chars()
                    .all(|c| c.is_ascii_digit() || "v.".contains(c)),
                "{version:?}"
            );
            assert_eq!(
                minor_of(&format!("Kubernetes {}", version.release())),
                Some(version.minor())
            );
        }
    }

    #[test]
    fn given_programs_of_another_version_are_refused() {
        let dir = folder("Kubernetes v1.28.15");
        assert!(given(dir.path(), None, Extent::ControlPlane).is_ok());
        assert!(given(dir.path(), Some(Kubernetes::V1_28), Extent::ControlPlane).is_ok());
        let error = given(dir.path(), Some(Kubernetes::V1_36), Extent::ControlPlane)
            .unwrap_err()
            .to_string();
        assert!(error.contains("has Kubernetes 1.28, 1.36 was asked for"), "{error}");
        let old = folder("Kubernetes v1.27.9");
        assert!(
            given(old.path(), None, Extent::ControlPlane)
                .unwrap_err()
                .to_string()
                .contains("the oldest served is 1.28")
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let dir = folder("Kubernetes v1.36.0");
        fs::remove_file(dir.path().join("kube-controller-manager")).unwrap();
        let error = given(dir.path(), None, Extent::ControlPlane).unwrap_err().to_string();
        assert!(error.starts_with("kube-controller-manager not found"), "{error}");
    }
}
