//! What stands between a pod's process and the lab: its network namespace, its own root with nothing but
//! its volumes and read-only system folders, and the capabilities its security context asks for.
//!
//! The agent starts `/proc/self/exe __exec <json>`, which does all that and then becomes the command.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, chdir, pivot_root, setgroups, sethostname, setresgid, setresuid, setsid};
use serde::{Deserialize, Serialize};

/// One process to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Where the network namespace is pinned; the caller's own when `None`.
    pub netns: Option<PathBuf>,
    /// The host name it sees.
    pub hostname: Option<String>,
    /// Its root; the caller's when `None`.
    pub root: Option<Root>,
    /// Who it runs as; unchanged when `None`.
    pub user: Option<User>,
    /// The only capabilities it keeps; all when `None`.
    pub capabilities: Option<Vec<String>>,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// User, group and supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A root file system: the machine's system folders, read-only, and what is listed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Root {
    /// An empty folder to build it on.
    pub dir: PathBuf,
    /// What is mounted where, in this order.
    pub binds: Vec<Bind>,
    /// Whether the process may write beside its volumes.
    pub writable: bool,
}

/// One file or folder shown inside a root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// The path outside.
    pub from: PathBuf,
    /// The absolute path inside.
    pub to: PathBuf,
    /// Whether it is protected from writes.
    pub read_only: bool,
}

/// System folders that dynamic programs need; those that are links are made again as links.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];
/// Folders and files of `/etc` that programs read; the rest (keys, shadow) stays hidden.
const ETC: [&str; 11] = [
    "alternatives",
    "ca-certificates",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "passwd",
    "protocols",
    "ssl",
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Becomes the process that `args` (one JSON [`Spec`]) describe; returns only the reason why not.
pub(crate) fn exec(args: &[OsString]) -> anyhow::Error {
    let spec = args
        .first()
        .and_then(|json| serde_json::from_slice::<Spec>(json.as_encoded_bytes()).ok());
    let Some(spec) = spec else {
        return anyhow!("__exec is started by the lab alone");
    };
    let command = format!("{:?}", spec.command.first());
    match become_it(&spec) {
        Ok(never) => match never {},
        Err(error) => error.context(format!("cannot start {command}")),
    }
}

fn become_it(spec: &Spec) -> Result<Infallible> {
    // An own session: the Ctrl-C of the terminal is for the lab, which stops its pods in order.
    let _ = setsid();
    // The namespace's path is in the lab's root: enter it before leaving that.
    if let Some(netns) = &spec.netns {
        let file = File::open(netns).with_context(|| format!("cannot open {}", netns.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).context("cannot have own mounts")?;
    if let Some(name) = &spec.hostname {
        sethostname(name).context("cannot set the host name")?;
    }
    if let Some(root) = &spec.root {
        enter_root(root).context("cannot build the root file system")?;
    }
    drop_privileges(spec)?;
    let (program, args) = spec.command.split_first().context("no command")?;
    Err(Command::new(program).args(args).exec().into())
}

fn drop_privileges(spec: &Spec) -> Result<()> {
    if let Some(kept) = &spec.capabilities {
        crate::capabilities::keep(kept)?;
    }
    if let Some(user) = &spec.user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).context("cannot set groups")?;
        setresgid(gid, gid, gid).context("cannot change the group")?;
        setresuid(uid, uid, uid).context("cannot change the user")?;
    }
    if spec.capabilities.is_some() {
        set_no_new_privs()?;
    }
    Ok(())
}

fn enter_root(root: &Root) -> Result<()> {
    let dir = &root.dir;
    mount(
        Some("tmpfs"),
        dir,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755,size=16m"),
    )?;
    for path in SYSTEM.map(Path::new) {
        show_system(path, &inside(dir, path))?;
    }
    for name in ETC {
        let path = Path::new("/etc").join(name);
        if path.exists() {
            bind(
                &Bind {
                    from: path.clone(),
                    to: path,
                    read_only: true,
                },
                dir,
            )?;
        }
    }
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        bind(
            &Bind {
                from: path.clone(),
                to: path,
                read_only: false,
            },
            dir,
        )?;
    }
    bind(
        &Bind {
            from: "/proc".into(),
            to: "/proc".into(),
            read_only: false,
        },
        dir,
    )?;
    show_sysfs(dir)?;
    fs::create_dir_all(dir.join("tmp"))?;
    fs::create_dir_all(dir.join("var/tmp"))?;
    for one in &root.binds {
        bind(one, dir).with_context(|| format!("cannot show {} at {}", one.from.display(), one.to.display()))?;
    }
    swap_root(dir, root.writable)
}

fn swap_root(dir: &Path, writable: bool) -> Result<()> {
    if !writable {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, dir, None::<&str>, flags, None::<&str>)?;
    }
    chdir(dir)?;
    // pivot_root(2): with both arguments ".", the old root lies on the new one and is taken off.
    pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}

fn show_system(path: &Path, to: &Path) -> Result<()> {
    match fs::read_link(path) {
        Ok(target) => Ok(symlink(target, to)?),
        Err(_) if path.is_dir() => {
            fs::create_dir_all(to)?;
            mount_bind(path, to, true)
        }
        Err(_) => Ok(()),
    }
}

/// A sysfs of this network namespace; refused in some containers, and missed by few.
fn show_sysfs(dir: &Path) -> Result<()> {
    let sys = dir.join("sys");
    fs::create_dir_all(&sys)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("sysfs"), &sys, Some("sysfs"), flags, None::<&str>);
    Ok(())
}

fn bind(one: &Bind, root: &Path) -> Result<()> {
    let to = inside(root, &one.to);
    if one.from.is_dir() {
        fs::create_dir_all(&to)?;
    } else {
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        File::create(&to)?;
    }
    mount_bind(&one.from, &to, one.read_only)
}

fn mount_bind(from: &Path, to: &Path, read_only: bool) -> Result<()> {
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    if !read_only {
        return Ok(());
    }
    // A user namespace may not clear the flags a mount was born with: repeat them.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | inherited(to)?;
    match mount(None::<&str>, to, None::<&str>, flags, None::<&str>) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn inherited(path: &Path) -> Result<MsFlags> {
    let born = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(pairs
        .into_iter()
        .filter(|(has, _)| born.contains(*has))
        .map(|(_, flag)| flag)
        .collect())
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
