//! A neighbour in another network namespace.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    process::{Child, Command, Output, Stdio},
};

/// Runs `body` in a child process that has a network namespace of its own, with a loopback that works.
pub(crate) fn in_namespace(body: impl Future<Output = ()>) {
    metallb_test_runner::in_namespace(async {
        run("ip link set lo up");
        body.await;
    });
}

/// Runs a command in our namespace.
pub(crate) fn run(command: &str) -> Output {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Takes all file descriptors that are left to this process, which must be one of its own (see [`in_namespace`]).
pub(crate) fn take_descriptors() -> Vec<File> {
    run("prlimit --nofile=256 --pid $PPID");
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// A network namespace joined to ours by a veth pair: `node0` here, `peer0` there.
pub(crate) struct Neighbour {
    /// Whatever is started here dies with the test, however that ends.
    children: Vec<Child>,
    enter: [String; 2],
}

impl Neighbour {
    /// Makes the link, with these addresses.
    pub(crate) fn new(ours: &[&str], theirs: &[&str]) -> Self {
        // Whoever holds the namespace says so before the link is moved there.
        let mut holder = mortal("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep infinity"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = holder.id();
        let enter = ["nsenter".to_owned(), format!("--net=/proc/{pid}/ns/net")];
        let neighbour = Self {
            children: vec![holder],
            enter,
        };
        run(&format!("ip link add node0 type veth peer name peer0 netns {pid}"));
        for address in ours {
            run(&format!("ip addr add {address} dev node0 {}", no_detection(address)));
        }
        for address in theirs {
            neighbour.run(&format!("ip addr add {address} dev peer0 {}", no_detection(address)));
        }
        run("ip link set node0 up");
        neighbour.run("ip link set lo up");
        neighbour.run("ip link set peer0 up");
        neighbour
    }

    /// Runs a command over there.
    pub(crate) fn run(&self, command: &str) -> Output {
        run(&format!("{} {command}", self.enter.join(" ")))
    }

    /// Tells whether a daemon has exited.
    pub(crate) fn has_ended(&mut self, pid: u32) -> bool {
        let daemon = self.children.iter_mut().find(|child| child.id() == pid);
        daemon.is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Starts a daemon over there; returns its process id.
    pub(crate) fn start(&mut self, program: &str, args: &[impl AsRef<OsStr>]) -> u32 {
        let [enter, namespace] = &self.enter;
        let daemon = mortal(enter)
            .arg(namespace)
            .arg(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = daemon.id();
        self.children.push(daemon);
        pid
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A command that is killed when the test dies; neither `unshare` nor `nsenter` forks, so the process id stays.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Lets an IPv6 address be used at once.
fn no_detection(address: &str) -> &'static str {
    if address.contains(':') { "nodad" } else { "" }
}
