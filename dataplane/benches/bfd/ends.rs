//! Sessions between two ends, each ours or FRR's, in two network namespaces.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, BufRead},
    net::IpAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use metallb_dataplane::bfd::{self, BfdHandle, Hops, SessionConfig, SessionKey, State};
use metallb_test_runner::frr;
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    Who,
    neighbour::{Neighbour, run as shell},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How fast a session is.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    /// In milliseconds.
    pub(crate) interval: u64,
    pub(crate) multiplier: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.interval, self.multiplier)
    }
}

impl Rate {
    pub(crate) fn config(self) -> SessionConfig {
        SessionConfig {
            transmit_interval: Duration::from_millis(self.interval),
            receive_interval: Duration::from_millis(self.interval),
            multiplier: u8::try_from(self.multiplier).unwrap(),
            ..SessionConfig::default()
        }
    }
}

/// What a line says of itself; counts since it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Ends of sessions that are up.
    up: u64,
    /// How often one of them was not any more.
    downs: u64,
    /// Control packets that were sent, of both ends.
    sent: u64,
    /// Processor time of either end.
    cpu: [Duration; 2],
}

impl Figures {
    pub(crate) fn parse(text: &str) -> Self {
        let numbers: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        Self {
            up: numbers[0],
            downs: numbers[1],
            sent: numbers[2],
            cpu: [numbers[3], numbers[4]].map(Duration::from_nanos),
        }
    }

    fn print(&self) {
        let [one, two] = self.cpu.map(|time| time.as_nanos());
        println!("{} {} {} {one} {two}", self.up, self.downs, self.sent);
    }

    fn add(&mut self, other: &Self) {
        self.up += other.up;
        self.downs += other.downs;
        self.sent += other.sent;
    }

    /// A line for people.
    pub(crate) fn since(&self, before: &Self, elapsed: Duration) -> String {
        let percent = [0, 1].map(|end| (self.cpu[end] - before.cpu[end]).as_secs_f64() / elapsed.as_secs_f64() * 100.0);
        let sent = self.sent - before.sent;
        let total = self.cpu.iter().sum::<Duration>() - before.cpu.iter().sum::<Duration>();
        // Each end receives what the other one sends.
        let packet = total.as_nanos() / u128::from(sent.max(1));
        format!(
            "{} ends up, {} downs, {sent} packets, processor {:.1} % and {:.1} %, {packet} ns a packet sent and received",
            self.up,
            self.downs - before.downs,
            percent[0],
            percent[1]
        )
    }
}

enum End {
    /// With the name of its thread's folder in /proc.
    Ours(BfdHandle, String),
    Bfdd(Bfdd),
}

impl End {
    fn figures(&self) -> Figures {
        match self {
            Self::Ours(handle, _) => {
                let table = handle.sessions();
                let table = table.borrow();
                let up = table.values().filter(|session| session.status.state == State::Up);
                Figures {
                    up: up.count() as u64,
                    downs: table.values().map(|session| session.counters.downs()).sum(),
                    sent: table.values().map(|session| session.counters.control_output()).sum(),
                    ..Figures::default()
                }
            }
            Self::Bfdd(bfdd) => bfdd.figures(),
        }
    }

    fn cpu(&self) -> Duration {
        match self {
            Self::Ours(_, task) => spent(Path::new(task)),
            Self::Bfdd(bfdd) => {
                let tasks = fs::read_dir(format!("/proc/{}/task", bfdd.pid)).unwrap();
                tasks.map(|task| spent(&task.unwrap().path())).sum()
            }
        }
    }
}

/// Processor time of a thread.
fn spent(task: &Path) -> Duration {
    let stat = fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The addresses of a session.
fn addresses(n: usize) -> [IpAddr; 2] {
    [0, 100].map(|end| format!("10.0.{}.{}", end + n / 200, 1 + n % 200).parse().unwrap())
}

/// The sessions as the first end has them, or the second: its own address and the other one's.
fn keys(count: usize, first: bool) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    (0..count)
        .map(addresses)
        .map(move |[one, two]| if first { (one, two) } else { (two, one) })
}

/// Joins two namespaces. Neighbours are permanent, as the kernel keeps no more than 1024 others.
fn join(count: usize) -> Neighbour {
    shell("ip link set lo up");
    let neighbour = Neighbour::new(&[], &[]);
    let folder = TempDir::new().unwrap();
    let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    for (end, device) in ["node0", "peer0"].into_iter().enumerate() {
        let commands = (0..count).map(|n| {
            let (own, other) = (addresses(n)[end], addresses(n)[1 - end]);
            let mac = macs[1 - end];
            format!("addr add {own}/16 dev {device}\nneigh add {other} lladdr {mac} dev {device} nud permanent\n")
        });
        let file = folder.path().join(device);
        let first = format!("link set {device} address {}\n", macs[end]);
        fs::write(&file, first + &commands.collect::<String>()).unwrap();
        let command = format!("ip -batch {}", file.display());
        if end == 0 {
            shell(&command)
        } else {
            neighbour.run(&command)
        };
    }
    neighbour
}

