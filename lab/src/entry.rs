//! The processes a lab is made of, and how one executable plays them all.
//!
//! ```text
//! you ── launch()      outer: keeps the work directory, waits, removes it
//!         └─ unshare   enters new user, mount, pid, network, uts and ipc namespaces
//!             └─ init  process 1 of the lab: mounts /proc, reaps orphans
//!                 └─ inside  the lab itself; its pods, router and clients are its children
//! ```
//! Every arrow carries a parent-death signal, and the death of process 1 makes the kernel kill whatever
//! lives in its pid namespace: nothing outlives a Ctrl-C, a panic or a SIGKILL anywhere in the chain.
//! Namespaces are entered by re-execution instead of between `fork` and `exec`, which would need `unsafe`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getgid, getppid, getuid, sethostname};

use crate::{backend, products, sandbox};

const UNSHARE: &str = "__unshare";
const INIT: &str = "__init";
const INSIDE: &str = "__inside";
/// Runs a command in a network namespace and a private root: see [`sandbox`].
pub(crate) const EXEC: &str = "__exec";
/// Runs the tiny HTTP server of `lab.local/backend`.
pub const BACKEND: &str = "__backend";

/// Names the file of the work directory that holds the host's pid of the lab's process 1.
pub(crate) const INIT_PID: &str = "init.pid";

/// What this process was started as.
#[derive(Debug)]
pub enum Role {
    /// By a person or a test runner.
    Outer,
    /// By [`launch`], inside the lab's namespaces.
    Inside(Inside),
    /// As a program of the product, which has ended.
    Ended(ExitCode),
}

/// What the outer process handed to the lab.
#[derive(Debug)]
pub struct Inside {
    /// The work directory.
    pub dir: PathBuf,
    /// The listener that [`Launch::listener`] opened outside.
    pub listener: TcpListener,
    /// What to do there: [`Launch::args`].
    pub args: Vec<String>,
}

/// What to run inside new namespaces.
#[derive(Debug)]
pub struct Launch {
    /// The work directory; the caller owns and removes it.
    pub dir: PathBuf,
    /// A socket that listens in the caller's network, for the API server.
    pub listener: TcpListener,
    /// Handed to [`Inside::args`].
    pub args: Vec<String>,
}

/// Plays the part this process was re-executed for, or says that it is to play the main one.
///
/// Must be the first thing in `main`: a process with more than one thread cannot enter a user namespace.
///
/// # Errors
/// When the part cannot be played; the message is one sentence for the user.
pub fn entry() -> Result<Role> {
    entry_then(|_| ())
}

/// The same; `clear` gets the work directory of a lab that has ended after its outer process, which would have cleared up.
///
/// # Errors
/// When the part cannot be played; the message is one sentence for the user.
pub fn entry_then(clear: fn(&Path)) -> Result<Role> {
    let mut args = std::env::args_os();
    let called = args.next().unwrap_or_default();
    let stage = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    // A supervising stage blocks signals to wait for them, and its children would inherit that.
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    match stage.to_str() {
        Some(UNSHARE) => std::process::exit(enter_namespaces(&rest, clear)?),
        Some(INIT) => std::process::exit(init(&rest)?),
        Some(EXEC) => Err(sandbox::exec(&rest)),
        Some(BACKEND) => backend::run(&rest).map(|()| std::process::exit(0)),
        Some(INSIDE) => inside(&rest).map(Role::Inside),
        _ => Ok(products::called(&called).map_or(Role::Outer, Role::Ended)),
    }
}

