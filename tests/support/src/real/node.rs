//! The first processes of a node: one enters its namespaces, the other is process 1 there and starts its programs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};

use metallb_lab::stage;

use super::{NodeSpec, groups, settings};
use crate::stages::NODE_INIT;

/// How long containerd may take to listen.
const CONTAINERD_WITHIN: Duration = Duration::from_secs(60);
/// Folders with fixed names, and the node's own in their place.
const FOLDERS: [(&str, &str); 3] = [("lib", "/var/lib"), ("log", "/var/log"), ("run", "/run")];

fn spec(args: &[OsString]) -> Result<NodeSpec> {
    let json = args.first().context("started by the lab alone")?;
    serde_json::from_slice(json.as_encoded_bytes()).context("started by the lab alone")
}

/// Enters the namespaces of the node that `args` describe, and waits for its process 1.
pub(crate) fn enter(args: &[OsString]) -> Result<i32> {
    set_pdeathsig(Signal::SIGKILL)?;
    let node = spec(args)?;
    let netns = File::open(&node.netns).with_context(|| format!("cannot open {}", node.netns.display()))?;
    setns(netns, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .context("cannot create the node's namespaces")?;
    let status = stage(NODE_INIT, args).stdin(Stdio::null()).status();
    Ok(status
        .context("cannot start process 1 of the node")?
        .code()
        .unwrap_or(1))
}

/// Process 1 of a node: lives until one of the node's programs ends, or it is killed.
pub(crate) fn init(args: &[OsString]) -> Result<i32> {
    set_pdeathsig(Signal::SIGKILL)?;
    let node = spec(args)?;
    sethostname(&node.name).context("cannot set the host name")?;
    furnish(&node).context("cannot prepare the node's folders")?;
    let containerd_toml = node.dir.join("containerd.toml");
    let config = containerd_toml.display().to_string();
    let mut programs = vec![start(
        &node,
        "containerd",
        Path::new("containerd"),
        &["--config".into(), config],
    )?];
    await_socket(Path::new("/run/containerd/containerd.sock"))?;
    let kubelet = node.programs.join("kubelet");
    programs.push(start(&node, "kubelet", &kubelet, &settings::kubelet_flags(&node))?);
    let proxy = node.programs.join("kube-proxy");
    programs.push(start(&node, "kube-proxy", &proxy, &settings::proxy_flags(&node))?);
    loop {
        let (pid, how) = match waitpid(None, None).context("cannot wait for the node's programs")? {
            WaitStatus::Exited(pid, code) => (pid, format!("exit code {code}")),
            WaitStatus::Signaled(pid, signal, _) => (pid, signal.to_string()),
            _ => continue,
        };
        if let Some((_, name)) = programs.iter().find(|(own, _)| *own == pid) {
            bail!("{name} of {} ended: {how}", node.name);
        }
    }
}

fn start(node: &NodeSpec, name: &'static str, program: &Path, args: &[String]) -> Result<(Pid, &'static str)> {
    let log = File::create(node.dir.join(format!("{name}.log")))?;
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // Reaped by process 1, with all orphans of the node.
    Ok((Pid::from_raw(i32::try_from(child.id())?), name))
}

fn await_socket(path: &Path) -> Result<()> {
    let began = Instant::now();
    while UnixStream::connect(path).is_err() {
        if began.elapsed() > CONTAINERD_WITHIN {
            bail!("containerd does not listen");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Gives the node folders, settings and control groups of its own, and writes what its programs read.
fn furnish(node: &NodeSpec) -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).context("cannot mount /proc")?;
    groups::make(&node.group).context("cannot make control groups")?;
    own_sysfs(node).context("cannot mount /sys")?;
    let cni = settings::cni_folder().context("the CNI plugins are not installed")?;
    fs::create_dir_all(node.dir.join("cni"))?;
    fs::write(node.dir.join("cni/10-bridge.conflist"), settings::cni(node))?;
    fs::write(node.dir.join("containerd.toml"), settings::containerd(node, cni))?;
    fs::write(node.dir.join("kubelet.yaml"), settings::kubelet(node))?;
    for (setting, value) in settings::KERNEL {
        let file = node.dir.join(setting.replace('/', "."));
        fs::write(&file, value)?;
        bind(&file, &Path::new("/proc/sys").join(setting)).with_context(|| format!("cannot hide {setting}"))?;
    }
    for (own, at) in FOLDERS {
        let own = node.dir.join(own);
        fs::create_dir_all(&own)?;
        bind(&own, Path::new(at)).with_context(|| format!("cannot replace {at}"))?;
    }
    // Volumes that a kubelet mounts must be seen by containers.
    mount(none, "/var/lib", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)?;
    Ok(())
}

/// A sysfs shows the interfaces of the namespace it is mounted in; the machine's control groups stay.
fn own_sysfs(node: &NodeSpec) -> Result<()> {
    let none: Option<&str> = None;
    let kept = node.dir.join("cgroup");
    fs::create_dir_all(&kept)?;
    bind(Path::new("/sys/fs/cgroup"), &kept)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)?;
    bind(&kept, Path::new("/sys/fs/cgroup"))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none: Option<&str> = None;
    Ok(mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?)
}