/// Makes the namespaces and the sessions, says that it is ready, and then its figures whenever it is asked.
pub(crate) async fn run(who: Who, count: usize, rate: Rate) {
    let mut neighbour = join(count);
    let [first, second] = match who {
        Who::Ours | Who::Unprivileged => [true; 2],
        Who::Mixed => [true, false],
        Who::Bfdd => [false; 2],
    };
    let end = |ours, neighbour: Option<&mut Neighbour>, first| match ours {
        true => start_ours(neighbour, keys(count, first), rate),
        false => End::Bfdd(Bfdd::start(neighbour, keys(count, first), rate)),
    };
    let ends = [end(first, None, true), end(second, Some(&mut neighbour), false)];
    let begun = Instant::now();
    // Rarely: to answer costs bfdd more than its sessions do.
    while ends.iter().any(|end| end.figures().up < count as u64) && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    // The fast rates are agreed on, too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("ready");
    for line in io::stdin().lock().lines() {
        line.unwrap();
        let mut figures = Figures::default();
        ends.iter().for_each(|end| figures.add(&end.figures()));
        figures.cpu = ends.each_ref().map(End::cpu);
        figures.print();
    }
}

fn start_ours(neighbour: Option<&mut Neighbour>, keys: impl Iterator<Item = (IpAddr, IpAddr)>, rate: Rate) -> End {
    let (handle, task) = start_in(neighbour);
    let session = |(local, peer)| {
        let key = SessionKey {
            local: Some(local),
            ..SessionKey::new(peer, Hops::Single)
        };
        (key, rate.config())
    };
    handle.set_sessions(keys.map(session).collect::<BTreeMap<_, _>>());
    End::Ours(handle, task)
}

/// Starts our shell, here or in the namespace of the neighbour; returns the folder of its thread in /proc, too.
pub(crate) fn start_in(neighbour: Option<&mut Neighbour>) -> (BfdHandle, String) {
    let before = bfd_threads();
    let namespace = neighbour.map(namespace);
    let born = std::thread::spawn(move || {
        if let Some(namespace) = namespace {
            setns(fs::File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        }
        bfd::start(CancellationToken::new()).unwrap()
    });
    let (handle, work) = born.join().unwrap();
    tokio::spawn(work);
    let begun = Instant::now();
    let task = loop {
        let new = bfd_threads().into_iter().find(|task| !before.contains(task));
        match new {
            Some(task) => break task,
            None => assert!(begun.elapsed() < PATIENCE),
        }
    };
    (handle, task)
}

/// The file that stands for the namespace of a neighbour.
fn namespace(neighbour: &mut Neighbour) -> String {
    let resident = neighbour.start("sleep", &["infinity"]);
    let there = neighbour.run("readlink /proc/self/ns/net").stdout;
    let namespace = format!("/proc/{resident}/ns/net");
    let begun = Instant::now();
    while shell(&format!("readlink {namespace}")).stdout != there {
        assert!(begun.elapsed() < PATIENCE);
    }
    namespace
}

fn bfd_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    let ours = paths.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "bfd"));
    ours.map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// FRR's zebra and bfdd, here or in the namespace of the neighbour.
pub(crate) struct Bfdd {
    folder: TempDir,
    /// Of bfdd.
    pid: u32,
    /// Die with it.
    _here: Vec<Mortal>,
}

struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bfdd {
    pub(crate) fn start(
        mut neighbour: Option<&mut Neighbour>,
        keys: impl Iterator<Item = (IpAddr, IpAddr)>,
        rate: Rate,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let Rate { interval, multiplier } = rate;
        let peers = keys.map(|(local, peer)| {
            format!(
                " peer {peer} local-address {local}\n  receive-interval {interval}\n  transmit-interval {interval}\n  \
                 detect-multiplier {multiplier}\n  no shutdown\n"
            )
        });
        fs::write(path("bfdd.conf"), format!("bfd\n{}", peers.collect::<String>())).unwrap();
        let mut here = Vec::new();
        let mut daemon = |name: &str, config: Option<&Path>| {
            let command = frr::command(name, folder.path(), config);
            let (program, args) = (&command[0], &command[1..]);
            match &mut neighbour {
                Some(neighbour) => neighbour.start(program, args),
                None => {
                    let child = Command::new("setpriv")
                        .args(["--pdeathsig", "KILL", program])
                        .args(args)
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn()
                        .unwrap();
                    here.push(Mortal(child));
                    here[here.len() - 1].0.id()
                }
            }
        };
        daemon("zebra", None);
        let begun = Instant::now();
        while !Path::new(&path("zserv")).exists() {
            assert!(begun.elapsed() < PATIENCE, "no zebra");
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = daemon("bfdd", Some(Path::new(&path("bfdd.conf"))));
        Self {
            folder,
            pid,
            _here: here,
        }
    }

    fn vtysh(&self, command: &str) -> String {
        let output = Command::new("vtysh")
            .arg("--vty_socket")
            .arg(self.folder.path())
            .args(["-c", command])
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.retain(|letter| !letter.is_whitespace());
        text
    }

    fn figures(&self) -> Figures {
        let states = self.vtysh("show bfd peers json");
        let counters = self.vtysh("show bfd peers counters json");
        let sum = |field: &str| -> u64 {
            let field = format!("\"{field}\":");
            let values = counters.split(&field).skip(1);
            values
                .map(|rest| rest.split([',', '}']).next().unwrap().parse::<u64>().unwrap())
                .sum()
        };
        Figures {
            up: states.matches("\"status\":\"up\"").count() as u64,
            downs: sum("session-down"),
            sent: sum("control-packet-output"),
            ..Figures::default()
        }
    }
}
