//! Test bodies in a network namespace of their own, and a neighbour in another one.

use std::{
    env,
    io::{self, Write},
    process::{Child, Command, Output, Stdio},
};

/// Set in the child process, which runs the test's body.
const INSIDE: &str = "METALLB_TEST_IN_NAMESPACE";
/// How lines about tests that could not run begin.
const SKIPPED: &str = "skipped";

/// Runs `body` in a child process that has a network namespace of its own.
pub(crate) fn in_namespace(test: &str, body: impl Future<Output = ()>) {
    if env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(body);
    }
    let Some(unshare) = way_in() else {
        return skip(
            test,
            "neither root nor a user namespace gives a network namespace with veth",
        );
    };
    let child = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    assert!(child.status.success(), "{out}{err}");
    err.lines().filter(|line| line.starts_with(SKIPPED)).for_each(say);
}

/// The first way to get a namespace that works here.
fn way_in() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [
        &["unshare", "--net"],
        &["unshare", "--user", "--map-root-user", "--net"],
    ];
    let probe = ["ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"];
    ways.into_iter().find(|way| {
        let tried = Command::new(way[0]).args(&way[1..]).args(probe).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// Says that and why a test was not run.
pub(crate) fn skip(test: &str, reason: &str) {
    say(&format!("{SKIPPED} {test}: {reason}"));
}

/// Not by a macro, because the test harness swallows what those print in a test that passes.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
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

/// Is a network namespace joined to ours by a veth pair: `node0` here, `peer0` there.
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
    pub(crate) fn start(&mut self, program: &str, args: &[&str]) -> u32 {
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
