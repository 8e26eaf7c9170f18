//! FRR in network namespaces.

#![allow(dead_code, reason = "the tests of two crates share this")]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use metallb_test_runner::{frr, skip};
use tempfile::TempDir;

pub(crate) const DAEMONS: [&str; 4] = ["zebra", "staticd", "bgpd", "bfdd"];
const RELOAD: &str = "/usr/lib/frr/frr-reload.py";
/// How long anything may take before a test gives up; generous, as machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command; panics with its words if it fails.
pub(crate) fn run(command: &str) -> Output {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", words(&output));
    output
}

/// All that a command said.
pub(crate) fn words(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Waits until `ask` gives something.
pub(crate) fn eventually<T>(what: &str, ask: impl Fn() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(instead) if Instant::now() > end => panic!("no {what}, but: {instead}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A network namespace, joined to that of the test by `near` here and `far` there.
pub(crate) struct Space {
    holder: Child,
    enter: String,
}

impl Space {
    /// Makes the link.
    pub(crate) fn new() -> Self {
        let mut holder = mortal("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep infinity"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = holder.id();
        let space = Self {
            holder,
            enter: format!("nsenter --net=/proc/{pid}/ns/net"),
        };
        run(&format!("ip link add near type veth peer name far netns {pid}"));
        run("ip link set near up");
        space.run("ip link set lo up && ip link set far up");
        space
    }

    /// Runs a shell command over there.
    pub(crate) fn run(&self, command: &str) -> Output {
        run(&format!("{} sh -c '{command}'", self.enter))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// zebra, bgpd, bfdd and staticd, with sockets and files of their own.
pub(crate) struct Frr {
    children: BTreeMap<&'static str, Child>,
    folder: TempDir,
}

impl Frr {
    /// Starts them without a configuration; skips the test if FRR is not installed or does not run here.
    pub(crate) fn start(space: Option<&Space>) -> Self {
        let mut frr = Self::absent();
        frr.begin(space);
        frr
    }

    /// Has a folder for them and starts none yet; skips the test if FRR is not installed.
    pub(crate) fn absent() -> Self {
        if !frr::has("bgpd") || !Path::new(RELOAD).exists() {
            skip("FRR with its frr-reload.py is not installed");
        }
        let frr = Self {
            children: BTreeMap::new(),
            folder: TempDir::new().unwrap(),
        };
        run(&format!("chmod 777 {}", frr.path("").display()));
        fs::write(frr.path("vtysh.conf"), "service integrated-vtysh-config\n").unwrap();
        frr
    }

    /// Starts all of them; skips the test if they do not run here.
    pub(crate) fn begin(&mut self, space: Option<&Space>) {
        // FRR 10 gives staticd its configuration through it.
        if frr::is_ten() {
            self.daemon(space, "mgmtd");
        }
        for daemon in DAEMONS {
            self.daemon(space, daemon);
        }
    }

    /// Kills all of them.
    pub(crate) fn end(&mut self) {
        for mut child in std::mem::take(&mut self.children).into_values() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process of a daemon.
    pub(crate) fn pid(&self, daemon: &str) -> u32 {
        self.children[daemon].id()
    }

    fn daemon(&mut self, space: Option<&Space>, daemon: &'static str) {
        let mut command = frr::command(daemon, &self.path(""), None);
        if daemon == "bgpd" {
            command.extend(["-p", if space.is_some() { "179" } else { "0" }].map(str::to_owned));
        }
        let enter = space.map(|space| space.enter.clone()).unwrap_or_default();
        // Who was killed has left it.
        let _ = fs::remove_file(self.path(&format!("{daemon}.vty")));
        let child = mortal("sh")
            .args(["-c", &format!("exec {enter} \"$@\""), "sh"])
            .args(&command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.insert(daemon, child);
        let child = self.children.get_mut(daemon).unwrap();
        let socket = self.folder.path().join(format!("{daemon}.vty"));
        let end = Instant::now() + PATIENCE;
        while !socket.exists() {
            // It insists on groups that an unprivileged user namespace does not have.
            if child.try_wait().unwrap().is_some() {
                skip(format!("{daemon} does not run here"));
            }
            assert!(Instant::now() < end, "{daemon} does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills a daemon and starts it without a configuration.
    pub(crate) fn restart(&mut self, daemon: &'static str) {
        let mut child = self.children.remove(daemon).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.daemon(None, daemon);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn vtysh(&self, command: &str) -> String {
        self.shell()(command)
    }

    /// Asks as [`Frr::vtysh`] does, from another thread, too.
    pub(crate) fn shell(&self) -> impl Fn(&str) -> String + Send + 'static {
        let folder = self.path("");
        move |command| {
            let mut vtysh = Command::new("vtysh");
            vtysh.arg("--vty_socket").arg(&folder).args(["-c", command]);
            words(&vtysh.output().unwrap())
        }
    }

    /// Waits until the answer has all of these texts.
    pub(crate) fn shows(&self, command: &str, wanted: &[&str]) {
        eventually(&format!("{wanted:?} in {command}"), || {
            let answer = self.vtysh(command);
            let complete = wanted.iter().all(|text| answer.contains(text));
            complete.then_some(()).ok_or(answer)
        });
    }

    /// Calls frr-reload.py on this text.
    pub(crate) fn reload(&self, text: &str, what: &str) -> Output {
        let file = self.path("new.conf");
        fs::write(&file, text).unwrap();
        let folder = self.path("");
        Command::new(RELOAD)
            .args([what, "--stdout", "--vty_socket"])
            .arg(&folder)
            .arg("--confdir")
            .arg(&folder)
            .arg("--rundir")
            .arg(&folder)
            .arg(file)
            .output()
            .unwrap()
    }

    /// Makes it run this text.
    pub(crate) fn apply(&self, text: &str) {
        let output = self.reload(text, "--reload");
        assert!(output.status.success(), "{}", words(&output));
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command that is killed when the test dies; what is called in between does not fork, so the process id stays.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}