/// Runs `launch.args` in new namespaces and waits for the end. Interrupts are passed on, so that the lab
/// ends in order.
///
/// # Errors
/// When the first process cannot be started; later failures are in the exit code.
pub fn launch(launch: Launch) -> Result<ExitCode> {
    let mut args = vec![launch.dir.into_os_string()];
    args.extend(launch.args.into_iter().map(OsString::from));
    let signals = block_signals()?;
    let child = stage(UNSHARE, &args)
        .stdin(OwnedFd::from(launch.listener))
        .spawn()
        .context("cannot start a process")?;
    let code = supervise(child, &signals)?;
    if code > 128 {
        eprintln!(
            "metallb-lab: the lab was killed by signal {}; nothing of it is left",
            code - 128
        );
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The command that plays the part `name` of this executable.
#[must_use]
pub fn stage(name: &str, args: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("metallb-lab").arg(name).args(args);
    command
}

fn enter_namespaces(args: &[OsString], clear: fn(&Path)) -> Result<i32> {
    // The outer process would remove the work directory: without it, this one ends the lab in order and does.
    let outer = getppid();
    set_pdeathsig(Signal::SIGTERM)?;
    let (uid, gid) = (getuid(), getgid());
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|errno| refused(errno, uid.is_root()))?;
    if !uid.is_root() {
        fs::write("/proc/self/setgroups", "deny").context("cannot give up supplementary groups")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("cannot map the user id")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("cannot map the group id")?;
    }
    let signals = block_signals()?;
    let child = stage(INIT, args)
        .stdin(Stdio::inherit())
        .spawn()
        .context("cannot start process 1 of the lab")?;
    if let Some(dir) = args.first() {
        fs::write(PathBuf::from(dir).join(INIT_PID), child.id().to_string())?;
    }
    let code = supervise(child, &signals)?;
    if let Some(dir) = args.first().filter(|_| getppid() != outer) {
        clear(Path::new(dir));
        let _ = fs::remove_dir_all(dir);
    }
    Ok(code)
}

fn refused(errno: Errno, root: bool) -> anyhow::Error {
    let mend = match (errno, root) {
        (Errno::EPERM, true) => {
            "this root lacks CAP_SYS_ADMIN: run outside the container, or with --privileged, or as an ordinary user"
        }
        (Errno::EPERM, false) => {
            "unprivileged user namespaces are switched off: run as root, or \
             `sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        (Errno::ENOSPC, _) => "the limit of namespaces is reached: raise the sysctls user.max_*_namespaces",
        (Errno::EINVAL, _) => "this kernel is built without one of the namespaces user, mount, pid, net, uts, ipc",
        _ => "the kernel refused",
    };
    anyhow::anyhow!("cannot create namespaces ({errno}): {mend}")
}

/// Process 1: nothing but mounts and reaping, so that the lab itself may use ordinary child handling.
fn init(args: &[OsString]) -> Result<i32> {
    set_pdeathsig(Signal::SIGKILL)?;
    mount_filesystems()?;
    products::pin(Path::new(args.first().context("started without a work directory")?))?;
    sethostname("lab").context("cannot set the host name")?;
    let signals = block_signals()?;
    let child = stage(INSIDE, args)
        .stdin(Stdio::inherit())
        .spawn()
        .context("cannot start the lab")?;
    let lab = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        pass_on(lab, signals.wait()?);
        while let Some((pid, code)) = reap()? {
            if pid == lab {
                return Ok(code);
            }
        }
    }
}

fn mount_filesystems() -> Result<()> {
    let none: Option<&OsStr> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|errno| {
        anyhow::anyhow!(
            "cannot make the mounts private ({errno}): user namespaces have no capabilities here; run as root, or \
             `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    })?;
    // Containers mask parts of /proc, and then the kernel refuses a fresh one to a user namespace. The one
    // of the host works too: it only shows more processes.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, none);
    Ok(())
}

fn inside(args: &[OsString]) -> Result<Inside> {
    set_pdeathsig(Signal::SIGKILL)?;
    let Some((dir, args)) = args.split_first() else {
        bail!("{INSIDE} is started by the lab alone")
    };
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map(TcpListener::from)?;
    Ok(Inside {
        dir: dir.into(),
        listener,
        args: args.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
    })
}

/// Runs `command` in the namespaces of the lab whose process 1 is `init`, and in the network `netns`.
///
/// # Errors
/// When the lab or the place is not there, or may not be entered.
pub(crate) fn enter(init: &str, netns: &Path, command: &[OsString]) -> Result<ExitCode> {
    let place = Path::new("/proc").join(init);
    let net = fs::File::open(inside_of(&place.join("root"), netns)).context("there is no such place in the lab")?;
    let own = fs::metadata("/proc/self/ns/user").map(|meta| meta.ino()).ok();
    let mut names = vec![("mnt", CloneFlags::CLONE_NEWNS), ("pid", CloneFlags::CLONE_NEWPID)];
    if fs::metadata(place.join("ns/user")).map(|meta| meta.ino()).ok() != own {
        names.insert(0, ("user", CloneFlags::CLONE_NEWUSER));
    }
    let files: std::io::Result<Vec<_>> = names
        .into_iter()
        .map(|(name, flag)| Ok((fs::File::open(place.join("ns").join(name))?, flag)))
        .collect();
    for (file, flag) in files.context("the lab has just ended")? {
        setns(file, flag).context("cannot enter the lab: only its user can")?;
    }
    setns(net, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
    let (program, args) = command.split_first().context("no command")?;
    let status = Command::new(program).args(args).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(ExitCode::from(u8::try_from(exit_code(status)).unwrap_or(1)))
}

fn inside_of(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn block_signals() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGCHLD,
    ] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    Ok(signals)
}

/// Waits for `child`, passing on the signals that ask for an end.
fn supervise(mut child: Child, signals: &SigSet) -> Result<i32> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(exit_code(status));
        }
        pass_on(pid, signals.wait()?);
    }
}

/// A terminal sends Ctrl-C to the whole process group: the extra copies that arrive this way do no harm,
/// because the lab begins its end once.
fn pass_on(child: Pid, signal: Signal) {
    if signal != Signal::SIGCHLD {
        let _ = kill(child, Signal::SIGTERM);
    }
}

fn reap() -> Result<Option<(Pid, i32)>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Ok(Some((pid, code))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Ok(Some((pid, 128 + signal as i32))),
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(other) => Ok(other.pid().map(|pid| (pid, 0)).filter(|_| false)),
        Err(errno) => bail!("cannot wait for children: {errno}"),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}
